"""What greenlets of one hub wait for besides connections: ``sleep()``, ``Event``, ``Lock``, ``Queue`` and threads.

For handlers under ``GreenletMixIn``. Each call parks the greenlet that makes it, and others run meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from framework.hub import Hub, Waiter, running_hub

if TYPE_CHECKING:
    from _typeshed import HasFileno

__all__ = ["Event", "Lock", "Queue", "at_turn_end", "run_in_thread", "sleep"]

T = TypeVar("T")


def sleep(seconds: float) -> None:
    """Let ``seconds`` pass, and others run meanwhile."""
    hub = running_hub()
    hub.call_later(seconds, hub.current().switch)
    hub.park()


def at_turn_end(action: Callable[[], object]) -> None:
    """Run ``action`` once, when all that is ready in this turn of the hub has run.

    What many handlers of one turn want done, such as a flush to disk, is done once for all of them so. An action is no
    greenlet's and cannot wait: what it has to say goes by ``GreenConnection.send_later()``.
    """
    running_hub().at_turn_end(action)


def run_in_thread(function: Callable[[], T]) -> T:
    """Run ``function``, which may block, in a thread, and return what it returns or raise what it raises."""
    hub = running_hub()
    me = hub.current()
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:
            failure.append(error)
        hub.call_soon(me.switch)

    threading.Thread(target=run, name="run_in_thread", daemon=True).start()
    hub.park()
    if failure:
        raise failure[0]
    return result[0]


class _Once:
    """A greenlet that waits for several things, of which the first wakes it and the others find it gone."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter: Waiter | None = waiter

    def switch(self, value: object = None) -> object:
        """Go on, unless it has gone on already."""
        waiter, self._waiter = self._waiter, None
        return None if waiter is None else waiter.switch(value)


class Event:
    """A flag that greenlets wait for; ``set()`` is legal from any thread."""

    def __init__(self) -> None:
        self._waiters: deque[Waiter] = deque()
        self._flag = False
        self._hub: Hub | None = None

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._flag

    def set(self) -> None:
        """Set it, and let all who wait go on."""
        self._flag = True
        hub = self._hub
        if hub is None:
            return
        if hub.thread == threading.get_ident():
            self._release()
        else:
            hub.call_soon(self._release)

    def clear(self) -> None:
        """Unset it."""
        self._flag = False

    def wait(self, timeout: float | None = None, *, input_of: HasFileno | None = None) -> bool:
        """Wait until it is set, for ``timeout`` seconds at most, and tell whether it is.

        Args:
            timeout: seconds; ``None``: for ever.
            input_of: a connection: its input, or its end, ends the wait, too.
        """
        # The hub is known before the flag is looked at, and set() does it the other way round.
        hub = self._hub = running_hub()
        if self._flag:
            return True
        me = _Once(hub.current())
        self._waiters.append(me)
        timer = None if timeout is None else hub.call_later(timeout, lambda: hub.ready(me))
        if input_of is not None:
            hub.expect(input_of.fileno(), me)
        try:
            hub.park()
        finally:
            if me in self._waiters:
                self._waiters.remove(me)
            if timer is not None:
                timer.cancel()
            if input_of is not None and hub.readers.get(input_of.fileno()) is me:
                del hub.readers[input_of.fileno()]
        return self._flag

    def _release(self) -> None:
        hub = self._hub
        while hub is not None and self._waiters:
            hub.ready(self._waiters.popleft())


class Lock:
    """Excludes greenlets of one hub from each other across waits; first come, first served."""

    def __init__(self) -> None:
        self._holder: Waiter | None = None
        self._waiters: deque[Waiter] = deque()

    def acquire(self) -> None:
        """Take the lock, when its turn has come."""
        hub = running_hub()
        if self._holder is None:
            self._holder = hub.current()
            return
        self._waiters.append(hub.current())
        hub.park()  # release() has made it ours

    def release(self) -> None:
        """Give the lock to the next who waits."""
        if self._holder is None:
            raise RuntimeError("release of a lock that nobody holds")
        self._holder = self._waiters.popleft() if self._waiters else None
        if self._holder is not None:
            running_hub().ready(self._holder)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()


class Queue(Generic[T]):
    """A queue between greenlets of one hub, first in, first out.

    Args:
        size: items at which ``put()`` waits; 0: never.
    """

    def __init__(self, size: int = 0) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._getters: deque[Waiter] = deque()
        self._putters: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Append, waiting while the queue is full."""
        while self._size and len(self._items) >= self._size:
            hub = running_hub()
            self._putters.append(hub.current())
            hub.park()
        self._items.append(item)
        if self._getters:
            running_hub().ready(self._getters.popleft())

    def get(self) -> T:
        """Take the oldest, waiting while there is none."""
        while not self._items:
            hub = running_hub()
            self._getters.append(hub.current())
            hub.park()
        item = self._items.popleft()
        if self._putters:
            running_hub().ready(self._putters.popleft())
        return item
