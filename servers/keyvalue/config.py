"""What CONFIG GET and SET know. Much of it is redis' and means nothing here: it is remembered, as clients ask for it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from servers.keyvalue.glob import matcher
from servers.keyvalue.parser import Limits
from servers.keyvalue.protocol import CommandError

__all__ = ["POLICIES", "Config"]

POLICIES: Final = (
    *(f"{scope}-{how}" for scope in ("allkeys", "volatile") for how in ("lru", "lfu", "random")),
    "volatile-ttl",
    "noeviction",
)

_UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1024,
    "m": 10**6,
    "mb": 2**20,
    "g": 10**9,
    "gb": 2**30,
}


def _memory(text: str) -> str:
    found = re.fullmatch(r"(\d{1,18})([a-z]*)", text.lower())
    if found is None or found[2] not in _UNITS:
        raise ValueError("argument must be a memory value")
    return str(int(found[1]) * _UNITS[found[2]])


def _number(text: str) -> str:
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise ValueError("argument couldn't be parsed into an integer")
    return str(int(text))


def _switch(text: str) -> str:
    if text.lower() not in {"yes", "no"}:
        raise ValueError("argument must be 'yes' or 'no'")
    return text.lower()


def _policy(text: str) -> str:
    if text.lower() not in POLICIES:
        raise ValueError(f"argument(s) must be one of the following: {', '.join(POLICIES)}")
    return text.lower()


def _text(text: str) -> str:
    return text


# Each with its default, which is that of redis 7.0, and what may be put there.
_PARAMETERS: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    # These mean something here.
    "maxmemory": ("0", _memory),
    "maxmemory-policy": ("noeviction", _policy),
    "maxmemory-samples": ("5", _number),
    "proto-max-bulk-len": ("536870912", _memory),
    "client-query-buffer-limit": ("1073741824", _memory),
    "requirepass": ("", _text),
    "slowlog-log-slower-than": ("10000", _number),
    "slowlog-max-len": ("128", _number),
    # These are remembered.
    "save": ("", _text),
    "timeout": ("0", _number),
    "lua-time-limit": ("5000", _number),
    "notify-keyspace-events": ("", _text),
    "lazyfree-lazy-user-del": ("yes", _switch),
    "lazyfree-lazy-user-flush": ("yes", _switch),
    "list-compress-depth": ("0", _number),
    "list-max-listpack-size": ("-2", _number),
    "list-max-ziplist-size": ("-2", _number),
    "set-max-intset-entries": ("512", _number),
    "hash-max-listpack-entries": ("512", _number),
    "hash-max-listpack-value": ("64", _number),
    "hash-max-ziplist-entries": ("512", _number),
    "hash-max-ziplist-value": ("64", _number),
    "zset-max-listpack-entries": ("128", _number),
    "zset-max-listpack-value": ("64", _number),
    "zset-max-ziplist-entries": ("128", _number),
    "zset-max-ziplist-value": ("64", _number),
    "loglevel": ("notice", _text),
    "activedefrag": ("no", _switch),
}
# Redis changes these while it runs; here it is fine to say what is the case already.
_CHOSEN: Final = {"appendonly", "appendfsync"}
# Said at the start of the program: they cannot be changed while it runs.
_FIXED: Final = {"appendonly", "appendfsync", "databases", "dir", "maxclients", "unixsocket", "port"}


class Config:
    """The parameters of a running server.

    Args:
        fixed: those that are only read, such as ``databases``.
        password: what AUTH has to bring, as hexadecimal SHA-256; empty: nothing.
        changed: called with no arguments after each CONFIG SET.
    """

    def __init__(self, fixed: Mapping[str, str], password: str = "") -> None:
        self._values = {name: default for name, (default, _) in _PARAMETERS.items()} | dict(fixed)
        self.password = bytes.fromhex(password)
        self.changed: Callable[[], object] = lambda: None
        self._refresh()

    def get(self, patterns: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the parameters whose names match one of the patterns."""
        tests = [matcher(pattern.lower()) for pattern in patterns]
        return {
            name.encode(): value.encode("utf-8", "surrogateescape")
            for name, value in self._values.items()
            if any(test(name.encode()) for test in tests)
        }

    def set(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Change parameters, all of them or none.

        Raises:
            CommandError: one of them is not known, cannot be changed, or not to this.
        """
        new: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower().decode("utf-8", "surrogateescape")
            if key in new:
                raise CommandError(
                    f"ERR CONFIG SET failed (possibly related to argument '{key}') - duplicate parameter"
                )
            if key in _CHOSEN and value.decode("utf-8", "surrogateescape").lower() == self._values.get(key):
                continue
            if key in _FIXED:
                raise CommandError(
                    f"ERR CONFIG SET failed (possibly related to argument '{key}') - can't set immutable config"
                )
            if key not in _PARAMETERS:
                raise CommandError(f"ERR Unknown option or number of arguments for CONFIG SET - '{key}'")
            try:
                new[key] = _PARAMETERS[key][1](value.decode("utf-8", "surrogateescape"))
            except ValueError as error:
                raise CommandError(
                    f"ERR CONFIG SET failed (possibly related to argument '{key}') - {error}"
                ) from None
        if "requirepass" in new:
            # Kept as its hash only, and never shown again.
            password = new.pop("requirepass").encode("utf-8", "surrogateescape")
            self.password = hashlib.sha256(password).digest() if password else b""
        self._values.update(new)
        self._refresh()
        self.changed()

    def accepts(self, password: bytes) -> bool:
        """Tell whether this is the password, in a time that tells nothing about it."""
        return hmac.compare_digest(hashlib.sha256(password).digest(), self.password)

    def _refresh(self) -> None:
        values = self._values
        self.maxmemory = int(values["maxmemory"])
        """Octets; 0: no limit."""
        self.policy = values["maxmemory-policy"]
        self.samples = max(1, int(values["maxmemory-samples"]))
        slower = int(values["slowlog-log-slower-than"])
        self.slow = slower / 1e6 if slower >= 0 else float("inf")
        """Seconds from which on a command is logged as slow."""
        self.slow_entries = max(0, int(values["slowlog-max-len"]))
        self.limits = Limits(
            bulk=int(values["proto-max-bulk-len"]), query=int(values["client-query-buffer-limit"])
        )
