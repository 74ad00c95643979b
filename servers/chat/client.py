"""What a command knows of the client it serves: how to answer it, and how to tell others. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from framework.events import CloseReason
from servers.chat.fanout import FanOut
from servers.chat.numerics import RPL_MONOFFLINE, RPL_MONONLINE, Refused
from servers.chat.protocol import LINE, TIME, Message, pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from framework.connection import Connection
    from servers.chat.chat import Chat
    from servers.chat.network import Network
    from servers.chat.numerics import Numeric
    from servers.chat.settings import Settings
    from servers.chat.user import User

__all__ = ["Client", "Steps", "stamp"]

T = TypeVar("T")

Steps = Generator[Callable[[], object], Any, None]
"""What a command that needs time is: a generator. Each call that it yields runs without the lock and may block; the
generator goes on, under the lock, with what that returned. Hence Any: each yield knows what its own call returns."""

_LABELS = frozenset({"labeled-response", "batch"})


class Client:
    """One connected client.

    Args:
        chat: what it is connected to.
        user: what the network knows of it.
        connection: its own; ``end()`` wakes who reads from it.
    """

    def __init__(self, chat: Chat, user: User, connection: Connection) -> None:
        self.chat = chat
        self.user = user
        self.request = Message("")
        """The line that is being obeyed."""
        self.wanted = ""
        """The nick that it has asked for last."""
        self.negotiating = False
        """Whether the client has begun to negotiate capabilities, and not ended yet."""
        self.version = 0
        """Of capability negotiation, as the client has it; 302 knows values."""
        self.password: str | None = None
        """What came with PASS."""
        self.sasl: str | None = None
        """What has come of a SASL message so far; ``None``: none is under way."""
        self.leaving = ""
        """Why the conversation is to end, once it is."""
        self.since = self.heard = time.monotonic()
        """When the client connected, and when it last sent something, on the monotonic clock."""
        self.pinged = False
        """Whether it was asked since then whether it is there."""
        self.fanout = FanOut(user, chat.settings.sendq // 4)
        """What others are to hear."""
        self._connection = connection
        self.unstored = 0
        """What has to be stored before the answers that are held may leave; 0: nothing."""
        self._held: list[bytes] = []
        self._label = ""
        self._batch = ""
        self._first: Message | None = None

    @property
    def network(self) -> Network:
        """The network the user is in."""
        return self.chat.network

    @property
    def settings(self) -> Settings:
        """The server's settings."""
        return self.chat.settings

    # -- messages from the user --------------------------------------------------------------------------------

    def message(self, command: str, *params: str, tags: Mapping[str, str] | None = None) -> Message:
        """Return a message from this user, with the tags that all such have and those given."""
        now, user = self.chat.clock(), self.user
        known = {"time": stamp(now), "msgid": self.chat.next_id()}
        if user.account:
            known["account"] = user.account
        if "B" in user.modes:
            known["bot"] = ""
        return Message(command, params, user.source, {**known, **tags} if tags else known)

    def tell(self, users: Iterable[User], message: Message, *, answers: bool = True) -> None:
        """Tell some users: an append to each one's outbox, whether they read or not.

        Args:
            users: whom.
            message: what.
            answers: whether, if this user is among them, that is part of the answer to what it asked for.
        """
        if self.fanout.tell(users, message):
            (self.send if answers else self._put)(message)

    def tell_watchers(self, nick: str, *, online: bool) -> None:
        """Tell those who watch a nick (MONITOR) that the user has it now, or no more."""
        numeric, about = (RPL_MONONLINE, self.user.source) if online else (RPL_MONOFFLINE, nick)
        for watcher in self.network.watchers(nick):
            # Each with the receiver's nick, as all numerics.
            self.tell([watcher], self.from_server(numeric.code, watcher.nick, about))

    # -- answers to the client ---------------------------------------------------------------------------------

    def reply(self, numeric: Numeric, *params: str) -> None:
        """Answer with a numeric; its own text, if it has one, comes after ``params``."""
        self.send(self._numeric(numeric, params))

    def reply_words(self, numeric: Numeric, *params: str, words: Iterable[str], separator: str = " ") -> None:
        """Answer with as many of a numeric as it takes to hold all the words; with none for none."""
        room = LINE - len(self._numeric(numeric, (*params, "")).encode())
        for text in pack(words, room):
            self.reply(numeric, *params, text.replace(" ", separator))

    def refuse(self, refused: Refused) -> None:
        """Answer that something is refused, and why."""
        self.reply(refused.numeric, *refused.params)

    def attempt(self, action: Callable[..., T], *args: object) -> T | None:
        """Do one of several things that a line asks for: if it is refused, that keeps none of the others from it."""
        try:
            return action(*args)
        except Refused as refused:
            self.refuse(refused)
            return None

    def fail(self, command: str, code: str, *context: str) -> None:
        """Answer that something is refused, where no numeric says so.

        See https://ircv3.net/specs/extensions/standard-replies; the last of ``context`` is for people.
        """
        *middle, text = context
        self.send(self.from_server("FAIL", command, code, *map(_presentable, middle), text))

    def from_server(self, command: str, *params: str) -> Message:
        """Return a message from the server."""
        return Message(command, params, self.settings.name)

    def send(self, message: Message) -> None:
        """Answer with a message: labelled, and with the time, if the client wants that."""
        if not self._label:
            self._put(message)
        elif self._batch:
            self._put(message, batch=self._batch)
        elif self._first is None:
            self._first = message
        else:
            # Two make a batch, which holds whatever else comes: nothing has to wait for its end.
            self._batch = self.chat.next_id()
            self._put(self.from_server("BATCH", f"+{self._batch}", "labeled-response"), label=self._label)
            self._put(self._first, batch=self._batch)
            self._put(message, batch=self._batch)

    def _put(self, message: Message, **tags: str) -> None:
        if self.user.tagging & TIME and "time" not in message.tags:
            tags["time"] = stamp(self.chat.clock())
        if tags:
            message = message._replace(tags={**message.tags, **tags})
        line = message.encode(self.user.tagging)
        if self.unstored:
            self._held.append(line)
        else:
            self.fanout.answer(line)

    def release(self, failed: OSError | None = None) -> None:
        """Let go of the answers that were held until something is stored, or has ``failed`` to be."""
        self.unstored = 0
        if self._held and failed is not None:
            self.fail(self.request.command, "NOT_STORED", "What follows was done, but it may not last")
        held, self._held = self._held, []
        for line in held:
            self.fanout.answer(line)

    @property
    def holds(self) -> bool:
        """Whether answers wait for the store."""
        return bool(self._held)

    def begin_answer(self, label: str) -> None:
        """Begin to answer a line, which has a label perhaps.

        https://ircv3.net/specs/extensions/labeled-response: one answer carries the label itself, several do as
        a batch, and none is acknowledged.
        """
        self._label = label if label and self.user.caps >= _LABELS else ""
        self._batch = ""
        self._first = None

    def end_answer(self) -> None:
        """End the answer to a line."""
        if self._batch:
            self._put(self.from_server("BATCH", f"-{self._batch}"))
        elif self._label:
            self._put(self._first or self.from_server("ACK"), label=self._label)
        self._label = ""

    def send_batch(self, batch: Message) -> None:
        """Answer with the beginning of a batch that is all of the answer."""
        if self._label:
            self._put(batch, label=self._label)
            self._label = ""
        else:
            self._put(batch)

    def stream(self, messages: Iterable[Message]) -> Steps:
        """Answer with however many messages, as the client takes them: it is not cut off for what it asked for.

        The client's own reader waits, and nobody else.
        """
        for message in messages:
            if self._held or self.is_behind:
                yield self.wait_for_room
            self.send(message)

    @property
    def is_behind(self) -> bool:
        """Whether the client should read before it is told more."""
        return self.user.outbox.size + sum(map(len, self._held)) > self.settings.sendq // 2

    def wait_for_room(self) -> None:
        """Wait for the client to read; without the lock."""
        self.fanout.flush()
        self.user.outbox.wait_for_room(self.settings.ping_timeout)

    # -- the end -----------------------------------------------------------------------------------------------

    @property
    def was_drained(self) -> bool:
        """Whether its input has ended since the server does."""
        return self._connection.reason is CloseReason.DRAIN

    def end(self, reason: str) -> None:
        """Let the conversation come to an end, from any thread: its reader wakes, and does the rest."""
        self.leaving = self.leaving or reason
        self._connection.end_input(CloseReason.LOCAL)

    def _numeric(self, numeric: Numeric, params: tuple[str, ...]) -> Message:
        *middle, last = (*params, numeric.text) if numeric.text else params
        nick = self.user.nick or "*"
        return Message(numeric.code, (nick, *map(_presentable, middle), last), self.settings.name)


def _presentable(word: str) -> str:
    """Return a parameter that is not the last; much of these is what the client sent, and may be anything."""
    return word if word and word[0] != ":" and " " not in word else "*"


def stamp(moment: float) -> str:
    """Return seconds since the epoch as the ``time`` tag has them (ISO 8601, UTC, milliseconds)."""
    milliseconds = int(moment * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
