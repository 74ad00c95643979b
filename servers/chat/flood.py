"""Flood control: how much a client may ask for, and how often. No clock of its own."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["Bucket", "Buckets"]


class Bucket:
    """A token bucket: filled at a steady rate, up to a brim.

    Args:
        rate: tokens a second; 0: there is no limit.
        brim: tokens that it holds, which it does at the start.
        now: the time in seconds, on a clock that never goes back.
    """

    __slots__ = ("_brim", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, brim: int, now: float) -> None:
        self._rate = rate
        self._brim = brim
        self._tokens = float(brim)
        self._when = now

    def take(self, wanted: int, now: float) -> int:
        """Take up to so many tokens, and return how many there were."""
        if not self._rate:
            return wanted
        self._tokens = min(self._brim, self._tokens + (now - self._when) * self._rate)
        self._when = now
        taken = min(wanted, max(0, int(self._tokens)))
        self._tokens -= taken
        return taken

    def charge(self, cost: float) -> None:
        """Take so much, whether it is there or not."""
        if self._rate:
            self._tokens -= cost

    def give_back(self) -> None:
        """Put back a token that was taken."""
        self._tokens = min(self._brim, self._tokens + 1)

    @property
    def owes(self) -> bool:
        """Whether more was taken than was there."""
        return self._tokens < 0

    def delay(self) -> float:
        """Return in how many seconds there will be a token, as of the last ``take()``."""
        return max(0.0, (1 - self._tokens) / self._rate) if self._rate else 0.0


class Buckets:
    """A bucket for each name, of which only the latest are remembered.

    Args:
        rate: of each.
        brim: of each.
        most: names to remember; with more, an attacker only gains that one of his is full again.
    """

    def __init__(self, rate: float, brim: int, most: int = 10_000) -> None:
        self._rate = rate
        self._brim = brim
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, name: str, now: float) -> bool:
        """Take a token of that name, and tell whether there was one."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(self._rate, self._brim, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        return bool(bucket.take(1, now))

    def give_back(self, name: str) -> None:
        """Put back a token of that name."""
        if name in self._buckets:
            self._buckets[name].give_back()
