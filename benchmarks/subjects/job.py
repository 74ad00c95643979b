"""``Job``: what a server is asked to do, and where."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["line", "lines", "naps", "packet", "sink"]
"""Send back one line and close; each line; each line, with a nap for some; each datagram; nothing."""

BACKLOG = 1024
NAP = 0.002


@dataclass(frozen=True)
class Job:
    """What to do and where: at a path, or on 127.0.0.1."""

    kind: Kind
    path: str | None = None

    @property
    def address(self) -> Any:
        """What to bind."""
        return self.path or ("127.0.0.1", 0)

    @property
    def datagrams(self) -> bool:
        """Whether it is done by datagrams."""
        return self.kind in {"packet", "sink"}

    @property
    def no_delay(self) -> bool:
        """Whether ``TCP_NODELAY`` is to be set."""
        return self.path is None and self.kind in {"lines", "naps"}

    def socket(self) -> socket.socket:
        """Return a socket that is bound, listens if it can, and does not block."""
        made = socket.socket(
            socket.AF_UNIX if self.path else socket.AF_INET,
            socket.SOCK_DGRAM if self.datagrams else socket.SOCK_STREAM,
        )
        made.bind(self.address)
        if not self.datagrams:
            made.listen(BACKLOG)
        made.setblocking(False)
        announce(made.getsockname())
        return made


def announce(address: Any) -> None:
    """Tell where it serves; clients come at once."""
    print(json.dumps(str(address) if isinstance(address, Path) else address), flush=True)


def set_no_delay(connection: socket.socket) -> None:
    """Set ``TCP_NODELAY``."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def nap(line: bytes) -> None:
    """Block, if the line asks for it."""
    if line.startswith(b"z"):
        time.sleep(NAP)
