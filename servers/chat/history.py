"""What was said in one place: the latest messages, and the ways in which CHATHISTORY asks for them. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.chat.protocol import Message

__all__ = ["History", "Moment"]


class Moment(NamedTuple):
    """A message's place in the history; without a ``msgid``, that point of time (the text of a ``time`` tag)."""

    time: str = ""
    msgid: str = ""


class History:
    """The latest messages of one place; each has the tags ``time`` and ``msgid``.

    Args:
        length: how many are kept.
    """

    def __init__(self, length: int) -> None:
        self._messages: deque[Message] = deque(maxlen=length)

    def __len__(self) -> int:
        return len(self._messages)

    def append(self, message: Message) -> None:
        """Keep a message, perhaps in place of the oldest."""
        self._messages.append(message)

    @property
    def latest(self) -> str:
        """When the last message was said, as its ``time`` tag has it; empty: nothing was."""
        return self._messages[-1].tags["time"] if self._messages else ""

    def after(self, moment: Moment, limit: int) -> list[Message]:
        """Return up to ``limit`` messages that directly follow a moment."""
        start = self._first(moment, inclusive=False)
        return self._slice(start, start + limit)

    def before(self, moment: Moment | None, limit: int, since: Moment | None = None) -> list[Message]:
        """Return up to ``limit`` messages that directly precede a moment, or the end, and follow ``since``."""
        end = len(self._messages) if moment is None else self._first(moment, inclusive=True)
        start = 0 if since is None else self._first(since, inclusive=False)
        return self._slice(max(start, end - limit), end)

    def around(self, moment: Moment, limit: int) -> list[Message]:
        """Return up to ``limit`` messages with the moment in their middle."""
        middle = self._first(moment, inclusive=True)
        start = max(0, min(middle - limit // 2, len(self._messages) - limit))
        return self._slice(start, start + limit)

    def between(self, one: Moment, other: Moment, limit: int) -> list[Message]:
        """Return up to ``limit`` messages between two moments, from the side of the first one."""
        if self._first(one, inclusive=True) > self._first(other, inclusive=True):
            return self.before(one, limit, other)
        start, end = self._first(one, inclusive=False), self._first(other, inclusive=True)
        return self._slice(start, min(start + limit, end))

    def _slice(self, start: int, end: int) -> list[Message]:
        return list(islice(self._messages, start, max(start, end)))

    def _first(self, moment: Moment, *, inclusive: bool) -> int:
        """Return the place of the first message at the moment or after it, or only after it."""
        found: Callable[[Message], bool]
        if moment.msgid:
            for place, message in enumerate(self._messages):
                if message.tags["msgid"] == moment.msgid:
                    return place + (not inclusive)
            raise LookupError(moment.msgid)
        if inclusive:
            found = lambda message: message.tags["time"] >= moment.time  # noqa: E731
        else:
            found = lambda message: message.tags["time"] > moment.time  # noqa: E731
        return next(
            (place for place, message in enumerate(self._messages) if found(message)), len(self._messages)
        )
