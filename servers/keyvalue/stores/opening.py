"""Stores by their URLs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, unquote

from servers.keyvalue.stores import Store
from servers.keyvalue.stores.files import StoreError
from servers.keyvalue.stores.log import FSYNC, LogStore
from servers.keyvalue.stores.memory import MemoryStore

__all__ = ["check_url", "open_store"]


def open_store(url: str) -> Store:
    """Open the store of a URL.

    Raises:
        StoreError: it is none, or the store cannot be opened; the message says what to do.
    """
    place, fsync = _split(url)
    return MemoryStore() if place is None else LogStore(Path(place), fsync)


def check_url(url: str) -> str:
    """Return what to do about a URL that is no store's; nothing if it is one."""
    try:
        _split(url)
    except StoreError as error:
        return str(error)
    return ""


def _split(url: str) -> tuple[str | None, str]:
    """Return the folder, None for none, and when to call fsync(2)."""
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if scheme == "memory" and not rest:
        return None, "no"
    if scheme != "log" or not place:
        raise StoreError("write memory: or log:FOLDER?fsync=always")
    fsync = options.pop("fsync", "always")
    if fsync not in FSYNC or options:
        raise StoreError("write fsync=always, fsync=everysec or fsync=no, and no other option")
    return unquote(place), fsync
