"""``Signals``: hears signals for as long as it is open, and loses none of them.

Three things make that so:

1. A handler in Python runs on the main thread, when that comes to it. While the main thread waits in a system call
   and another thread is the one interrupted, nothing tells it to; so the interpreter's own handler, in C, is given
   a descriptor to write to (``signal.set_wakeup_fd()``), and the main thread waits for that, too.
2. The handler wakes, too: the wait may have seen that octet before the handler ran.
3. A forked child has the parent's descriptors. It is given back the dispositions from before, or its signals would
   wake the parent.
"""

from __future__ import annotations

import os
import selectors
import signal
from collections import deque
from collections.abc import Iterable
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from framework._loop import Waker

if TYPE_CHECKING:
    from _typeshed import HasFileno

__all__ = ["Signals"]


class Signals:
    """A context in which signals are heard instead of handled. On the main thread only, one at a time.

    Args:
        numbers: which.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = tuple(numbers)
        self._heard: deque[signal.Signals] = deque()
        self._before: dict[signal.Signals, Any] = {}  # what signal.getsignal() returns
        self._wakeup = -1
        self._waker = Waker()

    def wait(self, timeout: float | None, *files: HasFileno) -> list[signal.Signals]:
        """Wait up to ``timeout`` seconds for a signal, ``wake()``, or one of ``files`` to become readable.

        Returns:
            The signals since the last call, in the order in which they were heard.
        """
        if not self._heard:
            with selectors.DefaultSelector() as selector:
                for file in (self._waker, *files):
                    selector.register(file, selectors.EVENT_READ)
                selector.select(timeout)
        self._waker.drain()
        heard: list[signal.Signals] = []
        while self._heard:
            heard.append(self._heard.popleft())
        return heard

    def wake(self) -> None:
        """End the current or the next ``wait()``; from any thread."""
        self._waker.wake()

    def __enter__(self) -> Self:
        global _open  # noqa: PLW0603 -- the dispositions of signals are the process's
        _forget_in_children()
        _open = self
        self._wakeup = signal.set_wakeup_fd(self._waker.writer(), warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        global _open  # noqa: PLW0603
        _open = None
        self.restore()
        self._waker.close()

    def _hear(self, number: int, _: FrameType | None) -> None:
        self._heard.append(signal.Signals(number))
        self._waker.wake()

    def restore(self) -> None:
        """Put back what was there before."""
        for number, handler in self._before.items():
            # None: it was set by something else than Python, which cannot put it back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup)


_open: Signals | None = None


@cache
def _forget_in_children() -> None:
    """Have forked children start without it; once, since there is no way to take that back."""
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    global _open  # noqa: PLW0603
    if _open is not None:
        _open.restore()
        _open = None
