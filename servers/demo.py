"""``python -m servers.demo``: all four servers in one process, which end together.

Each reads its own variables (``CHAT_PORT=7000 make demo``), and none of its flags.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from servers.chat.server import program as chat
from servers.chat.settings import Settings as ChatSettings
from servers.keyvalue.server import program as keyvalue
from servers.keyvalue.settings import Settings as KeyValueSettings
from servers.resolver.server import program as resolver
from servers.resolver.settings import Settings as ResolverSettings
from servers.syslog.server import program as syslog
from servers.syslog.settings import Settings as SyslogSettings
from shared.run import Program, main
from shared.settings import ServerSettings, SettingsError, host_and_port, setting
from shared.sources import load

__all__ = ["Settings", "program"]


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings):
    """A chat, a resolver, a key-value store and a log sink, in one process."""

    metrics: str = setting("127.0.0.1:9100", "where to show metrics", host_and_port, form="HOST:PORT")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bind:
            raise SettingsError(
                "bind", self.bind[0], "set CHAT_PORT, RESOLVER_BIND, KEYVALUE_BIND or SYSLOG_BIND"
            )


def program(settings: Settings) -> Program:
    """Return what ``python -m servers.demo`` runs."""
    programs: list[Program] = []
    with ExitStack() as made:

        def add(each: Program) -> None:
            programs.append(each)
            made.callback(each.finish)
            for server in each.servers:
                made.callback(server.server_close)

        add(chat(load("chat", ChatSettings, ())))
        add(resolver(load("resolver", ResolverSettings, ())))
        add(keyvalue(load("keyvalue", KeyValueSettings, ())))
        add(syslog(load("syslog", SyslogSettings, ())))
        made.pop_all()

    def finish() -> None:
        for each in programs:
            each.finish()

    return Program(
        [server for each in programs for server in each.servers],
        _banner(programs, settings.metrics),
        [collector for each in programs for collector in each.collectors],
        finish,
    )


def _banner(programs: Sequence[Program], metrics: str) -> str:
    lines = "\n".join(each.banner for each in programs)
    lines = re.sub(r"(?m)(?:^| )Ctrl-C.*\n?", "\n", lines).strip()
    hint = f"\n\nMetrics of all of them:\n    curl http://{metrics}/metrics" if metrics else ""
    return f"{lines}{hint}\nCtrl-C ends them together."


if __name__ == "__main__":
    sys.exit(main("demo", Settings, program))
