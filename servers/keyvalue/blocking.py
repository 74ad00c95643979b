"""Commands that wait for a key: who waits for what, and being served as soon as it is there.

A command that finds nothing returns ``Block``. Outside a transaction its client parks, first come, first served;
whatever command gives one of the keys a value serves those who wait for it before anything else runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from servers.keyvalue.protocol import NIL_ARRAY, CommandError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from servers.keyvalue.client import Client
    from servers.keyvalue.engine import Engine
    from servers.keyvalue.keyspace import Keyspace

__all__ = ["Bell", "Block", "Waiter", "serve"]


class Bell(Protocol):
    """Wakes whoever waits at it; each concurrency model has its own."""

    def ring(self) -> None:
        """Wake who waits, now or as soon as it does; from any thread."""
        ...

    def wait(self, timeout: float | None, *, watch_input: bool) -> bool:
        """Wait until it is rung, for ``timeout`` seconds at most, or until there is input; tell whether it was rung."""
        ...


@dataclass(eq=False)
class Block(Exception):
    """Raised by a command that has to wait.

    Args:
        keys: for any of which it waits.
        timeout: seconds; ``None``: for ever.
        again: called when one of them has a value; raises this again if that is of no use.
        otherwise: the answer when time is up.
    """

    keys: Sequence[bytes]
    timeout: float | None
    again: Callable[[], Reply]
    otherwise: Reply = NIL_ARRAY


class Waiter:
    """One client that waits.

    Args:
        client: it.
        block: for what.
        bell: rung when it has been served.
    """

    def __init__(self, client: Client, block: Block, bell: Bell) -> None:
        self.client = client
        self.block = block
        self.bell = bell
        self.reply: Reply = None
        self.served = False
        self.mark = 0
        """What has to be safe before it is told (``Store.appended``)."""
        self._db: Keyspace = client.db
        client.waiter = self
        for key in block.keys:
            self._db.waiters.setdefault(key, {})[self] = None
        client.engine.dataset.alert = True
        client.engine.blocked += 1

    def end(self, reply: Reply) -> None:
        """Have it wait no longer, and answer this."""
        if self.served:
            return
        self.served, self.reply, self.mark = True, reply, self.client.engine.store.appended
        self.client.waiter = None
        for key in set(self.block.keys):
            waiters = self._db.waiters[key]
            del waiters[self]
            if not waiters:
                del self._db.waiters[key]
        self.client.engine.dataset.look_out()
        self.client.engine.blocked -= 1
        self.bell.ring()

    def try_again(self) -> None:
        """Run the command again, now that a key has a value."""
        dataset = self.client.engine.dataset
        before = dataset.changes
        try:
            reply = self.block.again()
        except Block:
            return
        except CommandError as error:
            reply = error
        effects, dataset.effects = dataset.effects, None
        if dataset.changes != before:
            for effect in effects or ():
                dataset.record(self._db, effect)
        self.end(reply)


def serve(engine: Engine) -> None:
    """Serve those who wait for keys that have a value now."""
    ready = engine.dataset.ready
    while ready:
        keyspace, key = next(iter(ready))
        del ready[keyspace, key]
        for waiter in list(keyspace.waiters.get(key, ())):
            if key not in keyspace:
                break
            if not waiter.served:
                waiter.try_again()
