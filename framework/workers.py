"""``Workers``: the threads of a pool, and the one epoll they all wait on (epoll(7)).

Three kinds of descriptors are in it: the listener, an alarm, and connections that are parked. All but the alarm
are watched once (``EPOLLONESHOT``): an event belongs to the worker that got it until that one watches again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from framework.connection import Connection

if TYPE_CHECKING:
    from framework.handlers import ExchangeHandler
    from framework.pool import ThreadPoolMixIn

__all__ = ["Workers"]

_log = logging.getLogger("framework")

_ONCE = select.EPOLLIN | select.EPOLLONESHOT
# A worker that is busy with one thing for that long, in seconds, is blocked, and another one can help. Where all make
# progress it could not: they share the interpreter's lock.
_STALL = 0.001
# After as many seconds without work a worker above the minimum ends. Tomcat and Java's cached pools keep a
# minute; a thread costs 70 µs to start here, so a tenth of that does.
_IDLE_SECONDS = 6.0
# What an idle worker gets to notice the end of the pool, in seconds.
_GRACE = 1.0


class Workers:
    """The threads of a pool and the epoll they wait on.

    Lives from one ``serve_forever()`` until that has returned and no connection is parked any more.

    Args:
        server: tells how many there may be.
        may_accept: whether to watch the listener again.
        accept: takes one request; calls ``release()`` as soon as the next may be taken.
        resume: serves a parked connection that has input.
    """

    def __init__(
        self,
        server: ThreadPoolMixIn[Any, Any],
        may_accept: Callable[[], bool],
        accept: Callable[[], object],
        resume: Callable[[Workers, Connection, ExchangeHandler[Any, Any]], object],
    ) -> None:
        self.parked: dict[int, tuple[Connection, ExchangeHandler[Any, Any]]] = {}
        """What is watched, and who serves it, by descriptor."""
        self._server = server
        self._may_accept = may_accept
        self._accept = accept
        self._resume = resume
        self._epoll = select.epoll()
        self._alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._alarm, select.EPOLLIN)  # by level: it wakes all
        self._lock = threading.Lock()
        # How many events each has taken, in a cell that nobody else writes to.
        self._threads: dict[threading.Thread, list[int]] = {}
        self._idle: dict[threading.Thread, None] = {}
        # Those that the pool's end has ended, perhaps still in their last steps.
        self._left: list[threading.Thread] = []
        self._started = 0
        self._alerted = False
        self._failing = False
        self._serving = True
        self._ended = False
        self.wake: Callable[[], object] = bool
        """Wakes the thread that serves."""
        # The listener: its descriptor, whether it should be watched, whether it is, and who is accepting.
        self._listener = -1
        self._gone = False
        self._wanted = False
        self._armed = False
        self._holder = 0

    # -- the listener ------------------------------------------------------------------------------------------

    def watch(self, descriptor: int) -> None:
        """Accept from that descriptor."""
        with self._lock:
            if self._gone:
                return
            if descriptor != self._listener:
                self._epoll.register(descriptor, 0)
                self._listener = descriptor
            self._wanted = True
            self._arm()

    def unwatch(self) -> None:
        """Accept nothing, for now."""
        with self._lock:
            self._wanted = False
            if self._armed:
                self._epoll.modify(self._listener, 0)
                self._armed = False

    def forget_listener(self, *, closing: bool = False) -> None:
        """Accept nothing any more; for good if ``closing``: the descriptor may soon be another file's."""
        with self._lock:
            self._gone = self._gone or closing
            self._wanted = self._armed = False
            if self._listener >= 0:
                with contextlib.suppress(OSError):
                    self._epoll.unregister(self._listener)
            self._listener = -1

    def rearm(self) -> None:
        """Watch the listener again if that is due: the cap may have fallen before anybody saw that it was reached."""
        with self._lock:
            self._arm()

    def release(self) -> bool:
        """Let others accept; tell whether the calling thread was the one that did."""
        if self._holder != threading.get_ident():
            return False
        with self._lock:
            self._holder = 0
            if not self._wanted:
                return True
            if self._may_accept():
                self._epoll.modify(self._listener, _ONCE)
                self._armed = True
                return True
        self.wake()
        return True

    def _arm(self) -> None:
        # Holding the lock.
        if self._wanted and not self._armed and not self._holder and self._may_accept():
            self._epoll.modify(self._listener, _ONCE)
            self._armed = True

    def _take(self) -> None:
        with self._lock:
            self._armed = False
            # Paused, and perhaps watched again, since the epoll said so; the loop knows when to go on.
            if self._holder or not self._wanted or not self._may_accept():
                return
            thread = self._holder = threading.get_ident()
        try:
            self._accept()
        finally:
            if self._holder == thread:  # a request that was refused, or none
                self.release()

    # -- parked connections ------------------------------------------------------------------------------------

    def park(self, connection: Connection, handler: ExchangeHandler[Any, Any]) -> None:
        """Watch a connection until there is input; from here on it may be another worker's."""
        descriptor = connection.fileno()
        self.parked[descriptor] = connection, handler
        try:
            if connection.watched:
                self._epoll.modify(descriptor, _ONCE)
            else:
                connection.watched = True
                self._epoll.register(descriptor, _ONCE)
        except OSError:
            del self.parked[descriptor]
            raise

    # -- the threads -------------------------------------------------------------------------------------------

    @property
    def all_busy(self) -> bool:
        """Whether nobody is idle, and nobody may be added."""
        return not self._idle and len(self._threads) >= self._server.max_threads

    def reopen(self) -> bool:
        """Serve again; tell whether that is possible."""
        with self._lock:
            self._serving = not self._ended
            self._left.clear()
            return self._serving

    def close(self) -> None:
        """Accept no more and let the workers end, those at once that have nothing to do.

        One that serves a request ends after it, and as long as connections are parked the others stay.
        """
        self.forget_listener()
        with self._lock:
            self._serving = False
            if self.parked:
                return
            if not self._threads:
                self._end()
                return
            os.eventfd_write(self._alarm, 1)
            idle = list(self._idle)
        deadline = time.monotonic() + _GRACE
        for thread in idle:
            # It may have been given a request at the last moment, for which nobody waits here.
            while thread in self._idle and time.monotonic() < deadline:
                thread.join(0.01)
            if thread not in self._threads:
                thread.join(_GRACE)

    def join(self, deadline: float) -> None:
        """Wait until every worker has ended, after ``close()``; ``deadline`` in seconds of ``time.monotonic()``."""
        with self._lock:
            if self._serving or threading.current_thread() in self._threads:
                return
            threads = [*self._threads, *self._left]
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))

    def adjust(self) -> None:
        """Start the workers that are missing; on the thread that serves, whenever it wakes."""
        while len(self._threads) < self._server.min_threads:
            if not self._start():
                return
        while not self._idle and len(self._threads) < self._server.max_threads:
            # In this order: whoever takes something from here on, and leaves nobody idle, alerts again.
            self._alerted = False
            taken = {thread: cell[0] for thread, cell in self._snapshot()}
            time.sleep(_STALL)
            moving = sum(cell[0] != taken.get(thread) for thread, cell in self._snapshot())
            if moving >= self._server.min_threads or not self._start():
                return
        self._alerted = False

    def _snapshot(self) -> list[tuple[threading.Thread, list[int]]]:
        with self._lock:
            return list(self._threads.items())

    def _start(self) -> bool:
        with self._lock:
            self._started += 1
            name = f"{type(self._server).__name__}-{self._started}"
            thread = threading.Thread(target=self._run, name=name, daemon=self._server.daemon_threads)
            self._threads[thread] = [0]
            # Else the next look would find nobody idle before this one has come so far.
            self._idle[thread] = None
        try:
            thread.start()
        except RuntimeError as error:
            # Those who run go on; the next tick tries again.
            with self._lock:
                self._threads.pop(thread, None)
                del self._idle[thread]
            if not self._failing:  # the edge, once
                _log.warning("%d workers, and no more can be started for now: %s", len(self._threads), error)
            self._failing = True
            return False
        self._failing = False
        return True

    def _run(self) -> None:
        thread = threading.current_thread()
        cell = self._threads[thread]
        idle, parked, poll, resume = self._idle, self.parked, self._epoll.poll, self._resume
        try:
            while self._serving or parked:
                idle[thread] = None
                ready = poll(_IDLE_SECONDS, 1)
                if not ready:
                    if self._retires(thread):
                        return
                    continue
                descriptor = ready[0][0]
                if descriptor == self._alarm:
                    self._calm()
                    continue
                del idle[thread]
                cell[0] += 1
                if not idle and not self._alerted and len(self._threads) < self._server.max_threads:
                    self._alerted = True
                    self.wake()
                if descriptor == self._listener:
                    self._take()
                elif descriptor in parked:
                    resume(self, *parked.pop(descriptor))
        finally:
            self._leave(thread)

    def _retires(self, thread: threading.Thread) -> bool:
        with self._lock:
            # Somebody must be left to take the next event.
            surplus = len(self._idle) > 1 and len(self._threads) > self._server.min_threads
            if surplus:
                self._threads.pop(thread, None)
            return surplus

    def _calm(self) -> None:
        """Take the alarm back, if the pool is not to end after all."""
        with self._lock:
            if self._serving or self.parked:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._alarm)

    def _leave(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.pop(thread, None)
            self._idle.pop(thread, None)
            if self._serving or self.parked:
                forsaken = not self._threads
            else:
                forsaken = False
                self._left.append(thread)
                if self._threads:
                    os.eventfd_write(self._alarm, 1)
                else:
                    self._end()
        if forsaken and not self._serving:
            self._start()
        self.wake()

    def _end(self) -> None:
        # Holding the lock.
        if not self._ended:
            self._ended = True
            self._epoll.close()
            os.close(self._alarm)
