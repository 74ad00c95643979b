"""``Hand``: what was received and is not written yet, where SIGKILL does not reach it.

Memory that a process shares by a file in ``/dev/shm`` is still there when the process is gone, for as long as the machine
runs (shm_overview(7)). The kernel puts datagrams right into such memory, so the next process on that socket finds what
this one had in hand when it was killed; and by a mark for each output, which of it was written already.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import mmap
import os
import socket
import stat
import struct
import tempfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from servers.syslog.outputs import Place
from servers.syslog.receiver import Datagram, Receiver

__all__ = ["Hand", "left_behind"]

_log = logging.getLogger(__name__)

_FOLDER = Path("/dev/shm")  # noqa: S108 -- its files are opened, and looked at, as those of a stranger
# On the first page: size, count, and whether it is a Unix socket; then, for each output that has begun to write, the
# CRC-32 of its name and one more, which is never 0, and the place. More outputs than these may write twice.
_PREAMBLE = struct.Struct("@QQQ")
_MARK = struct.Struct("@QQQ")
_END = _PREAMBLE.size + 64 * _MARK.size
_PAGE = mmap.ALLOCATIONGRANULARITY
_NO_MARKS = bytes(_END - _PREAMBLE.size)


class Hand:
    """Holds the datagrams that came together.

    Args:
        sock: from which they come.
        size: octets kept of each.
        count: how many come together at most.
        unix: whether the socket is one of Unix.
    """

    def __init__(self, sock: socket.socket, size: int, count: int, *, unix: bool) -> None:
        room = _PAGE + Receiver.room(size, count)
        self._path: Path | None = None
        try:
            file = self._make(sock, room)
        except OSError as error:
            _log.warning("%s: %s: what is in hand when this process is killed is lost", _FOLDER, error)
            file = os.memfd_create("syslog", os.MFD_CLOEXEC)
            os.ftruncate(file, room)
        self._open(file)
        _PREAMBLE.pack_into(self._marks, 0, size, count, unix)
        self.receiver = Receiver(self._memory, size, count, unix=unix)
        self.receiver.forget()

    def _make(self, sock: socket.socket, room: int) -> int:
        file, path = tempfile.mkstemp(prefix=_prefix(sock), dir=_FOLDER)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            # At once: were there no room for a datagram later, it would be lost.
            os.posix_fallocate(file, 0, room)
        except OSError:
            os.close(file)
            Path(path).unlink()
            raise
        self._path = Path(path)
        return file

    @classmethod
    def of(cls, file: int, path: Path) -> Hand:
        """Return the one in a file, which is given to it.

        Raises:
            ValueError: there is none in it.
        """
        self = cls.__new__(cls)
        self._path = path
        self._open(file)
        size, count, unix = _PREAMBLE.unpack_from(self._marks)
        if len(self._memory) != Receiver.room(size, count):
            raise ValueError(f"{path}: no datagrams")
        self.receiver = Receiver(self._memory, size, count, unix=bool(unix))
        return self

    def _open(self, file: int) -> None:
        self._file = file
        self._marks = mmap.mmap(file, _PAGE)
        self._memory = mmap.mmap(file, os.fstat(file).st_size - _PAGE, offset=_PAGE)
        self._next = _PREAMBLE.size

    def begin(self, name: str, place: Place) -> None:
        """Take note of where an output begins to write what is in hand."""
        if self._next < _END:
            _MARK.pack_into(self._marks, self._next, _number(name), *place)
            self._next += _MARK.size

    def place(self, name: str) -> Place | None:
        """Return where an output began to, if it did."""
        for number, *place in _MARK.iter_unpack(self._marks[_PREAMBLE.size : _END]):
            if number == _number(name):
                return place[0], place[1]
        return None

    def written(self) -> None:
        """Let go of it, as all of it is written."""
        self.receiver.forget()
        self._marks[_PREAMBLE.size : _END] = _NO_MARKS
        self._next = _PREAMBLE.size

    def close(self) -> None:
        """Leave nothing behind."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        os.close(self._file)


def left_behind(sock: socket.socket) -> Iterator[tuple[Hand, list[Datagram]]]:
    """Find what processes had in hand that were killed on a socket of this address; it is forgotten when asked on."""
    for path in sorted(_FOLDER.glob(f"{_prefix(sock)}*")):
        try:
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # of somebody else, who may put there what they like, or gone
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, file)
            status = os.fstat(file)
            if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                hand = Hand.of(file, path)
            except (OSError, ValueError):
                continue  # its process lives, such as one that was told to restart; or there is rubbish in it
            stack.pop_all()
            try:
                yield hand, hand.receiver.received()
            finally:
                hand.close()


def _prefix(sock: socket.socket) -> str:
    """Return how the names of files for a socket of this address begin."""
    name = sock.getsockname()
    if isinstance(name, str):  # a path, or that of a socket without an address
        name = str(Path(name).absolute()) if name else os.fstat(sock.fileno()).st_ino
    return f"syslog-{hashlib.sha256(repr(name).encode()).hexdigest()[:16]}-"


@lru_cache
def _number(name: str) -> int:
    return zlib.crc32(name.encode()) + 1
