"""The composition: a thread per connection, on TCP, around one chat."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING

from framework import InetAddress, ServiceMixIn, TCPServer, ThreadingMixIn
from servers.chat.chat import Chat
from servers.chat.handler import ChatHandler
from servers.chat.protocol import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.chat.settings import Settings

__all__ = ["ChatMixIn", "ChatServer"]

_log = logging.getLogger(__name__)


class ChatMixIn(ServiceMixIn[socket.socket, InetAddress]):
    """What makes a server one of the chat, whatever runs its conversations.

    Args:
        settings: what can be set.
        clock: tells the time in seconds since the epoch, for what users get to see of it.

    Raises:
        OSError: the address cannot be bound.
        SettingsError: a setting turns out to be of no use.
    """

    # Who is one too many is told so, by verify_request(), rather than left to wait.
    max_connections = None
    # The chat knows better when a client has been silent for too long, and asks first.
    idle_timeout = None
    drain_timeout = 2.0
    secure = False

    server_address: InetAddress

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.chat = Chat(settings, clock)
        # Last: if the address cannot be bound, this calls server_close().
        super().__init__((settings.host, settings.port), ChatHandler)

    def verify_request(self, request: socket.socket, client_address: InetAddress) -> bool:
        """Refuse who is one too many, and say so."""
        why = self.chat.refusal(client_address[0])
        if not why:
            return True
        line = Message("ERROR", (f"Closing link: {client_address[0]} ({why})",))
        # OSError: the peer has gone, or has no room for a line: nothing to wait for.
        with contextlib.suppress(OSError):
            request.send(line.encode(), socket.MSG_DONTWAIT)
        return False

    def service_actions(self) -> None:
        """Look after the silent."""
        super().service_actions()
        self.chat.sweep(time.monotonic())

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
        self.chat.close()
        super().server_close()
        self.chat.give_back()


class ChatServer(
    ChatMixIn,
    ThreadingMixIn[socket.socket, InetAddress],
    TCPServer[socket.socket, InetAddress],
):
    """The chat server: a thread for each conversation."""
