"""The composition: a thread per connection, on TCP, around one network and one lock."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

from framework import Flusher, InetAddress, TCPServer, ThreadingMixIn
from servers.chat.handler import ChatHandler
from servers.chat.network import Network
from servers.chat.protocol import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.chat.client import Client
    from servers.chat.settings import Settings

__all__ = ["ChatServer"]

_log = logging.getLogger(__name__)


class ChatServer(ThreadingMixIn[socket.socket, InetAddress], TCPServer[socket.socket, InetAddress]):
    """The chat server.

    Args:
        settings: what can be set.
        clock: tells the time in seconds since the epoch, for what users get to see of it.

    Raises:
        OSError: the address cannot be bound.
        SettingsError: a setting turns out to be of no use.
    """

    allow_reuse_address = True
    # All clients return at once after a restart; beyond the backlog each would wait a second for its next SYN.
    request_queue_size = 1024
    # A client may be stuck for good, and the program ends all the same; server_close() gives each its chance.
    daemon_threads = True

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self.created = clock()
        self.motd = settings.read_motd()
        self.network = Network(settings)
        self.lock = threading.Lock()
        """Guards the network, the clients and all they share. Nobody does I/O while holding it."""
        self.flusher = Flusher()
        self._clients: set[Client] = set()
        self._closing = False
        self._connections: set[socket.socket] = set()
        self._closed = threading.Condition()  # of the connections, and of nothing else
        # Last: if the address cannot be bound, this calls server_close().
        super().__init__((settings.host, settings.port), ChatHandler)

    # -- connections: the first two run on the loop, the third in each connection's own thread -----------------

    def verify_request(self, request: socket.socket, client_address: InetAddress) -> bool:
        """Refuse who is one too many, and say so."""
        if len(self._connections) < self.settings.max_clients:
            return True
        line = Message("ERROR", (f"Closing link: {client_address[0]} (Too many clients, try again later)",))
        # OSError: the peer has gone, or has no room for a line: nothing to wait for.
        with contextlib.suppress(OSError):
            request.send(line.encode(), socket.MSG_DONTWAIT)
        _log.warning("refused %s: %d clients already", client_address[0], self.settings.max_clients)
        return False

    def process_request(self, request: socket.socket, client_address: InetAddress) -> None:
        """Count the connection in, and start its thread."""
        with self._closed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: socket.socket) -> None:
        """Close the connection, and count it out."""
        super().close_request(request)
        with self._closed:
            self._connections.discard(request)
            self._closed.notify_all()

    def handle_error(self, request: socket.socket, client_address: InetAddress) -> None:
        """Log what is a fault of this program: those of clients never get here."""
        _log.exception("serving %s failed", client_address)

    # -- clients -----------------------------------------------------------------------------------------------

    def enter(self, client: Client) -> None:
        """Take in a client that has just connected."""
        with self.lock:
            self._clients.add(client)
            if self._closing:
                client.leaving = "Server shutting down"
        _log.info("%s connected", client.user.host)

    def leave(self, client: Client, farewell: Message) -> None:
        """Forget a client, and tell those who share a channel with it."""
        with self.lock:
            self._clients.discard(client)
            neighbours = self.network.leave(client.user)
            # When everybody leaves, telling everybody about everybody is of no use to anybody.
            if client.user.registered and not self._closing:
                client.tell(neighbours, farewell)

    def connected(self) -> int:
        """Return how many clients there are, registered or not; the caller holds the lock."""
        return len(self._clients)

    # -- the server's own life ---------------------------------------------------------------------------------

    def banner(self) -> str:
        """Return what whoever starts the server wants to know: where it is, and how to join."""
        host, port = self.server_address
        here = "127.0.0.1" if host == "0.0.0.0" else host
        return (
            f"{self.settings.network} listens on {host}:{port}. Join it with one of\n"
            f"    irssi -c {here} -p {port} -n yournick\n"
            f"    weechat irc://yournick@{here}:{port}/#lobby\n"
            f"    nc {here} {port}        then type NICK yournick, USER yournick 0 * yourname, JOIN #lobby\n"
            f"and talk in a channel: /join #lobby. Ctrl-C ends the server."
        )

    def server_close(self) -> None:
        """Stop listening, say goodbye to every client, and wait a little for those who are slow to hear it."""
        super().server_close()
        with self.lock:
            self._closing = True
            for client in self._clients:
                client.leaving = "Server shutting down"
        with self._closed:
            for connection in self._connections:
                # close() would not wake the thread that waits for input; shutdown(2) does. OSError: gone already.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
            # Somewhat more than a client may take for itself, for the threads have to take turns.
            self._closed.wait_for(lambda: not self._connections, self.settings.farewell + 0.3)
        self.flusher.close()
