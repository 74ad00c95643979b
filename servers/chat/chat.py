"""The chat: what all connections share, whichever listener they came by."""

from __future__ import annotations

import contextlib
import hmac
import itertools
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import argon2

from framework import Flusher
from framework.events import CloseReason
from servers.chat.accounts import Accounts
from servers.chat.channel import Channel
from servers.chat.cloak import cloak
from servers.chat.conversations import Conversations
from servers.chat.flood import Buckets
from servers.chat.network import Network
from servers.chat.protocol import Message
from servers.chat.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from framework.connections import Connection
    from servers.chat.client import Client
    from servers.chat.settings import Settings
    from servers.chat.user import User

__all__ = ["Chat"]

_EVENTS = frozenset({"PRIVMSG", "NOTICE", "TOPIC"})
# A TAGMSG is typing and the like, unless its sender says that it is to stay: Ergo's rule.
_PERSISTENT = frozenset({"+draft/persist", "+persist"})

_TRIES = 10
_TRIES_PER_SECOND = 0.1


class Chat:
    """The network, its accounts, and the lock around them.

    Args:
        settings: what can be set.
        clock: tells the time in seconds since the epoch, for what users get to see of it.

    Raises:
        SettingsError: a setting turns out to be of no use.
        OSError: what is stored cannot be read.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self.created = clock()
        self.motd = settings.read_motd()
        self.network = Network(settings)
        self.private = Conversations(self.network, settings.history_length)
        self.lock = threading.Lock()
        """Guards the network, the clients and all they share. Nobody does I/O while holding it."""
        self.flusher = Flusher()
        self.closing = False
        self._ids = itertools.count()
        self._epoch = secrets.token_hex(5)
        self._clients: dict[User, Client] = {}
        self._per_address: dict[str, int] = {}
        self._tries = Buckets(_TRIES_PER_SECOND, _TRIES)
        self._store = Store(Path(settings.data)) if settings.data else None
        self.accounts = Accounts(self._store)
        self._secret = self._store.secret if self._store is not None else secrets.token_bytes(32)
        if self._store is not None:
            for channel in self._store.channels(settings.history_length):
                self.network.found(channel)
        self.on_reload: list[Callable[[], object]] = []

    def next_id(self) -> str:
        """Return an identifier that never was, not even before a restart."""
        return f"{self._epoch}{next(self._ids):x}"

    # -- clients -----------------------------------------------------------------------------------------------

    def host_of(self, address: str) -> str:
        """Return what others see of where a user is connected from."""
        return cloak(address, self._secret) if self.settings.cloaks else address

    def refusal(self, address: str) -> str:
        """Return why nobody else may connect from there, or an empty text."""
        if len(self._clients) >= self.settings.max_clients:
            return "Too many clients, try again later"
        if self._per_address.get(address, 0) >= self.settings.max_clients_per_address:
            return "Too many connections from your address"
        return ""

    def enter(self, client: Client) -> None:
        """Take in a client that has just connected."""
        address = client.user.address
        with self.lock:
            self._clients[client.user] = client
            self._per_address[address] = self._per_address.get(address, 0) + 1
            if self.closing:
                client.leaving = "Server shutting down"

    def leave(self, client: Client, farewell: Message) -> None:
        """Forget a client, and tell those who share a channel with it."""
        user = client.user
        with self.lock:
            del self._clients[user]
            self._per_address[user.address] -= 1
            if not self._per_address[user.address]:
                del self._per_address[user.address]
            watchers = self.network.watchers(user.nick) if user.nick and user.registered else ()
            neighbours = self.network.leave(user, self.clock())
            # When everybody leaves, telling everybody about everybody is of no use to anybody.
            if user.registered and not self.closing:
                client.tell(neighbours, farewell)
                for watcher in watchers:
                    client.tell([watcher], client.from_server("731", watcher.nick, user.nick))

    def connected(self) -> int:
        """Return how many clients there are, registered or not; with the lock held."""
        return len(self._clients)

    def end(self, user: User, reason: str) -> None:
        """End a user's conversation; with the lock held."""
        self._clients[user].end(reason)

    def wake(self, connection: Connection) -> None:
        """Let whoever reads from a connection meet the end of its input."""
        connection.end_input(CloseReason.LOCAL)

    def sweep(self, now: float) -> None:
        """Ask the silent whether they are there, and end those who do not answer; ``now`` is monotonic."""
        settings = self.settings
        asked: list[Client] = []
        with self.lock:
            for client in self._clients.values():
                silent = now - client.heard
                if not client.user.registered:
                    if now - client.since >= settings.registration_timeout:
                        client.end("Registration timed out")
                elif client.pinged:
                    if silent >= settings.ping_after + settings.ping_timeout:
                        client.end(f"Ping timeout: {silent:.0f} seconds")
                elif silent >= settings.ping_after:
                    client.pinged = True
                    client.user.outbox.put(Message("PING", (settings.name,)).encode())
                    asked.append(client)
        for client in asked:
            client.user.outbox.flush()

    def close(self) -> None:
        """Let every conversation come to an end; those that begin end at once."""
        with self.lock:
            self.closing = True
            for client in self._clients.values():
                client.end("Server shutting down")

    def give_back(self) -> None:
        """Give back what the chat holds, once nobody is left."""
        self.flusher.close()
        if self._store is not None:
            self._store.close()

    # -- what is remembered ------------------------------------------------------------------------------------

    def remember(self, channel: Channel, message: Message) -> int:
        """Keep what was said in a channel; with the lock held.

        Returns:
            What to wait for with ``store_wait()`` until it will last; 0: it is kept in memory only.
        """
        if message.command not in _EVENTS and not _PERSISTENT & message.tags.keys():
            return 0
        channel.history.append(message)
        if self._store is None or not channel.founder:
            return 0
        return self._store.add_message(channel, message)

    def remember_privately(self, sender: User, receiver: User, message: Message) -> None:
        """Keep what one user said to another; with the lock held."""
        if message.command in _EVENTS or _PERSISTENT & message.tags.keys():
            self.private.append(sender, receiver, message)

    def save(self, channel: Channel) -> None:
        """Store a registered channel as it is now, or forget one that is so no more; with the lock held."""
        if self._store is not None:
            self._store.save_channel(channel)

    def store_wait(self, number: int, ahead: int = 0) -> None:
        """Wait, without the lock, until all but ``ahead`` of what came up to ``number`` is stored."""
        if self._store is not None:
            self._store.wait(number - ahead)

    # -- passwords ---------------------------------------------------------------------------------------------

    def may_try(self, address: str) -> bool:
        """Tell whether another password may be tried from an address: each costs CPU, and may be a guess."""
        return self._tries.take(address, time.monotonic())

    def is_operator(self, name: str, password: str) -> bool:
        """Tell whether this is an operator's name and password; takes time, and is called without the lock."""
        known, _, expected = self.settings.oper.partition(":")
        if not expected or not hmac.compare_digest(known.encode(), name.encode()):
            return False
        if not expected.startswith("$argon2"):
            return hmac.compare_digest(expected.encode(), password.encode())
        with contextlib.suppress(argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return argon2.PasswordHasher().verify(expected, password)
        return False

    def reload(self) -> Exception | None:
        """Read anew what may have changed, and return what is wrong with it; the old stays in use then."""
        try:
            self.motd = self.settings.read_motd()
            for reload in self.on_reload:
                reload()
        except (OSError, ValueError) as error:
            return error
        return None
