"""``Session``: what TLS knows of one connection, in memory; it does no I/O."""

from __future__ import annotations

import ssl
import threading
from typing import Any

__all__ = ["Session"]


class Session:
    """What TLS knows of a connection; ``tls_connection`` has the rules for who may touch what."""

    __slots__ = (
        "closing",
        "engine",
        "guard",
        "incoming",
        "opaque",
        "outgoing",
        "owed",
        "sending",
        "truncated",
        "unsent",
    )

    def __init__(self, sending: Any) -> None:
        self.guard = threading.Lock()
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.engine: ssl.SSLObject | None = None
        self.closing = False
        self.sending = sending
        self.unsent = memoryview(b"")
        self.owed = b""
        """What was encrypted for a send() that could not tell so: its repetition finds it done."""
        self.truncated = False
        self.opaque = False
        """Whether input in plain may be buffered where nobody can see it."""

    def read(self, size: int) -> bytes | None:
        """Return up to ``size`` octets, or ``None`` if the wire must bring more first; with ``guard`` held."""
        assert self.engine is not None  # noqa: S101 -- whoever reads has looked
        try:
            data = self.engine.read(size)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        # Each request that was pipelined may be a record of its own.
        while self.incoming.pending and len(data) < size:
            try:
                more = self.engine.read(size - len(data))
            except ssl.SSLError:
                break  # an unfinished record; anything worse is met again by the next read
            if not more:
                break
            data += more
        return data

    def settle(self, octets: memoryview) -> int:
        """Return how many of ``octets`` were encrypted when they were first to be sent; with ``sending`` held."""
        owed, self.owed = self.owed, b""
        return len(owed) if bytes(octets[: len(owed)]) == owed else 0

    def refill(self) -> bool:
        """Take what was encrypted if all before it is sent; tell whether there is any; with ``sending`` held."""
        if not self.unsent:
            with self.guard:
                self.unsent = memoryview(self.outgoing.read())
        return len(self.unsent) > 0
