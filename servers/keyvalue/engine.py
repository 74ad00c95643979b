"""``Engine``: what all connections share, and what has to be done now and then."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framework.handover import inheritance
from servers.keyvalue.commands.table import TABLE, Table
from servers.keyvalue.dataset import Dataset
from servers.keyvalue.keyspace import Keyspace
from servers.keyvalue.memory import Ledger
from servers.keyvalue.protocol import CommandError, Request
from servers.keyvalue.scan import Cursors, Samples
from servers.keyvalue.stores.files import StoreError, StoreTakenError
from servers.keyvalue.stores.records import DamagedError

if TYPE_CHECKING:
    from servers.keyvalue.client import Client
    from servers.keyvalue.config import Config
    from servers.keyvalue.server import KeyValueMixIn
    from servers.keyvalue.stores import Apply, Store

__all__ = ["TAKE_OVER", "Engine", "Slow"]

_log = logging.getLogger(__name__)

# How often expired keys are looked for, in seconds; redis does it ten times a second, too.
_PERIOD = 0.1
# And how many of them, or of the elements in the trash, are dealt with before others get their turn: about 1 ms.
_SLICE = 1000
# Seconds between two looks whether the program's earlier life has let go of the store.
TAKE_OVER = 0.05


@dataclass(frozen=True, slots=True)
class Slow:
    """A command that took long."""

    number: int
    time: int
    microseconds: int
    request: tuple[bytes, ...]
    address: str
    name: bytes


class Engine:
    """The data, the store behind it, and who is connected.

    Args:
        store: keeps what is changed; loaded here.
        config: what can be changed while the server runs.
        databases: how many.
        table: the commands that there are.
        clock: tells the time in seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        config: Config,
        databases: int = 16,
        table: Table = TABLE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.table = table
        self.store = store
        self.config = config
        self.clock = clock
        self.dataset = Dataset(databases, clock)
        self.clients: dict[int, Client] = {}
        self.channels: dict[bytes, dict[Client, None]] = {}
        self.patterns: dict[bytes, dict[Client, None]] = {}
        self.pushed: dict[Client, None] = {}
        """Whose outboxes have got something in the batch that runs."""
        self.cursors = Cursors()
        self.slowlog: deque[Slow] = deque()
        self.run_id = os.urandom(20).hex()
        self.started = clock()
        self.commands = self.errors = self.connections = self.blocked = self.slow_commands = 0
        self.pause: Callable[[float], None] = lambda _seconds: None
        """Lets others have their turn for so many seconds or, with 0, for a moment; put here by the server."""
        self.servers: set[KeyValueMixIn] = set()
        self._numbers = itertools.count(1)
        self._samples: dict[Keyspace, Samples] = {}
        self._due = 0.0
        config.changed = self._reconfigure
        self.is_open = False
        """Whether all that is kept is there; until then, clients wait."""
        self.closing = False
        """Whether what is not there by now will not be there any more."""
        self._heir: threading.Thread | None = None
        try:
            self._open()
        except StoreTakenError:
            if not inheritance().has_predecessor:
                raise
            # By the program that has started this one, and will let go of it once this one serves.
            self._heir = threading.Thread(target=self._take_over, name="take over", daemon=True)
            self._heir.start()

    def _open(self) -> None:
        """Do again what the store has kept."""
        if self.store.durable:
            self._replay(self.store.load)
        self._reconfigure()
        self.is_open = True

    def _take_over(self) -> None:
        """Open the store that the program's earlier life has, as soon as that has ended."""
        while not (self.is_open or self.closing):
            try:
                self._open()
            except StoreTakenError:
                time.sleep(TAKE_OVER)
            except (StoreError, DamagedError, CommandError, OSError) as error:
                _log.critical("the store cannot be taken over, and the server ends: %s", error)
                self.closing = True
                self.stop()
                return

    def recover(self) -> None:
        """Make the data anew from what is kept, if something was done that could not be kept."""
        if self.store.ahead:
            for keyspace in self.dataset.keyspaces:
                keyspace.clear()
            self._replay(self.store.reload)
            self._reconfigure()

    def _replay(self, load: Callable[[Apply], None]) -> None:
        from servers.keyvalue.replay import Replay

        dataset = self.dataset
        # Time stands still meanwhile: keys that have expired are removed by effects of their own.
        dataset.clock, dataset.journal, dataset.ledger = lambda: 0.0, None, None
        dataset.plain = True
        load(Replay(self).apply)
        dataset.clock, dataset.journal = self.clock, self.store.append

    def _reconfigure(self) -> None:
        ledger = self.dataset.ledger
        if not self.config.maxmemory:
            self.dataset.ledger = None
        elif ledger is None or ledger.counts_uses is not self.config.policy.endswith("lfu"):
            self.dataset.ledger = Ledger(self)
        self.dataset.look_out()

    # -- for commands ------------------------------------------------------------------------------------------

    def next_client(self) -> int:
        """Return the number of a new client."""
        return next(self._numbers)

    def reserve(self, request: Sequence[bytes]) -> None:
        """Make sure that there is room for an effect that is larger than its command."""
        if self.dataset.journal is not None:
            self.store.reserve(request)

    def samples(self, keyspace: Keyspace) -> Samples:
        """Return where to get random keys of a keyspace from."""
        return self._samples.setdefault(keyspace, Samples(keyspace))

    def log_slow(self, client: Client, request: Request, seconds: float) -> None:
        """Take note of a command that took long, of as much of it as redis shows."""
        words = [word if len(word) <= 128 else word[:128] + b"..." for word in request[:32]]  # noqa: PLR2004
        entry = Slow(
            self.slow_commands,
            int(self.clock()),
            int(seconds * 1e6),
            tuple(words),
            client.address,
            client.name,
        )
        self.slow_commands += 1
        self.slowlog.appendleft(entry)
        while len(self.slowlog) > self.config.slow_entries:
            self.slowlog.pop()

    # -- now and then --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> bool:
        """Do what is due at ``now``, on the monotonic clock; tell whether there is more of it to be done at once."""
        if now < self._due or not self.is_open:
            return False
        more = self.dataset.expire_due(_SLICE) == _SLICE
        if self.dataset.trash:
            self.dataset.trash.free(_SLICE)
            more = more or bool(self.dataset.trash)
        self.store.tick()
        if not more:
            self._due = now + _PERIOD
        return more

    def stop(self) -> None:
        """End the servers, as SHUTDOWN asks; they wait for the command that asks so, which must not wait for them."""
        servers = list(self.servers)

        def shut_down() -> None:
            for server in servers:
                server.shutdown()

        threading.Thread(target=shut_down, name="stop", daemon=True).start()

    def leave(self, server: KeyValueMixIn) -> None:
        """Take note that a server has closed; with the last one the store closes."""
        if server in self.servers:
            self.servers.remove(server)
            if not self.servers:
                self.closing = True
                if self._heir is not None:
                    self._heir.join()
                self.store.close()
