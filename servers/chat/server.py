"""The composition: services, a greenlet per conversation, on TCP and TLS, around one chat; the program."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

from framework import DrainResult, InetAddress, ServiceMixIn, TCPServer, at
from framework.greenlets import GreenletMixIn
from framework.proxy import ProxyMixIn
from framework.tls import TLSMixIn
from servers.chat.chat import Chat
from servers.chat.handler import ChatHandler
from servers.chat.protocol import Message
from shared.descriptors import allow_descriptors
from shared.run import Program, listen
from shared.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from servers.chat.settings import Settings

__all__ = ["ChatMixIn", "ChatServer", "TLSChatServer", "program"]

_log = logging.getLogger(__name__)

# Listeners, the store, metrics, and who is refused meanwhile.
_OTHER_FILES = 100


class ChatMixIn(ServiceMixIn[socket.socket, InetAddress]):
    """What makes a server a door to the chat, whatever runs its conversations.

    Args:
        settings: what can be set.
        clock: tells the time in seconds since the epoch, for what users get to see of it.
        where: what ``framework.at()`` returns; by default what the settings say.
        chat: where its clients are to meet others; by default one of its own, which ends with it.

    Raises:
        OSError: the address cannot be bound.
        SettingsError: a setting turns out to be of no use.
    """

    # verify_request() refuses who is one too many, and says so: a pause would leave them without a word.
    max_connections: int | None = None
    # The chat knows more of a client than that it is silent, and asks first.
    idle_timeout: float | None = None

    secure = False
    """Whether nobody can listen in."""
    trusted_proxies: Sequence[str] = ()

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        where: Any = None,  # a tuple or an Endpoint: whatever at() returns
        chat: Chat | None = None,
    ) -> None:
        self.chat = Chat(settings, clock) if chat is None else chat
        self.trusted_proxies = self.chat.settings.trusted_proxy
        self.chat.doors.append(self)
        # Last: if the address cannot be bound, this calls server_close().
        super().__init__(at(settings.url) if where is None else where, ChatHandler)

    def verify_request(self, request: socket.socket, client_address: InetAddress) -> bool:
        """Refuse who is one too many, and say so."""
        why = self.chat.admission.refusal(client_address[0], self.chat.settings)
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
        if self.chat.doors[0] is self:
            self.chat.sweep(time.monotonic())

    def reload(self) -> None:
        """Take up what the settings are now, and the certificates."""
        super().reload()
        self.chat.reload()

    def drain(self, deadline: float | None = None) -> DrainResult:
        """Say goodbye to every client, and wait a little for those who are slow to hear it."""
        self.chat.close()
        return super().drain(deadline)

    def server_close(self) -> None:
        """Stop listening, and see that all have been said goodbye to."""
        self.chat.close()
        super().server_close()
        self.chat.leave_by(self)

    def banner(self) -> str:
        """Return what whoever starts the server wants to know: where it is, and how to join."""
        host, port = self.server_address[:2]
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        place, url = (f"[{each}]" if ":" in each else each for each in (host, here))
        settings = self.chat.settings
        lasts = (
            f"keeps accounts and channels in {settings.data}" if settings.data else "forgets all when it ends"
        )
        return (
            f"{settings.network} listens on {place}:{port}, and {lasts}. Join it with one of\n"
            f"    irssi -c {here} -p {port} -n yournick\n"
            f"    weechat irc://yournick@{url}:{port}/#lobby\n"
            f"    nc {here} {port}        then type NICK yournick, USER yournick 0 * yourname, JOIN #lobby\n"
            f"and talk in a channel: /join #lobby. Ctrl-C ends the server."
        )


class ChatServer(
    ChatMixIn,
    ProxyMixIn[socket.socket, InetAddress],
    GreenletMixIn[socket.socket, InetAddress],  # or ThreadingMixIn: nothing else changes
    TCPServer[socket.socket, InetAddress],
):
    """A door to the chat: a greenlet for each conversation, which measures better than a thread does."""


class TLSChatServer(
    ChatMixIn,
    ProxyMixIn[socket.socket, InetAddress],  # what a proxy says comes before the handshake
    TLSMixIn[socket.socket, InetAddress],
    GreenletMixIn[socket.socket, InetAddress],
    TCPServer[socket.socket, InetAddress],
):
    """The same over TLS."""

    secure = True

    def __init__(self, settings: Settings, where: Any, chat: Chat) -> None:
        self.certfile = settings.certificate
        self.keyfile = settings.key or None
        super().__init__(settings, where=where, chat=chat)


def program(settings: Settings) -> Program:
    """Return what ``python -m servers.chat`` runs."""
    allow_descriptors(settings.max_clients + _OTHER_FILES)
    try:
        chat = Chat(settings)
    except OSError as error:
        raise SettingsError("data", settings.data, f"{error}: name a folder of this server alone") from error
    fix = "choose another --host, --port or --tls-port, or end the program that is there"
    doors: list[ChatMixIn] = [
        *listen([settings.url], lambda where: ChatServer(settings, where=where, chat=chat), fix)
    ]
    banner = doors[0].banner()
    if settings.tls_url:
        doors += listen([settings.tls_url], lambda where: TLSChatServer(settings, where, chat), fix)
        banner += f"\nOver TLS: port {doors[-1].server_address[1]}."
    return Program(doors, banner)
