"""``FastParser``: the same as ``Parser``, by way of hiredis, which need not be installed.

hiredis was made for replies. So it gets only what it cannot get wrong: a batch that begins with a request and ends with
one, without a number that it would take memory for. Whatever is left, or comes out other than a request, goes the
ordinary way, which knows the limits and the words for what is wrong.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import hiredis

from servers.keyvalue.parser import Limits, Parser
from servers.keyvalue.protocol import Request

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FastParser"]


# Numbers for which hiredis would reserve memory before what they count has come.
_HUGE = re.compile(rb"\*[0-9+-]{5}")
# Other kinds of strings, which it returns as bytes as well.
_STRING = re.compile(rb"\n[+=]")
_BYTES = {bytes}
# A status without text: marks where a batch ended.
_END = b"+\r\n"
_BEGIN = re.compile(rb"\*[0-9]{1,4}\r\n\$[0-9]{1,4}\r\n[^\r]*\r\n")


class FastParser(Parser):
    """Cuts a stream into requests."""

    def __init__(self, limits: Callable[[], Limits] = Limits) -> None:
        super().__init__(limits)
        self._reader = hiredis.Reader()

    # Below, a batch is a request or two, for which the ordinary way is as fast.
    _long = 200

    def _read_whole(self, data: bytes) -> list[Request] | None:
        begin = _BEGIN.match(data)
        if (
            begin is None
            # The last is like the first, so probably all are: then the ordinary way is as fast, and finds the columns.
            or data.rfind(b"\n*") == data.rfind(b"\n" + begin[0])
            or _HUGE.search(data)
            # First by what is fast and mostly enough.
            or ((b"+" in data or b"=" in data) and _STRING.search(data))
        ):
            return None
        reader = self._reader
        try:
            reader.feed(data)
            reader.feed(_END)
            requests: list[Any] = [*iter(reader.gets, False)]
            # What was not whole has swallowed the mark.
            if requests.pop() == b"" and all(requests) and _all_bytes(requests):
                return requests
        except (hiredis.HiredisError, TypeError, IndexError):  # TypeError: no array is among them
            pass
        # From the beginning, by the ordinary way: none of it has been handed out.
        self._reader = hiredis.Reader()
        return None


def _all_bytes(requests: list[Any]) -> bool:
    return set(map(type, chain.from_iterable(requests))) == _BYTES
