"""One conversation: receive a batch, run all of it, commit, send all replies at once."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from framework import BaseRequestHandler, Outbox
from servers.keyvalue.blocking import Block, Waiter
from servers.keyvalue.client import Client
from servers.keyvalue.commands import execute, execute_alike
from servers.keyvalue.commands.connection import leave_channels
from servers.keyvalue.concurrency import refuse
from servers.keyvalue.parser import Parser
from servers.keyvalue.protocol import (
    CommandError,
    Reply,
    ReplyTooLargeError,
    Request,
    Several,
    encode,
    encode_all,
)

if TYPE_CHECKING:
    from servers.keyvalue.server import KeyValueMixIn

__all__ = ["KeyValueHandler"]

Batch: TypeAlias = Sequence[Request]

# Octets taken in at a time. It is also a client's share of a turn: about a thousand commands.
_BATCH = 64 * 1024
# Before the password, when requests are looked at one by one.
_STRANGERS_BATCH = 4096
# Octets of replies at which a batch is interrupted to send them: what a client does not read is not kept.
_REPLIES = 1024 * 1024
# Requests from which on it is worth a look whether they are alike.
_MANY = 4
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
        if not self.server.wait_until_open():
            return
        parser = self.server.parser(lambda: self._engine.config.limits)
        while not client.closing:
            data = connection.recv(_BATCH if client.authenticated else _STRANGERS_BATCH)
            if not data:
                return
            parser.stranger = not client.authenticated
            requests = parser.feed(data)
            while requests:
                self._serve(requests, parser)
                if not parser.stranger or client.closing:
                    break
                parser.stranger = not client.authenticated
                requests = parser.feed(b"")
            if parser.error is not None:
                # Where the next request begins is unknown; redis ends the connection, too.
                self._concurrency.finish()
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
            self._engine.clients.pop(client.number, None)
        if client.outbox is not None:
            client.outbox.close(_FAREWELL)
        # Replies may be among what waits to be safe, and are to leave before the connection closes.
        self._concurrency.finish()

    # -- a batch -----------------------------------------------------------------------------------------------

    def _serve(self, batch: Batch, parser: Parser) -> None:
        """Run requests to the last, and send what came of them."""
        client, engine, concurrency = self.client, self._engine, self._concurrency
        lock, store = concurrency.lock, engine.store
        while batch:
            replies: list[bytes] = []
            client.replies = replies
            if lock is None:
                batch, waiter = self._run(batch, replies)
                mark = store.appended
            else:
                with lock:
                    batch, waiter = self._run(batch, replies)
                    mark = store.appended
            # What was read may have been written in this very turn by another, and is not to be known before it is safe.
            unsafe = mark > store.committed or concurrency.group is not None
            if not (batch or waiter or client.outbox or engine.pushed or client.closing):
                client.replies = None
                if unsafe:
                    concurrency.answer(self.request, replies, mark)
                elif replies:
                    self.request.sendall(b"".join(replies))
                return
            if unsafe:
                self._commit(replies, mark)
            self._put(replies)
            if engine.pushed:
                self._flush_pushed()
            if waiter is not None:
                batch = [*batch, *self._wait(waiter, parser)]
            if client.closing:
                return

    def _run(self, batch: Batch, replies: list[bytes]) -> tuple[Batch, Waiter | None]:
        """Run requests until one has to wait or enough is there to send; return those left, and who waits."""
        # What every command passes through: hence the local names.
        client, engine = self.client, self._engine
        clock, slow = time.monotonic, engine.config.slow
        if len(batch) >= _MANY and not client.silent and self._run_alike(batch, replies):
            return (), None
        waiter: Waiter | None = None
        done = size = 0
        begin = clock()
        for request in batch:
            done += 1
            try:
                reply = execute(client, request)
            except Block as block:
                waiter = Waiter(client, block, self._concurrency.bell(self.request))
                break
            if client.silent:
                reply = self._hush(reply)
            try:
                data = encode(reply, client.version)
            except ReplyTooLargeError as error:
                data = encode(error)
            replies.append(data)
            size += len(data)
            end = clock()
            if end - begin > slow:
                engine.log_slow(client, request, end - begin)
            begin = end
            if size > _REPLIES or client.closing:
                break
        client.last, client.last_used = batch[done - 1], begin
        engine.commands += done
        return batch[done:] if done < len(batch) else (), waiter

    def _run_alike(self, batch: Batch, replies: list[bytes]) -> bool:
        """Run requests at once that are alike; tell whether that was possible."""
        client, engine = self.client, self._engine
        begin = time.monotonic()
        found = execute_alike(client, batch)
        if found is None:
            return False
        replies += encode_all(found, client.version)
        count = len(found)
        client.last, client.last_used = batch[-1], begin
        engine.commands += count
        each = (time.monotonic() - begin) / count
        if each > engine.config.slow:
            for request in batch:
                engine.log_slow(client, request, each)
        return True

    def _hush(self, reply: Reply) -> Reply:
        """Return what is left of a reply to a client that wants to hear none, or not the next one."""
        client = self.client
        if client.skipping:
            # The reply to SKIP itself is the first that is skipped.
            client.skipping -= 1
            client.silent = bool(client.skipping)
        return Several()

    def _commit(self, replies: list[bytes], mark: int) -> None:
        """Wait until what was done is safe; if it has been undone, that is the answer to all of it."""
        try:
            self._concurrency.commit(mark)
        except CommandError as error:
            refuse(replies, error)

    def _put(self, replies: list[bytes]) -> None:
        """Send the replies; where others push, before what they push from now on."""
        client = self.client
        with self._concurrency.exclusive:
            client.replies = None
            if client.outbox is not None:
                if replies:
                    client.outbox.put(b"".join(replies))
                    self._engine.pushed[client] = None
                return
        if replies:
            self.request.sendall(b"".join(replies))

    def _flush_pushed(self) -> None:
        """Send what this batch, or that of another thread, has pushed to others."""
        with self._concurrency.exclusive:
            pushed = list(self._engine.pushed)
            self._engine.pushed.clear()
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

    def _wait(self, waiter: Waiter, parser: Parser) -> list[Request]:
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
                        return []
                    taken += len(data)
                    early += parser.feed(data)
                    continue
            left = None if end is None else max(0.0, end - time.monotonic())
            if not waiter.bell.wait(left, watch_input=watch) and end is not None and time.monotonic() >= end:
                with self._concurrency.exclusive:
                    waiter.end(block.otherwise)
        replies = [encode(waiter.reply, self.client.version)]
        if waiter.mark > self._engine.store.committed or self._concurrency.group is not None:
            self._commit(replies, waiter.mark)
        self._send(replies[0])
        return early

    # -- inside ------------------------------------------------------------------------------------------------

    def _open_outbox(self) -> Outbox:
        return Outbox(self.request, self.server.flusher, limit=_UNREAD)

    def _cut(self) -> None:
        with contextlib.suppress(OSError):  # it has gone already
            self.request.shutdown(socket.SHUT_RDWR)
