"""Hosts files (hosts(5)) and block lists, read into tables of names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path

from servers.resolver.names import ROOT, BadNameError, ancestors, from_text, parent
from servers.resolver.records import RRset, Type

__all__ = ["BlockList", "Hosts", "ListError"]

# Local data changes when somebody edits a file: a minute is what dnsmasq's users set where its 0 is too little.
_TTL = 60
# What hosts files have for names that are to lead nowhere.
_NOWHERE = {"0.0.0.0", "::", "127.0.0.1", "::1"}
# Names that hosts files have of the machine itself, which nobody wants blocked.
_OWN = {
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "0.0.0.0",
}


class ListError(ValueError):
    """A list that cannot be read; the message says where."""


class Hosts:
    """Names with addresses, and the names of addresses.

    Args:
        paths: hosts files.

    Raises:
        ListError: one cannot be read.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        found: dict[tuple[bytes, int], tuple[bytes, dict[bytes, None]]] = {}
        for path in paths:
            for where, words in _lines(path):
                address = _address(where, words[0])
                if len(words) == 1:
                    raise ListError(f"{where}: an address without a name: write 192.0.2.1 name")
                names = [_name(where, word) for word in words[1:]]
                kind = Type.A if address.version == 4 else Type.AAAA  # noqa: PLR2004
                for name in names:
                    found.setdefault((name.lower(), kind), (name, {}))[1][address.packed] = None
                # hosts(5): the first is the canonical one.
                reverse = from_text(address.reverse_pointer + ".")
                found.setdefault((reverse, Type.PTR), (reverse, {}))[1][names[0]] = None
        self._sets = {key: RRset(name, key[1], _TTL, tuple(data)) for key, (name, data) in found.items()}
        self._names = {name for name, _ in self._sets}

    def has(self, key: bytes) -> bool:
        """Tell whether a name, lowered, is there."""
        return key in self._names

    def find(self, key: bytes, kind: int) -> RRset | None:
        """Return what a name has of a type."""
        return self._sets.get((key, kind))


class BlockList:
    """Names that are to lead nowhere.

    A line is ``0.0.0.0 name`` (that name), ``name`` or ``||name^`` (it and all below it) or ``*.name`` (all below it).

    Args:
        paths: block lists.

    Raises:
        ListError: one cannot be read.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._exact: set[bytes] = set()
        self._below: set[bytes] = set()
        for path in paths:
            for where, words in _lines(path):
                self._add(where, words)

    def _add(self, where: str, words: list[str]) -> None:
        if words[0] in _NOWHERE:
            self._exact |= {_name(where, word).lower() for word in words[1:] if word.lower() not in _OWN}
            return
        if words[0].startswith("!") or len(words) > 1:
            if words[0].startswith("!"):
                return  # a comment of the lists that are made for browsers
            raise ListError(f"{where}: {words[1]!r} is one word too many: write a name, or 0.0.0.0 and names")
        text = words[0].removeprefix("||").removesuffix("^")
        if text.startswith("*."):
            self._below.add(_name(where, text[2:]).lower())
        else:
            name = _name(where, text).lower()
            self._exact.add(name)
            self._below.add(name)

    def has(self, key: bytes) -> bool:
        """Tell whether a name, lowered, is blocked."""
        if key in self._exact:
            return True
        if not self._below or key == ROOT:
            return False
        return any(each in self._below for each in ancestors(parent(key)))

    def __len__(self) -> int:
        return len(self._exact | self._below)


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Return where each line is that has something to say, and its words."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                words = line.partition("#")[0].split()
                if words:
                    yield f"{path}:{number}", words
    except OSError as error:
        raise ListError(f"{path}: cannot be read ({error.strerror}): name a text file") from error


def _address(where: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise ListError(f"{where}: {text!r} is no address: write 192.0.2.1 name") from None


def _name(where: str, text: str) -> bytes:
    try:
        return from_text(text if text.endswith(".") else text + ".")
    except BadNameError as error:
        raise ListError(f"{where}: {text!r} is no name: {error}") from None
