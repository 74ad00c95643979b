"""Records: how effects lie in the files of a log, and how damage to them is told from an end that was never written.

A file is a header and records up to its end, or up to zeros, which are room taken in advance. A record is all that one
commit has written. What its header says:

=========  ===========================================================================================================
magic      where to look for the next one, behind damage
length     of the body, in octets
sequence   counts the records of a store, through all its files
synced     the last record that was known to be on disk when this one was written
crc        of all of that and the body, beginning with the file's own salt: no value of a client can look like a record
=========  ===========================================================================================================

Behind a record that cannot be read there may be whole ones. If one of those says that the unreadable one was on disk
already, this is damage, and nothing is to be done without the owner. Otherwise the power went before it was ever safe,
nobody has been told that it was, and the disk has kept later parts and not earlier ones: an end, torn.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from servers.keyvalue.parser import Parser
from servers.keyvalue.protocol import Request, encode_request

__all__ = ["DamagedError", "File", "Header", "Record", "body_of", "effects_of"]

_FILE: Final = struct.Struct("<8s8sQI")
_RECORD: Final = struct.Struct("<4sQQQI")
_MAGIC: Final = b"\xb6kv\n"
_KINDS: Final = {b"kv-log1\n": "log", b"kv-snap1": "snapshot"}


class DamagedError(Exception):
    """A file cannot be read where it should.

    Args:
        path: the file.
        start: the first octet that makes no sense.
        end: where it makes sense again; ``None``: nowhere.
        reason: what is wrong.
    """

    def __init__(self, path: str, start: int, end: int | None, reason: str) -> None:
        until = "to its end" if end is None else f"to {end}"
        super().__init__(f"{path}: octets {start} {until} cannot be read: {reason}")
        self.path = path
        self.start = start


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of a file.

    Args:
        kind: ``log`` or ``snapshot``.
        salt: of the file's checksums.
        sequence: of its first record; of a snapshot, that of the log which goes on from it.
    """

    kind: str
    salt: bytes
    sequence: int

    SIZE = _FILE.size

    @classmethod
    def new(cls, kind: str, sequence: int) -> Header:
        """Make one for a new file."""
        return cls(kind, os.urandom(8), sequence)

    def pack(self) -> bytes:
        """Return it as octets."""
        magic = next(magic for magic, kind in _KINDS.items() if kind == self.kind)
        head = _FILE.pack(magic, self.salt, self.sequence, 0)[:-4]
        return head + struct.pack("<I", zlib.crc32(head))

    def record(self, sequence: int, synced: int, body: bytes) -> bytes:
        """Return a record of this file."""
        head = _RECORD.pack(_MAGIC, len(body), sequence, synced, 0)[:-4]
        return b"".join((head, struct.pack("<I", self.crc(head, body)), body))

    def crc(self, head: bytes, body: bytes | memoryview) -> int:
        """Return the checksum of a record of this file."""
        return zlib.crc32(body, zlib.crc32(head, zlib.crc32(self.salt)))


@dataclass(frozen=True, slots=True)
class Record:
    """One record, and where it lies."""

    sequence: int
    synced: int
    start: int
    end: int


class File:
    """A file that is read.

    Args:
        path: for messages.
        data: its contents.

    Raises:
        DamagedError: it does not begin as such files do.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self._data = data
        self.end = Header.SIZE
        """Where the last whole record ends; complete once ``records()`` is."""
        self.sequence = 0
        """That of the next record; likewise."""
        if len(data) < Header.SIZE:
            raise DamagedError(path, 0, None, "it is too short for a header")
        magic, salt, sequence, crc = _FILE.unpack_from(data)
        if magic not in _KINDS or crc != zlib.crc32(data[: Header.SIZE - 4]):
            raise DamagedError(path, 0, Header.SIZE, "its header is wrong")
        self.header = Header(_KINDS[magic], salt, sequence)
        self.sequence = sequence

    def records(self) -> Iterator[Record]:
        """Yield the records, up to the first that cannot be read."""
        if self.header.kind == "snapshot":
            self.sequence = 1
        while (record := self._at(self.end)) is not None and record.sequence == self.sequence:
            self.end = record.end
            self.sequence += 1
            yield record

    def body(self, record: Record) -> bytes:
        """Return what a record holds."""
        return self._data[record.start + _RECORD.size : record.end]

    @property
    def torn(self) -> int:
        """How many octets behind the last whole record are neither one nor the zeros of room taken in advance.

        Raises:
            DamagedError: there should be a record, by the word of a later one.
        """
        rest = self._data[self.end :]
        if not rest.strip(b"\0"):
            return 0
        at = self._data.find(_MAGIC, self.end + 1)
        while at >= 0:
            record = self._at(at)
            if record is not None and record.synced >= self.sequence:
                raise DamagedError(
                    self.path,
                    self.end,
                    at,
                    f"record {self.sequence} was on disk once, and later ones are there",
                )
            at = self._data.find(_MAGIC, at + 1)
        return len(rest.rstrip(b"\0"))

    def _at(self, start: int) -> Record | None:
        """Return the record that begins at ``start``, if it is whole."""
        if len(self._data) < start + _RECORD.size:
            return None
        magic, length, sequence, synced, crc = _RECORD.unpack_from(self._data, start)
        end = start + _RECORD.size + length
        if magic != _MAGIC or end > len(self._data):
            return None
        head = self._data[start : start + _RECORD.size - 4]
        with memoryview(self._data) as view:
            if crc != self.header.crc(head, view[start + _RECORD.size : end]):
                return None
        return Record(sequence, synced, start, end)


def body_of(effects: Sequence[tuple[int, Sequence[bytes]]]) -> bytes:
    """Return effects as a record's body: requests as a client would send them, from database 0 on."""
    requests: list[Sequence[bytes]] = []
    current = 0
    for database, effect in effects:
        if database != current:
            current = database
            requests.append((b"SELECT", b"%d" % database))
        requests.append(effect)
    return encode_request(*requests)


def effects_of(body: bytes) -> Iterator[tuple[int, Request]]:
    """Return the effects in a record's body."""
    database = 0
    for request in Parser().feed(body):
        if request[0] == b"SELECT":
            database = int(request[1])
        else:
            yield database, request
