"""``Client``: what a command knows of the connection it serves, and how to push messages to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from servers.keyvalue.keyspace import Watcher
from servers.keyvalue.protocol import RESP3, Push, Request, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from framework import Outbox
    from servers.keyvalue.blocking import Waiter
    from servers.keyvalue.engine import Engine
    from servers.keyvalue.keyspace import Keyspace

__all__ = ["Client"]


class Client(Watcher):
    """One connection, from accept to close.

    Args:
        engine: what all clients share.
        address: where it comes from, for CLIENT LIST.
        open_outbox: makes the outbox by which others can send to it, once that is needed.
    """

    # One object per connection, and looked at for each command.
    __slots__ = (
        "_open_outbox",
        "address",
        "authenticated",
        "broken",
        "closing",
        "created",
        "dataset",
        "db",
        "descriptor",
        "dirty",
        "engine",
        "gated",
        "kill",
        "last",
        "last_used",
        "local",
        "name",
        "no_evict",
        "number",
        "outbox",
        "patterns",
        "queue",
        "queued",
        "replies",
        "running",
        "silent",
        "skipping",
        "subscriptions",
        "table",
        "version",
        "waiter",
        "watching",
    )

    def __init__(self, engine: Engine, address: str, local: str, open_outbox: Callable[[], Outbox]) -> None:
        self.engine = engine
        self.number = engine.next_client()
        self.address = address
        self.local = local
        self.name = b""
        self.db: Keyspace = engine.dataset.keyspaces[0]
        self.version = 2
        """Of the protocol."""
        self.dataset = engine.dataset
        self.table = engine.table
        self.authenticated = not engine.config.password
        self.queue: list[Request] | None = None
        """What has come since MULTI."""
        self.queued = 0
        """Octets of it."""
        self.broken = False
        """Whether something in the queue was refused."""
        self.dirty = False
        self.watching: set[tuple[Keyspace, bytes]] = set()
        self.running = False
        """Whether EXEC runs."""
        self.subscriptions: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.outbox: Outbox | None = None
        self._open_outbox = open_outbox
        self.replies: list[bytes] | None = None
        """Those of the batch that runs."""
        self.silent = False
        """Whether it wants to hear no replies; ``skipping``: how many it does not want to hear."""
        self.skipping = 0
        self.no_evict = False
        self.closing = False
        self.created = self.last_used = time.monotonic()
        self.last: Request = []
        self.waiter: Waiter | None = None
        """Set while a command of it waits for a key."""
        self.descriptor = -1
        self.kill: Callable[[], object] | None = None
        self.gated = False
        self.gate()

    def gate(self) -> None:
        """Find out anew whether a command needs a closer look before it may run."""
        listening = bool(self.subscriptions or self.patterns) and self.version < RESP3
        self.gated = not self.authenticated or self.queue is not None or listening

    @property
    def last_command(self) -> str:
        """The name of the command that ran last, as CLIENT LIST has it."""
        name = "|".join(word.decode("utf-8", "replace").lower() for word in self.last[:1])
        return name if name.isprintable() and " " not in name else "unknown"

    @property
    def resp3(self) -> bool:
        """Whether it speaks RESP3."""
        return self.version == RESP3

    def push(self, message: Push) -> None:
        """Send what the client has not asked for, once the batch that runs is over."""
        data = encode(message, self.version)
        if self.replies is not None:
            self.replies.append(data)  # behind those to what it has asked before
            return
        self.listen().put(data)
        self.engine.pushed[self] = None

    def listen(self) -> Outbox:
        """Be ready for messages: from now on everything that is sent passes through an outbox."""
        if self.outbox is None:
            self.outbox = self._open_outbox()
        return self.outbox

    def propagate(self, *effect: bytes) -> None:
        """Record this instead of the command that runs, which might come out otherwise when it is done again."""
        dataset = self.dataset
        if dataset.journal is None:
            return
        if dataset.effects is None:
            dataset.effects = []
        if effect:
            dataset.effects.append(effect)

    # -- WATCH -------------------------------------------------------------------------------------------------

    def watch(self, key: bytes) -> None:
        """Take note of any change of a key from now on."""
        self.watching.add((self.db, key))
        self.db.watched.setdefault(key, set()).add(self)
        self.engine.dataset.alert = True

    def unwatch(self) -> None:
        """Watch nothing more."""
        for keyspace, key in self.watching:
            watchers = keyspace.watched[key]
            watchers.discard(self)
            if not watchers:
                del keyspace.watched[key]
        if self.watching:
            self.watching.clear()
            self.engine.dataset.look_out()
        self.dirty = False
