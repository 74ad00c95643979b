"""``Frames``: the messages in a stream of octets, as RFC 6587 tells them apart; no I/O.

========================  ===================================================================================
``24 <13>a: counted…``    the number of octets, a space, and so many octets (3.4.1); a message may have lines
``<13>a: a line``         up to the next LF or NUL (3.4.2), as most programs send it
========================  ===================================================================================

Each frame may be of either kind, as in rsyslog. What begins like a count and is none is a line.
"""

from __future__ import annotations

import re

__all__ = ["Frames"]

# MSG-LEN has no leading zero. Nine digits are far more than anybody is allowed to send.
_COUNT = re.compile(rb"([1-9][0-9]{0,8}) ")
_PART_OF_COUNT = re.compile(rb"[1-9][0-9]{0,8}\Z")
_END = re.compile(rb"[\n\0]")


class Frames:
    """Takes what comes, and returns the messages in it.

    Args:
        limit: octets kept of a message; the rest is skipped.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        """Octets of the buffer in which a line does not end: who sends octet by octet does not have each looked at
        over and over."""
        self._skip = 0
        """Octets still to come of a counted message that was too long."""
        self._skipping = False
        """Whether a line goes on that was too long."""

    def feed(self, octets: bytes) -> list[tuple[bytes, bool]]:
        """Return the messages that are complete now, and of each whether its end was cut off."""
        buffer, start = self._buffer, 0
        buffer += octets
        found: list[tuple[bytes, bool]] = []
        while start < len(buffer):
            if self._skip:
                skipped = min(self._skip, len(buffer) - start)
                self._skip -= skipped
                start += skipped
                continue
            count = None if self._skipping else _COUNT.match(buffer, start)
            if count is not None:
                length = int(count[1])
                kept = min(length, self._limit)
                if len(buffer) - count.end() < kept:
                    break
                start = count.end() + kept
                self._skip = length - kept
                found.append((bytes(buffer[count.end() : start]), length > kept))
                continue
            end = _END.search(buffer, max(start, self._searched))
            if end is not None:
                if not self._skipping:
                    line = bytes(buffer[start : end.start()])
                    found.append((line[: self._limit], len(line) > self._limit))
                self._skipping = False
                start = end.end()
                continue
            if not self._skipping and len(buffer) - start > self._limit:
                found.append((bytes(buffer[start : start + self._limit]), True))
                self._skipping = True
            if self._skipping:
                start = len(buffer)
            break
        # A count, once it is one, is never searched for the end of a line.
        del buffer[:start]
        self._searched = 0 if _PART_OF_COUNT.match(buffer) else len(buffer)
        return found

    def end(self) -> list[tuple[bytes, bool]]:
        """Return what is left when nothing more comes: a line without an end, or a message without all its octets."""
        rest, self._buffer = bytes(self._buffer), bytearray()
        count = _COUNT.match(rest)
        if count is not None:
            return [(rest[count.end() :], True)]
        return [(rest, False)] if rest else []
