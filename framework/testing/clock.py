"""``FakeClock``: time that is told to pass."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """A clock that stands until it is told to go on; call it for the time.

    >>> clock = FakeClock()
    >>> before = clock()
    >>> clock.advance(60)
    >>> clock() - before
    60.0
    """

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return the time, in seconds since an arbitrary moment."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds}")
        self._now += seconds
