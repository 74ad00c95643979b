"""One conversation: read, obey, send."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING

from framework import BaseRequestHandler, InetAddress, Outbox
from framework.connection import Connection
from servers.chat import commands, numerics
from servers.chat.client import Client
from servers.chat.flood import Bucket
from servers.chat.protocol import EndlessLineError, LineSplitter, Message, NotUTF8Error, ProtocolError, parse
from servers.chat.user import User

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.chat.client import Steps
    from servers.chat.server import ChatMixIn

__all__ = ["ChatHandler"]

_log = logging.getLogger(__name__)

# Octets taken in by one read: a screenful of chat, or the JOINs of a client that reconnects.
_READ = 8192

# Lines obeyed before others get the lock and the answers leave, so that a flood delays nobody for long.
_BATCH = 64

# Messages that may still have to be stored while those who want no echo go on.
_AHEAD = 1000

# Tokens of the flood control: what dribbles in, or is nothing but line ends, is not free either.
_READ_COST = 1 / 64

# What the kernel may hold for a client that does not read, on top of its outbox. Left to itself Linux goes up to
# 4 MiB (tcp(7), tcp_wmem), and dead clients would go unnoticed for as long.
_KERNEL_BUFFER = 64 * 1024


class ChatHandler(BaseRequestHandler["ChatMixIn", socket.socket, InetAddress]):
    """Serves one client from connect to close.

    It waits for input without a deadline, as its outbox demands: the chat sweeps over all clients now and then, and
    lets those that are silent for too long meet the end of their input.
    """

    def setup(self) -> None:
        """Make the client, and make it known to the chat."""
        connection, chat = self.request, self.server.chat
        assert isinstance(connection, Connection)  # noqa: S101 -- a service makes all of its own so
        # Chat is small messages, and Nagle's algorithm would hold each back for the last one's ACK (RFC 896).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
        chat.wait_until_open(self.server.sleep)
        # An address that begins with a colon could be no parameter (RFC 2812, section 2.3.1); 0::1 is the same.
        address = "0" * self.client_address[0].startswith(":") + self.client_address[0]
        host = chat.host_of(address)
        farewell = _error(host, "SendQ exceeded")
        outbox = Outbox(connection, chat.flusher, limit=chat.settings.sendq, farewell=farewell)
        user = User(outbox, address, host, chat.clock(), secure=self.server.secure)
        self.client = Client(chat, user, connection)
        self.bucket = Bucket(chat.settings.flood_rate, chat.settings.flood_burst, self.client.since)
        chat.enter(self.client)
        _log.info("%s connected", address)

    def handle(self) -> None:
        """Converse until one side has had enough."""
        reason = self._converse()
        if self.client.user.outbox.overflowed:
            reason = "SendQ exceeded"
        elif self.client.was_drained:
            reason = "Server shutting down"
        self.client.leaving = self.client.leaving or reason

    def finish(self) -> None:
        """Say why, to the client and to whom it concerns: the one way in which every conversation ends."""
        # handle() was cut short by a fault, which the server will report.
        client, reason = self.client, self.client.leaving or "Internal error"
        user, outbox = client.user, client.user.outbox
        self.server.chat.leave(client, client.message("QUIT", reason))
        outbox.put(_error(user.host, reason))
        client.fanout.flush()
        outbox.close(self.server.chat.settings.farewell)
        _log.info("%s (%s) left: %s", user.source if user.registered else "?", user.address, reason)

    def _converse(self) -> str:
        """Obey the client, and return why that came to an end."""
        client, bucket = self.client, self.bucket
        splitter = LineSplitter()
        while not client.leaving:
            try:
                data = self.request.recv(_READ)
                lines = splitter.feed(data)
            except OSError as error:
                return error.strerror or str(error)
            except EndlessLineError:
                return "RecvQ exceeded"
            if not data:
                return "Connection closed"
            bucket.charge(_READ_COST)
            while (lines or bucket.owes) and not client.leaving:
                now = client.heard = time.monotonic()
                client.pinged = False
                allowed = bucket.take(min(len(lines), _BATCH), now)
                if allowed:
                    self._obey(lines[:allowed])
                    del lines[:allowed]
                else:
                    # It is this client's own reader that waits, and by that in the end the client (TCP's window).
                    self.server.sleep(bucket.delay())
        return client.leaving

    def _obey(self, lines: list[bytes | None]) -> None:
        """Do what the lines say, and send whatever comes of it, to whomever.

        What takes time is done in between, without the lock; the lines behind it wait.
        """
        client, steps = self.client, self._steps(lines)
        outcome: object = None
        while True:
            slow: Callable[[], object] | None = None
            with self.server.chat.lock:
                with contextlib.suppress(StopIteration):
                    slow = steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome)
                client.fanout.spill()
            self._flush()
            if client.unstored:
                self._settle()
            if slow is None or client.leaving:
                return
            try:
                outcome = slow()
            except Exception as error:
                outcome = error  # the command's, which knows what to make of it

    def _steps(self, lines: list[bytes | None]) -> Steps:
        """Obey the lines, and yield what takes time; runs with the lock held."""
        client = self.client
        for line in lines:
            if client.leaving:
                return
            steps = self._begin(line)
            if steps is not None:
                yield from steps
            if client.is_behind:
                yield client.wait_for_room

    def _flush(self) -> None:
        """Send what was told: under greenlets once for all clients that have been heard in one turn of the hub."""
        if self.client.fanout.crowded:
            self.client.fanout.flush()  # or a turn with many who talk would be too much for those who read
        else:
            self.server.at_turn_end(self.client.fanout.flush)

    def _settle(self) -> None:
        """Wait until what the client is about to be told is stored, once for all that was obeyed."""
        client, failed = self.client, None
        try:
            # Who is told nothing waits only while the disk is far behind.
            self.server.chat.store_wait(client.unstored, ahead=0 if client.holds else _AHEAD)
        except OSError as error:
            failed = error
        client.release(failed)
        self._flush()

    def _begin(self, line: bytes | None) -> Steps | None:
        """Do what a line says, and return what is left to do; with the lock held."""
        client = self.client
        if line is None:
            client.reply(numerics.ERR_INPUTTOOLONG)
            return None
        try:
            return commands.obey(client, parse(line))
        except NotUTF8Error as error:
            client.begin_answer(error.message.tags.get("label", ""))
            client.fail("*", "INVALID_UTF8", "Messages are UTF-8 here")
            client.end_answer()
        except ProtocolError as error:
            client.reply(numerics.ERR_UNKNOWNERROR, "*", str(error))
        return None


def _error(host: str, reason: str) -> bytes:
    """Return the last line that a client gets to see."""
    return Message("ERROR", (f"Closing link: {host} ({reason})",)).encode()
