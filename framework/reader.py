"""``Reader``: a connection's input as a file, with a cap on lines.

Leaner than a ``BufferedReader`` over a socket: what was received is kept as it came, and mostly a line is one
slice of it. It says whether input is pending, by which the connection tells a pipeline from a conversation.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from framework.connection import Connection

__all__ = ["LINE_LIMIT", "LineTooLongError", "Reader"]

# Octets of a line that ``rfile`` reads, unless a service says otherwise. Twisted's limit.
LINE_LIMIT = 16384
# Octets asked of one recv(): more than most peers have under way, less than a page table notices.
CHUNK = 32768


class LineTooLongError(ValueError):
    """A peer sent a line longer than the service's ``line_limit``."""


class Reader(io.BufferedIOBase):
    """A connection's input as a file.

    Raises:
        LineTooLongError: from ``readline()`` without a limit of its own, and from iteration.
    """

    _data: bytes
    _position: int

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._data: bytes = b""  # and so whenever nothing is pending
        self._position: int = 0
        self._in_part = False
        self.owner = threading.get_ident()
        """The thread that reads."""
        self.pending = False
        """Whether input was received that has not been read."""

    def readable(self) -> Literal[True]:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return self._connection.fileno()

    def readline(self, limit: int | None = -1, /) -> bytes:
        """Read up to and including the next LF, or up to ``limit`` octets; less at the end of the input."""
        if limit is not None and limit >= 0:
            return self._readline_within(limit)
        if not self.pending:
            self.fill(self._connection.recv(CHUNK))
            if not self.pending:
                return b""
        data, start = self._data, self._position
        end = data.find(b"\n", start) + 1
        if end and end - start <= self._connection.line_limit:
            return self._take(end)
        return self._readline_in_parts()

    def __iter__(self) -> Iterator[bytes]:
        connection = self._connection
        limit = connection.line_limit
        while True:
            # readline(), without its calls, where a whole line is there or comes at once.
            if self.pending:
                data, start = self._data, self._position
                end = data.find(b"\n", start) + 1
                if end and end - start <= limit:
                    if end < len(data):
                        self._position = end
                        yield data[start:end]
                    else:
                        self._data, self._position, self.pending = b"", 0, False
                        yield data[start:]
                    continue
            else:
                data = connection.recv(CHUNK)
                end = data.find(b"\n") + 1
                if 0 < end <= limit:
                    if end == len(data):
                        yield data
                    else:
                        self._data, self._position, self.pending = data, end, True
                        yield data[:end]
                    continue
                if not data:
                    return
                self._data, self._position, self.pending = data, 0, True
            yield self._readline_in_parts()

    def read(self, size: int | None = -1, /) -> bytes:
        """Read exactly ``size`` octets, or all there will be; less at the end of the input."""
        if size is None or size == -1:
            wanted = sys.maxsize
        elif size < 0:
            raise ValueError("read length must be non-negative or -1")
        else:
            wanted = size
        have = len(self._data) - self._position
        if have < wanted:
            parts = [self._data[self._position :]]
            try:
                while have < wanted and (chunk := self._receive(begun=have > 0)):
                    parts.append(chunk)
                    have += len(chunk)
            finally:
                self.fill(b"".join(parts))
            self._in_part = False
        return self._take(self._position + min(have, wanted))

    def read1(self, size: int = -1, /) -> bytes:
        """Read what is there, up to ``size`` octets, after waiting once if nothing is."""
        if not size:
            return b""
        if not self.pending:
            self.fill(self._receive(begun=False))
        end = len(self._data) if size < 0 else min(self._position + size, len(self._data))
        return self._take(end)

    def peek(self, size: int = 0, /) -> bytes:
        """Return what is there without reading it, after waiting once if nothing is."""
        if not self.pending:
            self.fill(self._connection.recv(CHUNK))
        return self._data[self._position :]

    def close(self) -> None:
        """Read no more; the connection stays open."""
        self.fill(b"")
        self._connection = _CLOSED
        super().close()

    def _readline_in_parts(self) -> bytes:
        limit = self._connection.line_limit
        # One octet more tells a line that is too long from one that ends with the input.
        line = self._readline_within(limit + 1)
        if len(line) > limit:
            self.fill(line + self._data[self._position :])
            raise LineTooLongError(f"a line of more than {limit} octets")
        return line

    def _readline_within(self, limit: int) -> bytes:
        data = self._data[self._position :]
        searched = 0
        try:
            while not (end := data.find(b"\n", searched, limit) + 1) and len(data) < limit:
                searched = len(data)
                chunk = self._receive(begun=searched > 0)
                if not chunk:
                    break
                data += chunk
        finally:
            self.fill(data)
        self._in_part = False
        return self._take(end or min(limit, len(data)))

    def _receive(self, *, begun: bool) -> bytes:
        self.pending = False
        if not begun:
            return self._connection.recv(CHUNK)
        if not self._in_part:
            # The deadline of the whole read begins here, and goes on if a read that timed out is tried again.
            self._in_part = True
            self._connection.turns += 1
        return self._connection.recv_rest()

    def fill(self, data: bytes) -> None:
        """Take in all there is to read from now on, but for what is still to be received."""
        self._data = data
        self._position = 0
        self.pending = bool(data)

    def peek_pending(self) -> bytes:
        """Return what was received and has not been read."""
        return self._data[self._position :] if self._position else self._data

    def _take(self, end: int) -> bytes:
        taken = self._data[self._position : end]
        self._position = end
        self.pending = end < len(self._data)
        if not self.pending:
            self._data, self._position = b"", 0
        return taken


class _Closed:
    """What a closed ``Reader`` reads from."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError("I/O operation on a closed file")


_CLOSED = cast("Connection", _Closed())
