"""``Spool``: frames on the disk, from when they came until they are known to have arrived.

A folder of segments, each named by its number, and of a file that says where the first frame is that may not have arrived.
A frame is its length, its CRC-32 and its octets. What is torn at the end of the last segment, since the machine died, is
cut off when it is opened; a segment that is damaged elsewhere is given up from there on, and that is said.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Position", "Spool"]

_log = logging.getLogger(__name__)

_HEADER = struct.Struct("<II")
# Octets after which a segment makes way for the next: what has arrived is removed in pieces of this size.
_SEGMENT = 8 * 1024 * 1024


class Position(NamedTuple):
    """A place between two frames."""

    segment: int
    offset: int


class Spool:
    """Keeps frames in a folder; one thread appends, and another one reads and acknowledges.

    Args:
        folder: is made if there is none.
        limit: octets of all segments together.
        segment: octets of one, nearly.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path, limit: int, segment: int = _SEGMENT) -> None:
        self._folder = folder
        self._limit = limit
        self._segment = segment
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Two programs would write into each other's segments.
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise OSError(errno.EBUSY, "another program has this spool", str(folder)) from None
        segments = sorted(int(path.stem) for path in folder.glob("*.segment"))
        self._sizes = {number: self._path(number).stat().st_size for number in segments}
        self._last = segments[-1] if segments else 0
        self._file = os.open(
            self._path(self._last), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        # Whole frames only: the last one may be torn.
        whole = self._end_of_whole(self._last)
        os.ftruncate(self._file, whole)
        self._sizes[self._last] = whole
        self.acknowledged = self._read_acknowledged()
        """Where the first frame is that may not have arrived."""

    # -- the thread that appends -----------------------------------------------------------------------------------

    def append(self, frames: Sequence[bytes]) -> None:
        """Add frames: all of them, or none.

        Raises:
            OSError: there is no room: ``ENOSPC``, when the limit is reached as well as when the disk is full.
        """
        data = b"".join([_HEADER.pack(len(frame), zlib.crc32(frame)) + frame for frame in frames])
        if sum(self._sizes.copy().values()) + len(data) > self._limit:
            raise OSError(errno.ENOSPC, "the spool has reached its limit", str(self._folder))
        if self._sizes[self._last] >= self._segment:
            self._begin()
        size = self._sizes[self._last]
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            os.ftruncate(self._file, size)
            raise
        self._sizes[self._last] = size + len(data)

    def sync(self) -> None:
        """Put what was appended on the disk itself."""
        os.fdatasync(self._file)

    def _begin(self) -> None:
        number = self._last + 1
        file = os.open(
            self._path(number), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        os.close(self._file)
        self._file = file
        self._sizes[number] = 0
        self._last = number

    # -- the thread that reads -------------------------------------------------------------------------------------

    def read(self, position: Position, most: int) -> tuple[list[bytes], Position]:
        """Return frames from ``position`` on, of about ``most`` octets together, and the position behind them."""
        frames: list[bytes] = []
        number, offset = position.segment, position.offset
        last = self._last  # first: what is appended in between is for the next time
        while most > 0:
            size = self._sizes.get(number, 0)
            if offset < size:
                data = _piece(self._path(number), offset, min(most, size - offset))
                found, length = _frames(data)
                if not found and len(data) < size - offset:
                    # A frame that is longer than that; by what it says itself, unless it is damaged.
                    (wanted, _) = _HEADER.unpack(_piece(self._path(number), offset, _HEADER.size))
                    found, length = _frames(
                        _piece(self._path(number), offset, _HEADER.size + min(wanted, size - offset))
                    )
                frames += found
                offset += length
                most -= length
                if found:
                    continue
                _log.error("%s: damaged at octet %d: the rest of it is lost", self._path(number), offset)
                offset = size
            if number >= last:
                break
            number, offset = number + 1, 0
        return frames, Position(number, offset)

    def acknowledge(self, position: Position) -> None:
        """Take note that all before ``position`` has arrived, and forget it."""
        if position <= self.acknowledged:
            return
        self.acknowledged = position
        part = self._folder / "acknowledged.part"
        part.write_text(f"{position.segment} {position.offset}\n")
        part.rename(self._folder / "acknowledged")
        for number in [number for number in self._sizes.copy() if number < position.segment]:
            with contextlib.suppress(FileNotFoundError):
                self._path(number).unlink()
            del self._sizes[number]

    @property
    def end(self) -> Position:
        """Where the next frame will be."""
        return Position(self._last, self._sizes[self._last])

    def size(self) -> int:
        """Return how many octets there are."""
        return sum(self._sizes.copy().values())

    def close(self) -> None:
        """Leave the folder to the next."""
        os.close(self._file)
        os.close(self._lock)

    # -- its files -------------------------------------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012}.segment"

    def _end_of_whole(self, number: int) -> int:
        data = self._path(number).read_bytes()
        _, length = _frames(data)
        if length < len(data):
            _log.warning(
                "%s: %d octets at its end are no whole frame", self._path(number), len(data) - length
            )
        return length

    def _read_acknowledged(self) -> Position:
        first = Position(min(self._sizes), 0)
        try:
            segment, offset = map(int, (self._folder / "acknowledged").read_text().split())
        except FileNotFoundError:
            return first
        except ValueError:
            _log.warning(
                "%s: cannot be read: all that is in the spool is sent again", self._folder / "acknowledged"
            )
            return first
        return min(max(first, Position(segment, offset)), self.end)


def _piece(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _frames(data: bytes) -> tuple[list[bytes], int]:
    """Return the whole frames that ``data`` begins with, and their length."""
    frames: list[bytes] = []
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, check = _HEADER.unpack_from(data, offset)
        frame = data[offset + _HEADER.size : offset + _HEADER.size + length]
        if len(frame) < length or zlib.crc32(frame) != check:
            break
        frames.append(frame)
        offset += _HEADER.size + length
    return frames, offset
