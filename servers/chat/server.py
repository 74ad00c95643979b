"""The composition: a service, a thread per connection, on TCP, around one network and one lock."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from framework import DrainResult, Flusher, InetAddress, ServiceMixIn, TCPServer, ThreadingMixIn, at
from servers.chat.handler import ChatHandler
from servers.chat.network import Network
from servers.chat.protocol import Message
from shared.run import Program, listen
from shared.sources import reread

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.chat.client import Client
    from servers.chat.settings import Settings

__all__ = ["ChatServer", "program"]

_log = logging.getLogger(__name__)

# What is looked up whenever it is needed, and was not promised to clients in 005.
_CHANGEABLE = (
    "motd",
    "max_clients",
    "sendq",
    "registration_timeout",
    "ping_after",
    "ping_timeout",
    "farewell",
)


class ChatServer(
    ServiceMixIn, ThreadingMixIn[socket.socket, InetAddress], TCPServer[socket.socket, InetAddress]
):
    """The chat server.

    Args:
        settings: what can be set.
        clock: tells the time in seconds since the epoch, for what users get to see of it.
        where: what ``framework.at()`` returns; by default what the settings say.

    Raises:
        OSError: the address cannot be bound.
        SettingsError: a setting turns out to be of no use.
    """

    # verify_request() refuses who is one too many, and says so: a pause would leave them without a word.
    max_connections = None
    # A client that says nothing is asked by the handler, which knows more of it than that it is silent.
    idle_timeout = None

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time, where: Any = None) -> None:
        self.settings = settings
        self.clock = clock
        self.created = clock()
        self.motd = settings.read_motd()
        self.network = Network(settings)
        self.lock = threading.Lock()
        """Guards the network, the clients and all they share. Nobody does I/O while holding it."""
        self.flusher = Flusher()
        self._clients: dict[Client, socket.socket] = {}
        self._closing = False
        # Last: if the address cannot be bound, this calls server_close().
        super().__init__(at(settings.url) if where is None else where, ChatHandler)

    def verify_request(self, request: socket.socket, client_address: InetAddress) -> bool:
        """Refuse who is one too many, and say so."""
        # Which counts the newcomer too, and does not wait.
        if self.wait_for_connections(lambda count: count <= self.settings.max_clients, timeout=0):
            return True
        line = Message("ERROR", (f"Closing link: {client_address[0]} (Too many clients, try again later)",))
        # OSError: the peer has gone, or has no room for a line: nothing to wait for.
        with contextlib.suppress(OSError):
            request.send(line.encode(), socket.MSG_DONTWAIT)
        _log.warning("refused %s: %d clients already", client_address[0], self.settings.max_clients)
        return False

    # -- clients -----------------------------------------------------------------------------------------------

    def enter(self, client: Client, connection: socket.socket) -> None:
        """Take in a client that has just connected."""
        with self.lock:
            self._clients[client] = connection
            if self._closing:
                client.leaving = "Server shutting down"
        _log.info("%s connected", client.user.host)

    def leave(self, client: Client, farewell: Message) -> None:
        """Forget a client, and tell those who share a channel with it."""
        with self.lock:
            self._clients.pop(client, None)
            neighbours = self.network.leave(client.user)
            # When everybody leaves, telling everybody about everybody is of no use to anybody.
            if client.user.registered and not self._closing:
                client.tell(neighbours, farewell)

    def connected(self) -> int:
        """Return how many clients there are, registered or not; the caller holds the lock."""
        return len(self._clients)

    # -- the server's own life ---------------------------------------------------------------------------------

    def reload(self) -> None:
        """Take up what the settings and the message of the day are now, as far as that goes while clients are here."""
        super().reload()
        settings = reread(self.settings, *_CHANGEABLE)
        if settings is not self.settings:
            self.settings, self.motd = settings, settings.read_motd()

    def drain(self, deadline: float | None = None) -> DrainResult:
        """Say goodbye to every client, and wait a little for those who are slow to hear it."""
        self._say_goodbye()
        return super().drain(deadline)

    def server_close(self) -> None:
        """Stop listening, and see that all have been said goodbye to."""
        self._say_goodbye()
        super().server_close()
        self.flusher.close()

    def _say_goodbye(self) -> None:
        """Let every conversation end, also those that only begin: the handler tells its client why."""
        with self.lock:
            self._closing = True
            for client, connection in self._clients.items():
                client.leaving = "Server shutting down"
                # The handler waits for input, and meets its end. OSError: the client was faster.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    def banner(self) -> str:
        """Return what whoever starts the server wants to know: where it is, and how to join."""
        host, port = self.server_address[:2]
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        place, url = (f"[{each}]" if ":" in each else each for each in (host, here))
        return (
            f"{self.settings.network} listens on {place}:{port}. Join it with one of\n"
            f"    irssi -c {here} -p {port} -n yournick\n"
            f"    weechat irc://yournick@{url}:{port}/#lobby\n"
            f"    nc {here} {port}        then type NICK yournick, USER yournick 0 * yourname, JOIN #lobby\n"
            f"and talk in a channel: /join #lobby. Ctrl-C ends the server."
        )


def program(settings: Settings) -> Program:
    """Return what ``python -m servers.chat`` runs."""
    fix = "choose another --host or --port, or end the program that is there"
    (server,) = listen([settings.url], lambda where: ChatServer(settings, where=where), fix)
    return Program((server,), server.banner())
