"""A client that sees every octet of an answer."""

import socket
from pathlib import Path
from typing import Any, Self

from servers.keyvalue.protocol import encode_request

__all__ = ["Wire"]


class Wire:
    """A client that takes replies apart no further than it must to find their ends."""

    def __init__(self, path: Path | str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def __call__(self, *words: bytes | str | int) -> Any:
        """Send a command, and return its reply: the octets, or of an aggregate its first line and a list."""
        self.send(*words)
        return self.reply()

    def send(self, *words: bytes | str | int) -> None:
        """Send a command."""
        self.raw(encode_request([word if isinstance(word, bytes) else str(word).encode() for word in words]))

    def raw(self, data: bytes) -> None:
        """Send octets."""
        self.socket.sendall(data)

    def rest(self) -> bytes:
        """Return all that comes up to the end of the connection."""
        return self._file.read()

    def reply(self) -> Any:
        """Return the next reply; b"" at the end of the connection."""
        line = self._file.readline()
        kind, size = line[:1], line[1:-2]
        if kind in {b"$", b"="} and int(size) >= 0:
            return line + self._file.read(int(size) + 2)
        if kind not in {b"*", b"~", b"%", b">"} or int(size) < 0:
            return line
        items = [self.reply() for _ in range(int(size) * (2 if kind == b"%" else 1))]
        # In an order of their own on each server.
        if kind == b"~":
            items.sort(key=repr)
        if kind == b"%":
            items = sorted(zip(items[::2], items[1::2], strict=True), key=repr)
        return line, items
