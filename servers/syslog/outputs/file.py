"""``FileOutput``: a line for each record, in a file or on standard output."""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
from collections.abc import Sequence
from enum import Enum

from servers.syslog.formats import Format
from servers.syslog.outputs import Place
from servers.syslog.outputs.rotation import Rotation
from servers.syslog.record import Record

__all__ = ["FileOutput", "Sync"]

_log = logging.getLogger(__name__)

# Others have no business in logs; on Debian, the group adm reads them.
_MODE = 0o640


class Sync(Enum):
    """When what was written is put on the disk itself, where it outlives the machine's end (fdatasync(2)).

    What was written outlives the program's end in any case.
    """

    NEVER = "never"
    """When the system sees fit: within half a minute, by default."""
    BATCH = "batch"
    """After all that has come at a time."""
    ALWAYS = "always"
    """After each record."""


class FileOutput:
    """Writes lines, each of them whole, whatever happens.

    Args:
        path: of the file; ``-``: standard output.
        line: makes a line of a record.
        sync: when to put it on the disk.
        rotation: when to begin a new file; ``None``: when logrotate(8) does.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str, line: Format, sync: Sync, rotation: Rotation | None = None) -> None:
        self._path = path
        self._line = line
        self._sync = sync
        self._rotation = rotation
        self._rest: list[bytes] = []
        """What is to be written, line by line or many at a time."""
        self._unsynced = False
        self._inode = self._size = 0
        self.prompt = False
        """Whether it is a regular file."""
        self._file = self._open()

    def _open(self) -> int:
        if self._path == "-":
            return os.dup(sys.stdout.fileno())
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        status = os.fstat(file)
        self.prompt = stat.S_ISREG(status.st_mode)
        self._inode, self._size = status.st_ino, status.st_size
        # Whoever died may have left half a line.
        if self.prompt and self._size and os.pread(file, 1, self._size - 1) != b"\n":
            self._rest.insert(0, b"\n")
        return file

    def write(self, records: Sequence[Record]) -> None:
        """Write a line for each record."""
        line = self._line
        if self._sync is Sync.ALWAYS:
            self._rest += [f"{line(record)}\n".encode() for record in records]
        elif records:
            self._rest.append(("\n".join([line(record) for record in records]) + "\n").encode())
        if self._rest:
            self._rotate_if_due(len(self._rest[0]))
        while self._rest:
            self._write(self._rest[0])
            if self._sync is Sync.ALWAYS:
                self._put_on_disk()
        if self._sync is Sync.BATCH:
            self._put_on_disk()

    def _write(self, lines: bytes) -> None:
        """Write some of the first of the rest, and take it from there."""
        count = written = os.write(self._file, lines)
        self._unsynced = True
        if count < len(lines) and self.prompt:
            # The disk is full. The rest may have to go into another file, so let this one end with a whole line.
            count = lines.rfind(b"\n", 0, written) + 1
            os.ftruncate(self._file, os.fstat(self._file).st_size - written + count)
        self._size += count
        if count == len(lines):
            del self._rest[0]
            return
        self._rest[0] = lines[count:]
        if count < written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)

    def _put_on_disk(self) -> None:
        if self._unsynced and self.prompt:
            os.fdatasync(self._file)
        self._unsynced = False

    def _rotate_if_due(self, more: int) -> None:
        if self._rotation is None or not self._rotation.due(self._size, more):
            return
        try:
            self._rotation.rotate()
            self.reopen()
        except OSError as error:
            # A file that grows is better than a message that is lost.
            _log.error("%s: cannot be rotated (%s): going on as it is", self._path, error)

    def place(self) -> Place:
        """Return which file it is, and its size."""
        self._rotate_if_due(1)
        return self._inode, self._size

    def since(self, place: Place) -> int:
        """Count the lines from there on, and cut off half a line at their end: it will be written as a whole."""
        status = os.fstat(self._file)
        if status.st_ino != place[0] or status.st_size < place[1]:
            return 0  # it has been renamed, or truncated
        lines = os.pread(self._file, status.st_size - place[1], place[1])
        whole = lines[: lines.rfind(b"\n") + 1]
        if len(whole) < len(lines):
            os.ftruncate(self._file, place[1] + len(whole))
            self._rest.clear()
        # What they begin with is the end of half a line that was there before.
        return whole.removeprefix(b"\n").count(b"\n")

    def reopen(self) -> None:
        """Open the file anew, since it may have been renamed; standard output stays."""
        if self._path == "-":
            return
        file = self._open()
        try:
            self._put_on_disk()
        finally:
            os.close(self._file)
            self._file = file

    def close(self) -> None:
        """Put all on the disk, unless that is never to be done."""
        try:
            if self._sync is not Sync.NEVER:
                self._put_on_disk()
        finally:
            os.close(self._file)
            if self._rotation is not None:
                self._rotation.close()
