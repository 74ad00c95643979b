"""Waiting: until a file is readable, until another thread says so, or until time is up.

Knows nothing of servers. Everything goes through ``socket`` and ``selectors``, so that a program
patched by gevent waits cooperatively here too.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import FileDescriptorLike


__all__ = ["Loop", "Waker"]


class Waker:
    """Makes a ``select`` in one thread return at the word of another.

    A socket pair, because ``select()`` takes nothing but sockets on some systems and a signal handler may
    write to it. ``wake()`` is legal from any thread, in a signal handler, and after ``close()``.

    Raises:
        OSError: when no descriptors are left for the pair.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # Without it a wake() could write to a descriptor that close() has just given back to the system.
        # Re-entrant, since a signal handler may interrupt close() and call wake() on the same thread.
        self._guard = threading.RLock()

    def fileno(self) -> int:
        """Return the descriptor that turns readable on ``wake()``."""
        return self._reader.fileno()

    def writer(self) -> int:
        """Return the descriptor that ``signal.set_wakeup_fd()`` may write to instead of calling ``wake()``."""
        return self._writer.fileno()

    def wake(self) -> None:
        """Make the descriptor readable; does nothing when it is so already or when closed."""
        # BlockingIOError: the pipe is full of earlier calls, which wake just as well. OSError: closed.
        with self._guard, contextlib.suppress(OSError):
            self._writer.send(b"\0")

    def drain(self) -> None:
        """Take back every ``wake()`` so far."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def close(self) -> None:
        """Give both descriptors back; idempotent."""
        with self._guard:
            self._reader.close()
            self._writer.close()


class Loop:
    """A selector that watches for reading, and can be woken.

    Args:
        selector: where files are watched; closed with the loop.
        waker: what ends a wait early, if anything; closed with the loop.
    """

    def __init__(self, selector: selectors.BaseSelector, waker: Waker | None = None) -> None:
        self._selector = selector
        self._select = selector.select
        self._waker = waker
        self._due: float | None = None
        if waker is not None:
            selector.register(waker, selectors.EVENT_READ)

    def watch(self, file: FileDescriptorLike) -> None:
        """Report ``file`` from ``wait()`` when it turns readable."""
        self._selector.register(file, selectors.EVENT_READ)

    def unwatch(self, file: FileDescriptorLike) -> None:
        """Report ``file`` no more, which may have been closed meanwhile."""
        self._selector.unregister(file)

    def wait(self, timeout: float | None) -> bool:
        """Wait up to ``timeout`` seconds (``None``: for ever) and tell whether a watched file is readable.

        False when the time is up, when ``wake()`` was called, and when a signal handler ran.
        """
        if self._due is not None:
            left = self._due - time.monotonic()
            if left <= 0:
                self._due = None
            else:
                timeout = left if timeout is None else min(timeout, left)
        ready = self._select(timeout)
        if not ready:
            return False
        waker = self._waker
        for key, _ in ready:
            if key.fileobj is waker and waker is not None:
                waker.drain()
                return len(ready) > 1
        return True

    def alarm(self, seconds: float) -> None:
        """End the ``wait()`` that is under way in ``seconds``."""
        self._due = time.monotonic() + seconds

    def rest(self, seconds: float) -> None:
        """Let ``seconds`` pass, or less if ``wake()`` is called, whatever the watched files do."""
        if self._waker is None:
            time.sleep(seconds)
            return
        with type(self._selector)() as selector:
            selector.register(self._waker, selectors.EVENT_READ)
            if selector.select(seconds):
                self._waker.drain()

    def wake(self) -> None:
        """End the current or the next ``wait()`` or ``rest()``; from any thread, at any time."""
        if self._waker is not None:
            self._waker.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        if self._waker is not None:
            self._waker.close()
