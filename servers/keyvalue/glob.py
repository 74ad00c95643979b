"""Patterns of keys and channels, as KEYS, SCAN, PSUBSCRIBE and CONFIG GET take them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

__all__ = ["matcher"]


@functools.lru_cache(maxsize=256)
def matcher(pattern: bytes) -> Callable[[bytes], object]:
    """Return what tells whether a name matches: ``*``, ``?``, ``[a-c]``, ``[^a]``, and a backslash for each of these.

    Between two stars the first place that fits is as good as any other, so none is ever tried twice: an atomic group
    each, without which ``a*a*a*a*b`` would take as many steps as there are ways to share out the letters.
    """
    first, *others = _segments(pattern)
    if not others:
        return re.compile(first, re.DOTALL).fullmatch
    *middle, last = others
    body = b"".join(b"(?>.*?%b)" % each for each in middle if each)
    return re.compile(b"%b%b.*%b" % (first, body, last), re.DOTALL).fullmatch


def _segments(pattern: bytes) -> list[bytes]:
    """Return regular expressions for what stands between the stars."""
    segments, at = [b""], 0
    while at < len(pattern):
        char = pattern[at : at + 1]
        at += 1
        if char == b"*":
            segments.append(b"")
        elif char == b"?":
            segments[-1] += b"."
        elif char == b"[":
            found, at = _class(pattern, at)
            segments[-1] += found
        else:
            if char == b"\\" and at < len(pattern):
                char = pattern[at : at + 1]
                at += 1
            segments[-1] += re.escape(char)
    return segments


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """Read a class from behind its bracket; one that is never closed goes to the end, as in redis."""
    wanted = not pattern.startswith(b"^", at)
    at += not wanted
    octets: set[int] = set()
    while at < len(pattern) and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            at += 1
            octets.add(pattern[at])
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            octets.update(range(low, high + 1))
            at += 2
        else:
            octets.add(pattern[at])
        at += 1
    if not octets:
        return (b"(?!)" if wanted else b"."), at + 1
    return b"[%b%b]" % (
        b"" if wanted else b"^",
        b"".join(b"\\x%02x" % each for each in sorted(octets)),
    ), at + 1
