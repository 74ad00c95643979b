"""Clients that ask without a pause, and what became of each request."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from tests.framework.spec import PATIENCE


@dataclass(frozen=True)
class Target:
    """Where clients connect to."""

    address: Any
    kind: int = socket.SOCK_STREAM
    context: ssl.SSLContext | None = None

    def connect(self) -> socket.socket:
        """Connect a client; one on a Unix datagram socket is bound, so that it can be replied to."""
        family = socket.AF_INET if isinstance(self.address, tuple) else socket.AF_UNIX
        client = socket.socket(family, self.kind)
        try:
            client.settimeout(PATIENCE)
            if family == socket.AF_UNIX and self.kind == socket.SOCK_DGRAM:
                client.bind("")  # any abstract name (unix(7), "Autobind feature")
            client.connect(self.address)
        except BaseException:
            client.close()
            raise
        return client

    def secure(self, client: socket.socket) -> socket.socket:
        """Shake hands, if that is how it is spoken to."""
        return self.context.wrap_socket(client, server_hostname="localhost") if self.context else client


class Load:
    """Clients that ask, each time on a new connection, a server that answers by its process.

    Answered: by the process, and the line that was sent if anything follows. Refused: there was nobody to connect
    to. Lost: somebody was, and no answer came.

    Args:
        targets: one for each client; several clients may share one.
    """

    def __init__(self, targets: Iterable[Target]) -> None:
        self.counts: Counter[str] = Counter()
        self.served_by: set[int] = set()
        self._changed = threading.Condition()
        self._over = False
        self._threads = [threading.Thread(target=self._ask, args=(target,)) for target in targets]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait until ``predicate`` holds of the counts."""
        with self._changed:
            assert self._changed.wait_for(predicate, PATIENCE), self.counts

    def more(self, number: int) -> None:
        """Wait for so many more answers."""
        target = self.counts["answered"] + number
        self.wait_for(lambda: self.counts["answered"] >= target)

    def lost_nobody(self) -> bool:
        """Tell whether every request was answered."""
        return set(self.counts) == {"answered"}

    def _ask(self, target: Target) -> None:
        for number in itertools.count():
            if self._over:
                return
            outcome, pid = self._ask_once(target, b"%d\n" % number)
            with self._changed:
                self.counts[outcome] += 1
                if pid:
                    self.served_by.add(pid)
                self._changed.notify_all()
            if outcome == "refused":
                return

    def _ask_once(self, target: Target, line: bytes) -> tuple[str, int]:
        try:
            client = target.connect()
        except (ConnectionRefusedError, FileNotFoundError):
            return "refused", 0
        with client:
            try:
                with target.secure(client) as secured:
                    secured.sendall(line)
                    answer = secured.recv(999)
            except OSError:
                return "lost", 0
        pid, *echoed = answer.split(b" ", 1)
        return ("answered", int(pid)) if pid and echoed in ([], [line]) else ("lost", 0)
