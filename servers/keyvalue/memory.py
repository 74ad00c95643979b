"""``Ledger``: how much memory the keys take, roughly, and which of them to give up when that is too much.

It is kept only where ``maxmemory`` is set. What Python objects take is estimated from the outside, as MEMORY USAGE
does, from a few elements of each; the process as a whole takes more than the sum.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

from servers.keyvalue.protocol import CommandError
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from servers.keyvalue.client import Client
    from servers.keyvalue.engine import Engine
    from servers.keyvalue.keyspace import Keyspace, Value

__all__ = ["Ledger", "size_of"]

# A slot in a dict that is two thirds full, and the key's object.
_SLOT = 104 + sys.getsizeof(b"")
# A float, a tuple and two places in lists, on top of what a dict has.
_ORDER = 24 + 56 + 16
_SAMPLES = 5
# Uses from which on they hardly count any more, as in redis' logarithmic counter; new keys have 5.
_NEW, _MOST_USES = 5, 255


def size_of(key: bytes, value: Value, samples: int = _SAMPLES) -> int:
    """Return about how many octets a key and its value take."""
    size = _SLOT + len(key) + sys.getsizeof(value)
    if isinstance(value, bytes):
        return size
    elements = value.scores if isinstance(value, SortedSet) else value
    some = list(islice(elements, samples or None))
    of_some = sum(map(sys.getsizeof, some))
    if isinstance(elements, dict):
        of_some += sum(sys.getsizeof(elements[each]) for each in some)
    if isinstance(value, SortedSet):
        of_some += _ORDER * len(some)
        size += sys.getsizeof(value.scores)
    return size + of_some * len(elements) // len(some) if some else size


class Ledger:
    """The sizes of all keys, and when or how often they were used.

    Args:
        engine: whose keys.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sizes: dict[Keyspace, dict[bytes, int]] = {each: {} for each in engine.dataset.keyspaces}
        self._uses: dict[Keyspace, dict[bytes, float]] = {each: {} for each in engine.dataset.keyspaces}
        self.total = 0
        self.counts_uses = engine.config.policy.endswith("lfu")
        for keyspace, key, _ in engine.dataset.contents():
            self.changed(keyspace, key)
            self.used(keyspace, key)

    def changed(self, keyspace: Keyspace, key: bytes) -> None:
        """Weigh a key anew."""
        sizes = self._sizes[keyspace]
        value = keyspace.values.get(key)
        self.total -= sizes.pop(key, 0)
        if value is None:
            self._uses[keyspace].pop(key, None)
        else:
            sizes[key] = size = size_of(key, value)
            self.total += size
            self.used(keyspace, key)

    def used(self, keyspace: Keyspace, key: bytes) -> None:
        """Take note that a key was used."""
        uses = self._uses[keyspace]
        if not self.counts_uses:
            uses[key] = self._engine.clock()
            return
        # The more uses, the less each further one: after a hundred, one in a thousand counts.
        count = uses.get(key, _NEW)
        uses[key] = min(_MOST_USES, count + 1 / (1 + max(0, count - _NEW) * 10))

    def forget_all(self, keyspace: Keyspace) -> None:
        """Take note that a keyspace is empty."""
        self.total -= sum(self._sizes[keyspace].values())
        self._sizes[keyspace], self._uses[keyspace] = {}, {}

    def swap(self, one: Keyspace, other: Keyspace) -> None:
        """Take note that two keyspaces have exchanged their keys."""
        self._sizes[one], self._sizes[other] = self._sizes[other], self._sizes[one]
        self._uses[one], self._uses[other] = self._uses[other], self._uses[one]

    def idle(self, keyspace: Keyspace, key: bytes) -> float:
        """Return for how many seconds a key has not been used."""
        return (
            0.0
            if self.counts_uses
            else self._engine.clock() - self._uses[keyspace].get(key, self._engine.clock())
        )

    def frequency(self, keyspace: Keyspace, key: bytes) -> int:
        """Return how often a key was used, on the scale of redis."""
        return int(self._uses[keyspace].get(key, _NEW))

    def make_room(self, client: Client) -> None:
        """Give up keys by the policy until the rest fits.

        Raises:
            CommandError: the policy has none to give up.
        """
        config = self._engine.config
        while self.total > config.maxmemory:
            victim = None if config.policy == "noeviction" else self._victim()
            if victim is None:
                raise CommandError("OOM command not allowed when used memory > 'maxmemory'.")
            keyspace, key = victim
            keyspace.remove(key)
            self._engine.dataset.evicted += 1
            self._engine.dataset.record(keyspace, [b"DEL", key])

    def _victim(self) -> tuple[Keyspace, bytes] | None:
        config = self._engine.config
        best: tuple[float, Keyspace, bytes] | None = None
        for keyspace in self._engine.dataset.keyspaces:
            if config.policy == "volatile-ttl":
                key = keyspace.next_to_expire()
                candidates = [] if key is None else [key]
            elif config.policy.startswith("volatile"):
                # TTLs are in no order that could be sampled from, but for that in which they end.
                candidates = list(islice(keyspace.expires, config.samples))
            else:
                samples = self._engine.samples(keyspace)
                candidates = [key for _ in range(config.samples) if (key := samples.one()) is not None]
            for key in candidates:
                if config.policy == "volatile-ttl":
                    worth = float(keyspace.expires[key])
                elif config.policy.endswith("random"):
                    worth = 0.0
                else:
                    worth = self._uses[keyspace].get(key, 0.0)
                if best is None or worth < best[0]:
                    best = worth, keyspace, key
        return None if best is None else best[1:]
