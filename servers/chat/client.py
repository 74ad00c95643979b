"""What a command knows of the client it serves: how to answer it, and how to tell others. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.chat import numerics
from servers.chat.numerics import Refused
from servers.chat.protocol import LINE, Message, pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framework.outbox import Outbox
    from servers.chat.network import Network, User
    from servers.chat.numerics import Numeric
    from servers.chat.server import ChatServer
    from servers.chat.settings import Settings

__all__ = ["Client"]


class Client:
    """One connected client.

    Args:
        server: the server it is connected to.
        user: what the network knows of it.
    """

    def __init__(self, server: ChatServer, user: User) -> None:
        self.server = server
        self.user = user
        self.negotiating = False
        """Whether the client has begun to negotiate capabilities, and not ended yet."""
        self.leaving = ""
        """Why the conversation is to end, once it is."""
        self._touched: set[Outbox] = set()

    @property
    def network(self) -> Network:
        """The network the user is in."""
        return self.server.network

    @property
    def settings(self) -> Settings:
        """The server's settings."""
        return self.server.settings

    def message(self, command: str, *params: str) -> Message:
        """Return a message from this user."""
        return Message(command, params, self.user.source)

    def send(self, message: Message) -> None:
        """Tell this client."""
        self.tell((self.user,), message)

    def tell(self, users: Iterable[User], message: Message) -> None:
        """Tell some users: an append to each one's outbox, whether they read or not."""
        line = message.encode()
        outboxes = [user.outbox for user in users]
        for outbox in outboxes:
            outbox.put(line)
        self._touched.update(outboxes)

    def flush(self) -> None:
        """Send what was told since the last time; the one thing here to do without the server's lock."""
        touched, self._touched = self._touched, set()
        for outbox in touched:
            outbox.flush()

    def reply(self, numeric: Numeric, *params: str) -> None:
        """Answer with a numeric; its own text, if it has one, comes after ``params``."""
        self.send(self._numeric(numeric, params))

    def reply_words(self, numeric: Numeric, *params: str, words: Iterable[str]) -> None:
        """Answer with as many of a numeric as it takes to hold all the words; with none for none."""
        room = LINE - len(self._numeric(numeric, (*params, "")).encode())
        for text in pack(words, room):
            self.reply(numeric, *params, text)

    def require_room(self, what: str) -> None:
        """Raise 416 when a long answer has filled half of what the client may leave unread.

        The answer is as long as the network is large, and it would be absurd to cut the client off for it.
        """
        if self.user.outbox.size > self.settings.sendq // 2:
            raise Refused(numerics.ERR_TOOMANYMATCHES, what)

    def _numeric(self, numeric: Numeric, params: tuple[str, ...]) -> Message:
        *middle, last = (*params, numeric.text) if numeric.text else params
        # Much of this is what the client sent, and may be anything.
        middle = [word if word and word[0] != ":" and " " not in word else "*" for word in middle]
        return Message(numeric.code, (self.user.nick or "*", *middle, last), self.settings.name)
