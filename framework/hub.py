"""``Hub``: one epoll for all greenlets of a server, the timers, and the end of a turn.

A greenlet that must wait parks: it notes what for, and switches back to the hub. The hub, which runs where
``serve_forever()`` was called, waits for all of them at once and switches to those whose wait is over.

Rules:

1. A descriptor is registered once, for reading, level-triggered (epoll(7)), and stays so until it is closed.
   Waiting for input costs no system call of its own then: the greenlet parks first and receives after.
   When input comes that nobody waits for, the hub mutes the descriptor until somebody does.
2. Only one greenlet reads and one writes a descriptor at a time.
3. Nothing here blocks but ``wait()``, and nothing here knows of servers. What runs on the hub must not block.
4. From other threads only ``wake()`` and ``call_soon()`` are legal.
5. While others have still to run in a turn, small replies are kept, and leave together once all have run: each that
   leaves by itself wakes a peer, which costs more than the rest of its way.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self

from framework._loop import Waker

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import HasFileno

__all__ = ["Hub", "Timer", "Waiter", "running_hub"]

_running = threading.local()


def running_hub() -> Hub:
    """Return the hub that runs in this thread.

    Raises:
        RuntimeError: there is none.
    """
    try:
        hub: Hub = _running.hub
    except AttributeError:
        raise RuntimeError("no greenlet server runs in this thread: call it from a handler") from None
    return hub


_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
# Events taken per turn: as many as are ready, up to a bound for the turn's length.
_MOST = 1024
# Timers that were cancelled and may stay in the heap, whatever else is in it.
_CANCELLED = 64


class Waiter(Protocol):
    """What parks: a greenlet, of which the hub needs to know no more."""

    def switch(self, value: object = ..., /) -> object:
        """Go on, with ``value`` as what the wait came to."""
        ...


class Departing(Protocol):
    """What has something to send at the end of a turn."""

    def depart(self) -> None:
        """Send it."""
        ...


class Timer:
    """Something to be done at a time; ``cancel()`` takes it back."""

    __slots__ = ("_hub", "action")

    def __init__(self, hub: Hub, action: Callable[[], object]) -> None:
        self._hub = hub
        self.action: Callable[[], object] | None = action

    def cancel(self) -> None:
        """Do not do it."""
        if self.action is not None:
            self.action = None
            self._hub.cancelled()


class Hub:
    """Waits for everything that a server's greenlets wait for.

    Args:
        current: returns the greenlet that runs.
        at_exit: called before the hub closes, for what still has to run on it.

    Raises:
        OSError: when no descriptors are left for it.
    """

    def __init__(self, current: Callable[[], Waiter], at_exit: Callable[[], None] | None = None) -> None:
        self.current = current
        self._at_exit = at_exit
        self.main = current()
        self._kind = type(self.main)
        self.events: deque[tuple[int, int]] = deque()
        """Of this turn, those that nobody has seen to."""
        self.departing: list[Departing] = []
        """Who has something to send once all that is ready has run."""
        self.readers: dict[int, Waiter] = {}
        self.writers: dict[int, Waiter] = {}
        self.thread = threading.get_ident()
        self.turn = 0
        """Counts the waits: a turn is what runs between two of them."""
        self.waiting = False
        self._epoll = select.epoll()
        self._waker = Waker()
        self._epoll.register(self._waker, _IN)
        self._waker_fd = self._waker.fileno()
        self.registered: set[int] = {self._waker_fd}
        self.muted: set[int] = set()
        self._watched: dict[int, HasFileno] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._cancelled = 0
        self._sequence = itertools.count()
        self.due: deque[Callable[[], object]] = deque()
        """What else is ready."""
        self._turn_end: list[Callable[[], object]] = []
        self._calls: deque[Callable[[], object]] = deque()

    # -- what a server's loop asks for -------------------------------------------------------------------------

    def watch(self, file: HasFileno) -> None:
        """Report ``file`` from ``wait()`` when it is readable."""
        descriptor = file.fileno()
        self._epoll.register(descriptor, _IN)
        self._watched[descriptor] = file

    def unwatch(self, file: HasFileno) -> None:
        """Report ``file`` no more, which may have been closed meanwhile."""
        for descriptor, watched in list(self._watched.items()):
            if watched is file:
                del self._watched[descriptor]
                with contextlib.suppress(OSError):  # closed: epoll(7) forgot it by itself
                    self._epoll.unregister(descriptor)

    def wait(self, timeout: float | None) -> bool:
        """Wait up to ``timeout`` seconds, run what is due, and tell whether a watched file is readable."""
        # What an accept has brought about since the last wait is due, too.
        if self.due or self._turn_end:
            timeout = 0
        elif self._timers:
            due = max(0.0, self._timers[0][0] - time.monotonic())
            timeout = due if timeout is None else min(timeout, due)
        self.waiting = True
        self.events = events = deque(self._epoll.poll(timeout, _MOST))
        self.waiting = False
        self.turn += 1
        readable = False
        take = self.readers.pop
        while events:
            descriptor, mask = events.popleft()
            if mask == _IN and (waiter := take(descriptor, None)) is not None:
                waiter.switch()
            elif descriptor in self._watched:
                readable = True
            else:
                self._dispatch(descriptor, mask)
        if self.departing:
            self._depart()
        if self._timers or self.due or self._turn_end:
            self._run_due()
        return readable

    def _depart(self) -> None:
        departing, self.departing = self.departing, []
        for each in departing:
            each.depart()

    def switch(self) -> object:
        """Let others run: whoever the next event is for, or the hub."""
        # Straight to the next greenlet, where that is all there is to do, since each switch costs as much as a small handler.
        events = self.events
        if events:
            descriptor, mask = events[0]
            waiter = self.readers.get(descriptor) if mask == _IN else None
            if waiter is not None and type(waiter) is self._kind:
                events.popleft()
                del self.readers[descriptor]
                return waiter.switch()
        return self.main.switch()

    def _dispatch(self, descriptor: int, mask: int) -> None:
        """Do what an event asks for that is more than input for a reader."""
        if descriptor == self._waker_fd:
            self._waker.drain()
            while self._calls:
                self._calls.popleft()()
            return
        # An error or a hang-up concerns both: each meets it in its own call.
        reader = self.readers.pop(descriptor, None) if mask & ~_OUT else None
        writer = self.writers.pop(descriptor, None) if mask & ~_IN else None
        if reader is None and writer is None:
            self._mute(descriptor)
        if reader is not None:
            reader.switch()
        if writer is not None:
            writer.switch()

    def rest(self, seconds: float) -> None:
        """Let ``seconds`` pass while greenlets go on, whatever the watched files do."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.wait(left)

    def alarm(self, seconds: float) -> None:
        """End the ``wait()`` that is under way in ``seconds``."""
        self.call_later(seconds, lambda: None)

    def wake(self) -> None:
        """End the current or the next ``wait()``; from any thread, at any time."""
        self._waker.wake()

    # -- parking -----------------------------------------------------------------------------------------------

    def wait_readable(self, descriptor: int) -> None:
        """Park until ``descriptor`` has input, or an end or an error to tell."""
        self.expect(descriptor, self.current())
        self.switch()

    def expect(self, descriptor: int, waiter: Waiter) -> None:
        """Let ``waiter`` go on when ``descriptor`` has input, or an end or an error to tell."""
        self.readers[descriptor] = waiter
        if descriptor not in self.registered:
            self.registered.add(descriptor)
            self._epoll.register(descriptor, _IN)
        elif self.muted and descriptor in self.muted:
            self.muted.discard(descriptor)
            self._epoll.modify(descriptor, _IN)

    def wait_writable(self, descriptor: int) -> None:
        """Park until ``descriptor`` takes output."""
        self.writers[descriptor] = self.current()
        interest = _OUT | (_IN if descriptor in self.readers else 0)
        if descriptor in self.registered:
            self._epoll.modify(descriptor, interest)
        else:
            self.registered.add(descriptor)
            self._epoll.register(descriptor, interest)
        try:
            self.switch()
        finally:
            if descriptor in self.registered:
                self.muted.discard(descriptor)
                self._epoll.modify(descriptor, _IN)

    def forget(self, descriptor: int) -> None:
        """Know ``descriptor`` no more: it is about to be closed, and its number may come back."""
        self.readers.pop(descriptor, None)
        self.writers.pop(descriptor, None)
        self.muted.discard(descriptor)
        if descriptor in self.registered:
            self.registered.discard(descriptor)
            # close(2) would do, but not where a forked child holds a copy.
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def park(self) -> object:
        """Park until another greenlet or thread makes this one ready; return what it was made ready with."""
        return self.switch()

    def ready(self, waiter: Waiter, value: object = None) -> None:
        """Let a parked greenlet go on in this turn or the next."""
        self.due.append(lambda: waiter.switch(value))

    def call_soon(self, action: Callable[[], object]) -> None:
        """Run ``action`` on the hub; from any thread."""
        self._calls.append(action)
        self._waker.wake()

    def call_later(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Run ``action`` on the hub in ``seconds``."""
        timer = Timer(self, action)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._sequence), timer))
        return timer

    def cancelled(self) -> None:
        """Forget the timers that were cancelled, once most are: a deadline of a minute is mostly met in a moment."""
        self._cancelled += 1
        if self._cancelled > _CANCELLED and self._cancelled > len(self._timers) // 2:
            self._timers = [each for each in self._timers if each[2].action is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def at_turn_end(self, action: Callable[[], object]) -> None:
        """Run ``action`` once everything that is ready in this turn has run; then what it sends leaves."""
        self._turn_end.append(action)

    # -- inside ------------------------------------------------------------------------------------------------

    def _mute(self, descriptor: int) -> None:
        # Level-triggered, it would be reported in every turn until somebody reads it.
        if descriptor in self.registered and descriptor not in self.muted:
            self.muted.add(descriptor)
            self._epoll.modify(descriptor, _OUT if descriptor in self.writers else 0)

    def _run_due(self) -> None:
        if self._timers:
            now = time.monotonic()
            while self._timers and (self._timers[0][0] <= now or self._timers[0][2].action is None):
                timer = heapq.heappop(self._timers)[2]
                action, timer.action = timer.action, None
                if action is not None:
                    action()
                elif self._cancelled:
                    self._cancelled -= 1
        # What becomes ready meanwhile belongs to the next turn: input must get its turn, too.
        for _ in range(len(self.due)):
            self.due.popleft()()
        if self.departing:
            self._depart()
        if self._turn_end:
            actions, self._turn_end = self._turn_end, []
            for action in actions:
                action()
            if self.departing:
                self._depart()

    def __enter__(self) -> Self:
        _running.hub = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._at_exit is not None:
                self._at_exit()
        finally:
            del _running.hub
            self._epoll.close()
            self._waker.close()
