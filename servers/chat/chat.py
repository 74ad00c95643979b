"""The chat: what all connections share, whichever listener they came by."""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from framework import Flusher
from framework.handover import inheritance
from servers.chat.accounts import Accounts
from servers.chat.admission import Admission
from servers.chat.channel import Channel
from servers.chat.cloak import cloak
from servers.chat.conversations import Conversations
from servers.chat.network import Network
from servers.chat.protocol import Message, fold
from servers.chat.settings import CHANGEABLE
from servers.chat.store import Store, StoreTakenError
from shared.sources import reread

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.chat.client import Client
    from servers.chat.server import ChatMixIn
    from servers.chat.settings import Settings
    from servers.chat.user import User

__all__ = ["Chat"]

_log = logging.getLogger(__name__)

_EVENTS = frozenset({"PRIVMSG", "NOTICE", "TOPIC"})
# A TAGMSG is typing and the like, unless its sender says that it is to stay: Ergo's rule.
_PERSISTENT = frozenset({"+draft/persist", "+persist"})

# Seconds between two attempts to take over what is stored, and between two looks of who waits for it.
_TAKE_OVER = 0.05


class Chat:
    """The network, its accounts, and the lock around them.

    Args:
        settings: what can be set.
        clock: tells the time in seconds since the epoch, for what users get to see of it.

    Raises:
        SettingsError: a setting turns out to be of no use.
        OSError: what is stored cannot be read, or another process has it that is not about to end.
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
        self.admission = Admission()
        self._store: Store | None = None
        self._secret = secrets.token_bytes(32)
        self.accounts = Accounts()
        self.doors: list[ChatMixIn] = []
        """The servers by which clients come."""
        self.is_open = False
        """Whether all that is stored is there; until then, clients wait."""
        try:
            self._open()
        except StoreTakenError:
            if not inheritance().has_predecessor:
                raise
            # By the program that has started this one, and will let go of it once this one serves.
            threading.Thread(target=self._take_over, name="take over", daemon=True).start()

    def _open(self) -> None:
        """Load what is stored."""
        if self.settings.data:
            self._store = store = Store(Path(self.settings.data))
            self.accounts, self._secret = Accounts(store), store.secret
            for channel in store.channels(self.settings.history_length):
                self.network.found(channel)
        self.is_open = True

    def _take_over(self) -> None:
        """Open what the program's earlier life has, as soon as that has ended."""
        while not (self.is_open or self.closing):
            try:
                self._open()
            except StoreTakenError:
                time.sleep(_TAKE_OVER)
            except OSError:
                _log.exception("cannot take over %s: it is tried again", self.settings.data)
                time.sleep(1)

    def wait_until_open(self, sleep: Callable[[float], object]) -> None:
        """Wait until clients may come."""
        while not (self.is_open or self.closing):
            sleep(_TAKE_OVER)

    def next_id(self) -> str:
        """Return an identifier that never was, not even before a restart."""
        return f"{self._epoch}{next(self._ids):x}"

    # -- clients -----------------------------------------------------------------------------------------------

    def host_of(self, address: str) -> str:
        """Return what others see of where a user is connected from."""
        return address if self.settings.show_addresses else cloak(address, self._secret)

    def enter(self, client: Client) -> None:
        """Take in a client that has just connected."""
        with self.lock:
            self._clients[client.user] = client
            self.admission.enter(client.user.address)
            if self.closing:
                client.leaving = "Server shutting down"

    def leave(self, client: Client, farewell: Message) -> None:
        """Forget a client, and tell those who share a channel with it."""
        user = client.user
        with self.lock:
            del self._clients[user]
            self.admission.leave(user.address)
            neighbours = self.network.leave(user, self.clock())
            # When everybody leaves, telling everybody about everybody is of no use to anybody.
            if user.registered and not self.closing:
                client.tell(neighbours, farewell)
                client.tell_watchers(user.nick, online=False)

    def end(self, user: User, reason: str) -> None:
        """End a user's conversation; with the lock held."""
        self._clients[user].end(reason)

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

    def leave_by(self, door: ChatMixIn) -> None:
        """Close one of the doors; with the last one, give back what the chat holds."""
        if door in self.doors:
            self.doors.remove(door)
            if not self.doors:
                self.flusher.close()
                if self._store is not None:
                    self._store.close()

    # -- what is remembered ------------------------------------------------------------------------------------

    def remember(self, client: Client, channel: Channel, message: Message) -> None:
        """Keep what a client has said in a channel, which it will hear of once that is stored."""
        if message.command in _EVENTS or _PERSISTENT & message.tags.keys():
            channel.history.append(message)
            if self._store is not None and channel.founder:
                client.unstored = self._store.add_message(channel, message)

    def remember_privately(self, sender: User, receiver: User, message: Message) -> None:
        """Keep what one user said to another; with the lock held."""
        if message.command in _EVENTS or _PERSISTENT & message.tags.keys():
            self.private.append(sender, receiver, message)

    def save(self, client: Client, channel: Channel) -> None:
        """Store a registered channel as a client has made it, or forget one that is so no more."""
        if self._store is not None:
            client.unstored = self._store.save_channel(channel) or client.unstored

    def store_wait(self, number: int, ahead: int = 0) -> None:
        """Wait until all but ``ahead`` of what came up to ``number`` is stored.

        Raises:
            OSError: it cannot be.
        """
        store = self._store
        if store is not None and not store.has(number - ahead):
            self.doors[0].run_blocking(lambda: store.wait(number - ahead))

    # -- passwords: to check or make one takes its time, and is done without the lock ----------------------------

    def is_reserved(self, nick: str, account: str) -> bool:
        """Tell whether a nick is that of an account, and not of this one."""
        return self.settings.reserve_nicks and fold(nick) != fold(account) and nick in self.accounts

    def verify(self, account: str, password: str) -> str | None:
        """Return an account's name as it was registered, or ``None`` if that is not its password."""
        known: str | None = self.doors[0].run_blocking(lambda: self.accounts.verify(account, password))
        return known

    def register(self, account: str, password: str) -> None:
        """Make an account, which is stored when this returns; raise ``AccountError`` if it cannot be."""
        self.doors[0].run_blocking(lambda: self.accounts.register(account, password))

    def is_operator(self, name: str, password: str) -> bool:
        """Tell whether this is an operator's name and password."""
        return any(login.name == name and login.password.matches(password) for login in self.settings.oper)

    def reload_all(self) -> None:
        """Do for all doors what SIGHUP does."""
        for door in self.doors:
            door.reload()

    # -- the settings ------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Take up what the settings and the message of the day are now, as far as that goes while clients are here."""
        settings = reread(self.settings, *CHANGEABLE)
        if settings is not self.settings:
            self.settings, self.motd = settings, settings.read_motd()
