"""``Children``: what a forking service knows of the processes that run its requests.

A request's connection is open for as long as its child lives, whoever holds descriptors: the parent closes
its own at once. Three things pass between the two, none of which a handler can meet by surprise:

1. *End soon* is one octet in a pipe that nobody reads, so every child sees it, and so is the parent's death:
   no signal, which would interrupt the handler or run what the program installed for it.
2. *How it ended* is a word of shared memory, since a process that crashes leaves it as it was.
3. *It has ended* is a pidfd turning readable (pidfd_open(2)), where the system has it: the loop wakes.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import struct
import threading
from collections.abc import Iterator
from typing import Any

from framework.events import CloseReason, ConnectionClosed
from framework.observers import Observer

__all__ = ["Child", "Children"]

_REASONS = tuple(CloseReason)
# Which of these it was, counted from 1 on; octets received; octets sent.
_WORD = struct.Struct("=BQQ")


class Child(Observer):
    """One child, seen from the parent; and the child's own way to leave word."""

    def __init__(self, request: Any, address: Any) -> None:
        self.request = request
        self.address = address
        self._word = mmap.mmap(-1, _WORD.size)  # shared, and nobody else's
        self._pid = 0
        self._pidfd = -1

    def fileno(self) -> int:
        """Return a descriptor that turns readable when the child has ended, or -1."""
        return self._pidfd

    def started(self, pid: int) -> None:
        """Take note of the process id; in the parent."""
        self._pid = pid
        # AttributeError, ENOSYS: a system without them; EMFILE: not now. The loop's next turn finds out then.
        with contextlib.suppress(AttributeError, OSError):
            self._pidfd = os.pidfd_open(pid)

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Leave word how the connection was closed; in the child."""
        _WORD.pack_into(self._word, 0, 1 + _REASONS.index(event.reason), event.received, event.sent)

    @property
    def reason(self) -> CloseReason | None:
        """Why the child closed its connection; ``None`` if it did not come to that."""
        return _REASONS[self._word[0] - 1] if self._word[0] else None

    @property
    def octets(self) -> tuple[int, int]:
        """Return how many octets its connection had received and sent when the child closed it."""
        _, received, sent = _WORD.unpack_from(self._word)
        return received, sent

    def failure(self, status: int | None) -> ChildProcessError | None:
        """Return what ended the child, unless it was the handler: what that raised, the child has told itself."""
        code = 0 if status is None else os.waitstatus_to_exitcode(status)
        if code in {0, 1}:
            return None
        how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        return ChildProcessError(f"process {self._pid} {how}")

    def kill(self) -> None:
        """End the child, whatever it does; nobody else, should its process id have been given away."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """Give back what is held for it."""
        self._word.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class Children:
    """The children that run; those of one drain are told by one pipe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: dict[int, Child] = {}
        self._alarm: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Child]:
        with self._guard:
            return iter(list(self._running.values()))

    def fork(self, request: Any, address: Any) -> tuple[int, Child, int]:
        """Fork a child for a request.

        Returns:
            What fork(2) returned, the child, and the descriptor that turns readable when it should end.

        Raises:
            OSError: the system has no process, memory or descriptors for it.
        """
        child = Child(request, address)
        with self._guard:  # a drain in another thread comes before the child, or is told to it
            if self._alarm is None:
                self._alarm = os.pipe()
            told, alarm = self._alarm
            pid = os.fork()
            if pid:
                child.started(pid)
                self._running[pid] = child
            else:
                os.close(alarm)  # or the parent's death would go unnoticed
        return pid, child, told

    def remove(self, pid: int) -> Child | None:
        """Take out a child that has ended; ``None`` if another thread was faster."""
        with self._guard:
            return self._running.pop(pid, None)

    def tell_to_end(self) -> None:
        """Ask all that run to come to their end."""
        with self._guard:
            alarm, self._alarm = self._alarm, None
        if alarm is not None:
            # The octet counts even if something else that was forked holds a copy of the pipe.
            os.write(alarm[1], b"\0")
            os.close(alarm[0])
            os.close(alarm[1])

    def kill(self) -> None:
        """End all that run."""
        with self._guard:
            for child in self._running.values():
                child.kill()
