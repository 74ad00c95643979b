"""One conversation: receive a batch, run all of it, commit, send all replies at once."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from framework import BaseRequestHandler, Outbox
from servers.keyvalue.accelerator import make_parser
from servers.keyvalue.blocking import Block, Waiter
from servers.keyvalue.client import Client
from servers.keyvalue.commands import execute
from servers.keyvalue.commands.connection import leave_channels
from servers.keyvalue.protocol import STRANGER, CommandError, Parser, Request, Several, encode

if TYPE_CHECKING:
    from servers.keyvalue.server import KeyValueMixIn

__all__ = ["KeyValueHandler"]

# Octets taken in at a time. It is also a client's share of a turn: about a thousand commands.
_BATCH = 64 * 1024
# Octets of replies at which a batch is interrupted to send them: what a client does not read is not kept.
_REPLIES = 1024 * 1024
# Messages that a subscriber may have unread. Redis cuts it off at 32 MiB, too (client-output-buffer-limit pubsub).
_UNREAD = 32 * 1024 * 1024
# Seconds that a subscriber gets for what is unread when it leaves.
_FAREWELL = 0.0


class KeyValueHandler(BaseRequestHandler["KeyValueMixIn", socket.socket, Any]):
    """Serves one client from connect to close."""

    def setup(self) -> None:
        """Make the client, and make it known."""
        server, connection = self.server, self.request
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._concurrency = server.concurrency
        self._engine = server.engine
        with self._concurrency.exclusive:
            self.client = client = Client(
                server.engine,
                server.name_of(connection, self.client_address),
                server.own_name,
                self._open_outbox,
            )
            client.descriptor = connection.fileno()
            client.kill = self._cut
            server.engine.clients[client.number] = client
            server.engine.connections += 1

    def handle(self) -> None:
        """Converse until one side has had enough."""
        client, connection = self.client, self.request
        parser = make_parser(self._limits())
        while not client.closing:
            data = connection.recv(_BATCH)
            if not data:
                return
            requests = parser.feed(data)
            if requests:
                self._serve(iter(requests), parser)
                parser.limits = self._limits()
            if parser.error is not None:
                # Where the next request begins is unknown; redis ends the connection, too.
                self._send(encode(CommandError(f"ERR Protocol error: {parser.error}")))
                return

    def finish(self) -> None:
        """Forget the client."""
        client = self.client
        with self._concurrency.exclusive:
            client.unwatch()
            leave_channels(client)
            if client.waiter is not None:
                client.waiter.end(None)
            del self._engine.clients[client.number]
        if client.outbox is not None:
            client.outbox.close(_FAREWELL)

    # -- a batch -----------------------------------------------------------------------------------------------

    def _serve(self, requests: Iterator[Request], parser: Parser) -> None:
        """Run requests to the last, and send what came of them."""
        client, store = self.client, self._engine.store
        more = True
        while more:
            replies: list[bytes] = []
            with self._concurrency.exclusive:
                client.replies = replies
                waiter, more = self._run(requests, replies)
            # What was read may have been written in this very turn by another, and is not to be known before it is safe.
            if store.pending:
                self._concurrency.commit()
            self._leave(replies)
            if waiter is not None:
                requests = itertools.chain(requests, self._wait(waiter, parser))

    def _run(self, requests: Iterator[Request], replies: list[bytes]) -> tuple[Waiter | None, bool]:
        """Run requests until one has to wait or enough is there to send; tell for what, and whether to come back."""
        client, engine = self.client, self._engine
        size, slow = 0, engine.config.slow
        begin = time.perf_counter()
        for request in requests:
            client.last = request
            try:
                reply = execute(client, request)
            except Block as block:
                return Waiter(client, block, self._concurrency.bell(self.request)), True
            if client.reply_mode != b"ON":
                reply = self._hush(reply)
            data = encode(reply, client.version)
            replies.append(data)
            size += len(data)
            engine.commands += 1
            end = time.perf_counter()
            if end - begin > slow:
                engine.log_slow(client, request, end - begin)
            begin = end
            if client.closing:
                return None, False
            if size > _REPLIES:
                return None, True
        client.last_used = engine.clock()
        return None, False

    def _hush(self, reply: Any) -> Any:
        if self.client.reply_mode == b"SKIP":
            # Skipped is the one after the command that says so.
            self.client.reply_mode = b"SKIPPING"
        elif self.client.reply_mode == b"SKIPPING":
            self.client.reply_mode = b"ON"
        return Several()

    def _leave(self, replies: list[bytes]) -> None:
        """Send the replies, and what was pushed to others meanwhile."""
        client, engine = self.client, self._engine
        with self._concurrency.exclusive:
            client.replies = None
            pushed = list(engine.pushed) if engine.pushed else ()
            engine.pushed.clear()
        if replies:
            self._send(b"".join(replies))
        for other in pushed:
            if other.outbox is not None:
                other.outbox.flush()

    def _send(self, data: bytes) -> None:
        outbox = self.client.outbox
        if outbox is None:
            self.request.sendall(data)
        else:
            outbox.put(data)
            outbox.flush()

    # -- waiting for a key -------------------------------------------------------------------------------------

    def _wait(self, waiter: Waiter, parser: Parser) -> Iterator[Request]:
        """Wait until the client is served, its time is up, or it has gone; return what it has sent meanwhile."""
        block, connection = waiter.block, self.request
        end = None if block.timeout is None else time.monotonic() + block.timeout
        early: list[Request] = []
        taken = 0
        while not waiter.served:
            watch = taken < _BATCH
            if watch:
                with contextlib.suppress(BlockingIOError):
                    data = connection.recv(_BATCH, socket.MSG_DONTWAIT)
                    if not data:
                        self.client.closing = True
                        return iter(())
                    taken += len(data)
                    early += parser.feed(data)
                    continue
            left = None if end is None else max(0.0, end - time.monotonic())
            if not waiter.bell.wait(left, watch_input=watch) and end is not None and time.monotonic() >= end:
                with self._concurrency.exclusive:
                    waiter.end(block.otherwise)
        if self._engine.store.pending:
            self._concurrency.commit()
        self._send(encode(waiter.reply, self.client.version))
        self._engine.commands += 1
        return iter(early)

    # -- inside ------------------------------------------------------------------------------------------------

    def _limits(self) -> Any:
        return self._engine.config.limits if self.client.authenticated else STRANGER

    def _open_outbox(self) -> Outbox:
        return Outbox(self.request, self.server.flusher, limit=_UNREAD)

    def _cut(self) -> None:
        with contextlib.suppress(OSError):  # it has gone already
            self.request.shutdown(socket.SHUT_RDWR)
