"""An upstream server: how fast it is, whether it is there, and what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Upstream"]

# The first wait, and its bounds: like those of a stub resolver that would rather ask the next one (RFC 6298 for how
# the wait follows what is seen).
_FIRST, _SHORTEST, _LONGEST = 0.8, 0.3, 2.0
# Failures in a row after which it rests, and for how long, the first time and at most.
_FAILURES = 3
_REST, _LONGEST_REST = 1.0, 60.0
# Times in a row that it was silent to EDNS, and answered without, before it counts as one that drops it. Once may be
# a lost datagram.
_DOUBTS = 3
# How long a shortcoming is remembered: servers are mended.
_SHORTCOMING = 600.0


@dataclass
class Upstream:
    """A server that is asked; used by one thread.

    Args:
        address: where it is.
    """

    address: tuple[str, int]
    trip: float | None = None
    """Seconds that an answer takes, smoothed."""
    variance: float = 0.0
    failures: int = 0
    """In a row."""
    resting_until: float = 0.0
    _doubts: int = 0
    _no_edns_until: float = 0.0
    _no_case_until: float = 0.0

    def answered(self, seconds: float) -> None:
        """Take note of an answer, and how long it took."""
        self.failures = 0
        self.resting_until = 0.0
        if self.trip is None:
            self.trip, self.variance = seconds, seconds / 2
        else:
            self.variance += (abs(seconds - self.trip) - self.variance) / 4
            self.trip += (seconds - self.trip) / 8

    def failed(self, now: float) -> None:
        """Take note that there was no answer."""
        self.failures += 1
        if self.failures >= _FAILURES:
            doublings = min(self.failures // _FAILURES - 1, 6)
            self.resting_until = now + min(_REST * 2**doublings, _LONGEST_REST)

    def rests(self, now: float) -> bool:
        """Tell whether to leave it alone."""
        return now < self.resting_until

    def patience(self, attempt: int) -> float:
        """Return for how many seconds to wait for an answer, the attempt-th time (from 0)."""
        wait = _FIRST if self.trip is None else self.trip + 4 * self.variance
        return float(min(max(wait, _SHORTEST) * 2**attempt, _LONGEST))

    def speaks_edns(self, now: float) -> bool:
        """Tell whether to speak EDNS with it."""
        return now >= self._no_edns_until

    def keeps_case(self, now: float) -> bool:
        """Tell whether its answers have the letters of the question."""
        return now >= self._no_case_until

    def without_edns(self, now: float) -> None:
        """Take note that it does not know EDNS."""
        self._no_edns_until = now + _SHORTCOMING

    def heard(self, now: float, *, edns: bool) -> None:
        """Take note of whether it was EDNS that it answered to; if not, it had been silent to that just before."""
        self._doubts = 0 if edns else self._doubts + 1
        if self._doubts >= _DOUBTS:
            self._doubts = 0
            self.without_edns(now)

    def without_case(self, now: float) -> None:
        """Take note that it answers in letters of its own."""
        self._no_case_until = now + _SHORTCOMING
