"""``Worker``: a process of a prefork server, as its parent sees it and as it sees itself.

What passes between the two processes, and how:

- The parent tells a worker over a socket pair, one message an order. The end of that socket is an order too,
  to leave: so an orphan leaves, without prctl(2), which the stdlib lacks and other systems too.
- A worker tells the parent in shared memory of its own, which costs no system call and survives a crash; an
  octet on the socket pair says that there is something to see.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import selectors
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from types import FrameType

from framework.events import WorkerExitReason
from framework.lifecycle import DrainResult

__all__ = ["GO_ON", "PAUSE", "SETTLE", "Leave", "Pause", "Worker", "flush", "reset_signals"]

# What a worker gets on top of the time in which it is to leave, before it is killed: it cuts connections,
# waits a second for their handlers, and another for its loop.
_GRACE = 3.0

# How long a worker that is replaced may take to let go of what it listens on, in seconds: a turn of its loop, unless
# that is in a handler, and then it is accepting nobody.
SETTLE = 1.0

# The words of a worker's shared memory.
_BEATS, _OPEN, _COMPLETED, _FORCED, _SPENT = range(5)
_WORDS = 5

_LEAVE = struct.Struct("=dd")
PAUSE, GO_ON = b"pause", b"go on"


@dataclass(frozen=True, slots=True)
class Leave:
    """The order to take no more requests and come to an end."""

    settle: float
    """Seconds, at most, to let go of what it listens on before it drains: what it is just accepting is served."""
    seconds: float
    """Seconds to drain, before what still runs is cut."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The order to take no more requests for now, or to take them again."""

    paused: bool


class Worker:
    """One worker process: what the parent knows of it, and the process's own line to the parent."""

    def __init__(self, slot: int, channel: socket.socket) -> None:
        self.slot = slot
        self.channel = channel
        self.pid = 0
        self._words = memoryview(mmap.mmap(-1, 8 * _WORDS)).cast(
            "Q"
        )  # shared with the process, and nobody else
        # The parent's.
        self.started = time.monotonic()
        self.seen = 0
        self.seen_at = self.started
        self.paused = False
        self.reason: WorkerExitReason | None = None
        self.deadline: float | None = None
        # The process's own.
        self.left = False
        """Whether its requests have been drained."""
        self._signals: tuple[socket.socket, socket.socket] | None = None

    # -- in the parent -----------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether its loop runs."""
        return self._words[_BEATS] > 0

    @property
    def beats(self) -> int:
        """Grows as long as its loop turns."""
        return self._words[_BEATS]

    @property
    def open(self) -> int:
        """Connections that were open at the last beat."""
        return self._words[_OPEN]

    @property
    def spent(self) -> bool:
        """Whether it has asked to be replaced."""
        return bool(self._words[_SPENT])

    @property
    def completed(self) -> int:
        """Requests that came to their end in its drain."""
        return self._words[_COMPLETED]

    @property
    def forced(self) -> int:
        """Requests that were cut in its drain, or ended with the process."""
        return self._words[_FORCED] + self._words[_OPEN]

    def hung_up(self) -> bool:
        """Take back the nudges so far; tell whether the other end of the line is closed."""
        try:
            while self.channel.recv(1, socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass  # closed before it had read all orders
        return True

    def order(self, message: bytes) -> None:
        """Send an order, unless the worker has gone."""
        with contextlib.suppress(OSError):
            self.channel.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def leave(self, reason: WorkerExitReason, settle: float, seconds: float) -> None:
        """Order it to leave; the latest it can do so is its deadline."""
        self.reason = reason
        self.deadline = time.monotonic() + settle + seconds + _GRACE
        self.order(_LEAVE.pack(settle, seconds))

    def kill(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    # -- in the process ----------------------------------------------------------------------------------------

    def beat(self, connections: int) -> None:
        """Say that the loop turns, with so many connections open."""
        if not self.left:
            self._words[_OPEN] = connections
        self._words[_BEATS] += 1
        if self._words[_BEATS] == 1:
            self._nudge()

    def ask_to_be_replaced(self) -> None:
        """Say that it has served what it was to serve."""
        self._words[_SPENT] = 1
        self._nudge()

    def tell_drained(self, result: DrainResult) -> None:
        """Say what became of the requests; those of stuck handlers end with the process."""
        self.left = True
        self._words[_OPEN] = 0
        self._words[_COMPLETED] = result.completed
        self._words[_FORCED] = result.forced + result.abandoned

    def hear(self) -> int:
        """Return the descriptor to which the interpreter's own signal handler writes what ``next_order()`` hears.

        A handler in Python would run when the main thread comes to it: in the loop's next turn, if the signal came right
        before the loop began to wait; and in a process that was forked by a thread, 3.13 may never come to it.
        """
        reader, writer = self._signals = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        return writer.fileno()

    def next_order(self) -> Leave | Pause | None:
        """Wait for an order, and hear signals meanwhile; ``None`` when there is no parent any more."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            if self._signals is not None:
                selector.register(self._signals[0], selectors.EVENT_READ)
            while all(key.fileobj is not self.channel for key, _ in selector.select()):
                self._obey_signals()
        try:
            message = self.channel.recv(_LEAVE.size)
        except ConnectionResetError:
            return None  # it ended before it had read all nudges (unix(7))
        if not message:
            return None
        if message in {PAUSE, GO_ON}:
            return Pause(message == PAUSE)
        return Leave(*_LEAVE.unpack(message))

    def _obey_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if self._signals is not None and signal.SIGTERM in self._signals[0].recv(4096):
                self.ask_to_be_replaced()

    def _nudge(self) -> None:
        with contextlib.suppress(OSError):
            self.channel.send(b"!", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def flush() -> None:
    """Write what this process holds in its standard streams."""
    for stream in (sys.stdout, sys.stderr):
        # None: a program without a console; ValueError: closed; OSError: nobody reads it any more.
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()


def reset_signals(worker: Worker) -> None:
    """Undo what the parent installed: it was meant for the parent.

    SIGTERM lets this worker be replaced; when it was sent to all processes at once, the parent ends them. SIGINT and
    SIGHUP, which a terminal sends to all processes at once, are for the parent to act on. They are handled all the same,
    by a function that does nothing, since what is ignored stays so in programs that a handler runs.
    """

    def nothing(_number: int, _frame: FrameType | None) -> None:
        pass

    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(worker.hear(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, nothing)
