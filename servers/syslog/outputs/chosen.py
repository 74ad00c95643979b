"""The outputs that the settings ask for, opened."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from servers.syslog.formats import json_format, line_format
from servers.syslog.outputs import Output
from servers.syslog.outputs.database import DatabaseOutput
from servers.syslog.outputs.file import FileOutput, Sync
from servers.syslog.outputs.forward import ForwardOutput, connector
from servers.syslog.outputs.rotation import Rotation
from servers.syslog.outputs.spool import Spool
from servers.syslog.outputs.writer import WhenFull, Writer
from servers.syslog.settings import Settings
from shared.settings import SettingsError

__all__ = ["open_outputs"]

OpenedT = TypeVar("OpenedT")


def open_outputs(settings: Settings) -> dict[str, Writer]:
    """Return a writer for each output, by its name.

    Raises:
        SettingsError: one cannot be opened.
    """
    now = settings.clock()
    outputs: dict[str, Output] = {}

    def file(name: str, setting: str, path: str, kind: str) -> None:
        line = json_format(settings.host) if kind == "json" else line_format(kind, settings.host)

        def open_file() -> FileOutput:
            rotation = None
            if path != "-" and (settings.rotate_size or settings.rotate_hours):
                size, hours, count = settings.rotate_size, settings.rotate_hours, settings.rotate_count
                rotation = Rotation(path, now, size=size, hours=hours, count=count)
            return FileOutput(path, line, Sync(settings.sync), rotation)

        outputs[name] = _opened(setting, path, open_file)

    if settings.text:
        file("text", "text", settings.text, settings.format)
    if settings.json:
        file("json", "json", settings.json, "json")
    if settings.stdout != "none" or settings.writes_nowhere:
        file("stdout", "stdout", "-", "json" if settings.stdout == "json" else settings.format)
    for table in settings.files:
        file(table.name, "files", table.file, table.format)
    if settings.database:
        safe = settings.sync != "never"
        outputs["database"] = _opened(
            "database",
            settings.database,
            lambda: DatabaseOutput(settings.database, safe=safe, keep=settings.keep),
        )
    if settings.forward:
        outputs["forward"] = _forward(settings)
    when_full = WhenFull(settings.when_full)
    return {
        name: Writer(name, output, now, limit=settings.queue, when_full=when_full)
        for name, output in outputs.items()
    }


def _forward(settings: Settings) -> ForwardOutput:
    url = urlsplit(settings.forward)
    tls = None
    if url.scheme == "tls":
        authority = settings.authority or None
        tls = _opened("authority", settings.authority, lambda: ssl.create_default_context(cafile=authority))
    spool = _opened("spool", settings.spool, lambda: Spool(Path(settings.spool), settings.spool_size))
    connect = connector(url.hostname or "", url.port or 0, tls)
    return ForwardOutput(
        settings.forward, connect, spool, settings.host, settle=settings.settle, sync=settings.sync != "never"
    )


def _opened(setting: str, value: str, opening: Callable[[], OpenedT]) -> OpenedT:
    try:
        return opening()
    except OSError as error:
        raise SettingsError(
            setting, value, f"cannot be opened ({error.strerror or error}): name another, or see to it"
        ) from error
