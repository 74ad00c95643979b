"""One conversation: read, obey, send."""

from __future__ import annotations

import logging
import select
import socket
import time
from typing import TYPE_CHECKING

from framework import BaseRequestHandler, InetAddress, Outbox
from servers.chat import commands, numerics
from servers.chat.client import Client
from servers.chat.network import User
from servers.chat.protocol import LineSplitter, Message, ProtocolError, parse

if TYPE_CHECKING:
    from servers.chat.server import ChatServer

__all__ = ["ChatHandler"]

_log = logging.getLogger(__name__)

# Octets taken in by one read: a screenful of chat, or the JOINs of a client that reconnects.
_READ = 8192

# Lines obeyed before others get the lock and the answers leave, so that a flood delays nobody for long.
_BATCH = 64

# What the kernel may hold for a client that does not read, on top of its outbox. Left to itself Linux goes up to
# 4 MiB (tcp(7), tcp_wmem), and dead clients would go unnoticed for as long.
_KERNEL_BUFFER = 64 * 1024


class ChatHandler(BaseRequestHandler["ChatServer", socket.socket, InetAddress]):
    """Serves one client from connect to close.

    The connection blocks, as its outbox demands; deadlines are kept by waiting for input with poll(2).
    """

    def setup(self) -> None:
        """Make the client, and make it known to the server."""
        # Chat is small messages, and Nagle's algorithm would hold each back for the last one's ACK (RFC 896).
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
        # An address that begins with a colon could be no parameter (RFC 2812, section 2.3.1); 0::1 is the same.
        host = "0" * self.client_address[0].startswith(":") + self.client_address[0]
        user = User(_outbox(self.server, self.request, host), host, self.server.clock())
        self.client = Client(self.server, user)
        self.server.enter(self.client, self.request)

    def handle(self) -> None:
        """Converse until one side has had enough."""
        reason = self._converse()
        if self.client.user.outbox.overflowed:
            reason = "SendQ exceeded"
        self.client.leaving = self.client.leaving or reason

    def finish(self) -> None:
        """Say why, to the client and to whom it concerns: the one way in which every conversation ends."""
        # handle() was cut short by a fault, which the server will report.
        client, reason = self.client, self.client.leaving or "Internal error"
        self.server.leave(client, client.message("QUIT", reason))
        client.user.outbox.put(_error(client.user.host, reason))
        client.flush()
        client.user.outbox.close(self.server.settings.farewell)
        _log.info("%s left: %s", client.user.source if client.user.registered else client.user.host, reason)

    def _converse(self) -> str:
        """Obey the client, and return why that came to an end."""
        client, settings = self.client, self.server.settings
        splitter = LineSplitter()
        waiter = select.poll()
        waiter.register(self.request, select.POLLIN)
        deadline = time.monotonic() + settings.registration_timeout
        pinged = False
        while not client.leaving:
            if not waiter.poll(max(0.0, deadline - time.monotonic()) * 1000):
                if not client.user.registered:
                    return "Registration timed out"
                if pinged:
                    return f"Ping timeout: {settings.ping_after + settings.ping_timeout:g} seconds"
                client.send(Message("PING", (settings.name,)))
                client.flush()
                pinged = True
                deadline = time.monotonic() + settings.ping_timeout
                continue
            try:
                data = self.request.recv(_READ)
            except OSError as error:
                return error.strerror or str(error)
            if not data:
                return "Connection closed"
            lines = splitter.feed(data)
            for start in range(0, len(lines), _BATCH):
                self._obey(lines[start : start + _BATCH])
            # Only a registered client wins time by talking; whatever it says proves that it is there.
            if client.user.registered:
                pinged = False
                deadline = time.monotonic() + settings.ping_after
        return client.leaving

    def _obey(self, lines: list[bytes | None]) -> None:
        """Do what the lines say, then send whatever came of it, to whomever."""
        with self.server.lock:
            for line in lines:
                if self.client.leaving:
                    break
                if line is None:
                    self.client.reply(numerics.ERR_INPUTTOOLONG)
                    continue
                try:
                    commands.obey(self.client, parse(line))
                except ProtocolError as error:
                    self.client.reply(numerics.ERR_UNKNOWNERROR, "*", str(error))
        self.client.flush()


def _outbox(server: ChatServer, connection: socket.socket, host: str) -> Outbox:
    """Return the outbox for a connection."""
    farewell = _error(host, "SendQ exceeded")
    return Outbox(connection, server.flusher, limit=server.settings.sendq, farewell=farewell)


def _error(host: str, reason: str) -> bytes:
    """Return the last line that a client gets to see."""
    return Message("ERROR", (f"Closing link: {host} ({reason})",)).encode()
