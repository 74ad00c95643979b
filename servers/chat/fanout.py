"""Fan-out: what one client makes others hear. An append for each of them under the lock, and one send after it.

Rules:

1. To tell somebody is to append to an outbox (``framework.outbox``). Nobody waits for who does not read: an outbox that
   is too full ends its own connection.
2. A message is encoded once for each set of tags that somebody wants, and not once for each who hears it.
3. What one read says to a channel is one piece for each member, appended when the next thing is to be told to others,
   and at the latest before the lock is given up: ``spill()``.
4. Whoever appended sends, without the lock, and under greenlets once for all who were heard in one turn: ``flush()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framework.outbox import Outbox
    from servers.chat.protocol import Message
    from servers.chat.user import User

__all__ = ["FanOut"]


class FanOut:
    """What one client makes others hear.

    Args:
        user: whose client it is.
        enough: octets in somebody's outbox with which it is better to send at once than at the end of the turn.
    """

    def __init__(self, user: User, enough: int) -> None:
        self._user = user
        self._enough = enough
        self._touched: set[Outbox] = set()
        self._audience: Iterable[User] = ()
        self._said: list[Message] = []
        self.crowded = False
        """Whether somebody's outbox has enough in it."""

    def tell(self, users: Iterable[User], message: Message) -> bool:
        """Tell users something; if this user is among them, return so and leave that to the caller."""
        self.spill()
        return self._deliver(users, [message])

    def relay(self, members: Iterable[User], message: Message) -> None:
        """Tell the members of a channel, this user excepted, what was said there."""
        if members is not self._audience:
            self.spill()
            self._audience = members
        self._said.append(message)

    def spill(self) -> None:
        """Append what was relayed, with the lock still held."""
        if self._said:
            self._deliver(self._audience, self._said)
            self._audience, self._said = (), []

    def answer(self, line: bytes) -> None:
        """Append to this user's own outbox."""
        self._user.outbox.put(line)
        self._touched.add(self._user.outbox)

    def flush(self) -> None:
        """Send what was appended since the last time, without the lock."""
        touched, self._touched, self.crowded = self._touched, set(), False
        for outbox in touched:
            outbox.flush()

    def _deliver(self, users: Iterable[User], messages: list[Message]) -> bool:
        """Append to each outbox but this user's; tell whether this user is among those who are to hear it."""
        lines: dict[int, bytes] = {}
        touched, me, among, enough = self._touched, self._user, False, self._enough
        for user in users:
            if user is me:
                among = True
                continue
            wanted = user.tagging
            line = lines.get(wanted)
            if line is None:
                line = lines[wanted] = b"".join([message.encode(wanted) for message in messages])
            outbox = user.outbox
            if outbox.put(line) > enough:
                self.crowded = True
            touched.add(outbox)
        return among
