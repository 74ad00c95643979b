"""``AcceptErrors``: what an error of accept(2) means, and what is done while the system has no descriptors left.

Three kinds (accept(2), section "Error handling"):

1. It concerned the one connection that was to be accepted: go on.
2. The system is out of descriptors or memory: the listener is left alone for a while, since it stays readable and
   would be met again at once. Clients wait in the backlog. When that has lasted, a descriptor kept in reserve is
   given up to accept them and close them, so that they know, and can go elsewhere.
3. Anything else: told, and tried again.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from framework.server import LASTING_ERRORS, REST

__all__ = ["AcceptErrors"]

_OF_ONE_CONNECTION = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)
_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

# Seconds that clients wait for a descriptor to become free before they are turned away: as long as a retransmitted
# SYN would take (RFC 6298, section 2), so that a short peak costs nobody more than a packet that was lost.
_PATIENCE = 1.0


class AcceptErrors:
    """The errors that one listener met of late."""

    def __init__(self) -> None:
        self._since = math.inf  # when the system ran out, if it has
        self._reserve = -1
        self._guard = threading.Lock()
        self.resting_until = 0.0
        """On the monotonic clock: until then the listener is to be left alone."""
        self.failing = False
        """Whether the last attempt failed for another reason than its own connection."""

    def met(self, error: Exception) -> bool:
        """Take note of an error; tell whether it is the first of its kind, and worth telling."""
        number = error.errno if isinstance(error, OSError) else None
        if number in _OF_ONE_CONNECTION:
            return False
        now = time.monotonic()
        if number in LASTING_ERRORS:
            self.resting_until = now + REST
        if number in _OUT_OF_DESCRIPTORS:
            self._since = min(self._since, now)
        first, self.failing = not self.failing, True
        return first

    def over(self) -> None:
        """Take note that one was accepted."""
        self.failing = False
        self._since = math.inf

    # -- the reserve -------------------------------------------------------------------------------------------

    def keep_reserve(self) -> None:
        """Keep a descriptor in reserve, if there is one to be had."""
        if self._reserve < 0:
            with contextlib.suppress(OSError):
                self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def give_up_reserve(self) -> None:
        """Keep none any more."""
        with self._guard:
            reserve, self._reserve = self._reserve, -1
            if reserve >= 0:
                os.close(reserve)

    def turned_away(self, listener: socket.socket, count: int) -> Iterator[Any]:
        """Accept and close up to ``count`` clients, if they have waited for long; yield the address of each."""
        if time.monotonic() - self._since < _PATIENCE or not self._guard.acquire(blocking=False):
            return
        try:
            self.keep_reserve()
            for _ in range(count):
                if self._reserve < 0:
                    return
                os.close(self._reserve)
                self._reserve = -1
                try:
                    client, address = listener.accept()
                    client.close()
                except OSError:
                    return  # none is left, or another thread was faster to take the descriptor
                finally:
                    self.keep_reserve()
                yield address
        finally:
            self._guard.release()
