"""The servers that are measured: each module here has a ``serve()`` that serves a job until the process ends.

The peers are written as their own documentation would have them for speed: replies of one read leave in one write
where their interface has an easy way to it, the backlog is 1 024 for all, and so is ``TCP_NODELAY`` on kept connections.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType

from benchmarks.subjects.job import Kind


@dataclass(frozen=True)
class Subject:
    """One server.

    Args:
        name: the module may have several, and is told by it which to be.
        module: in this package.
        kinds: what it can do.
        kept: how many connections it can keep open at once.
        needs: a module that has to be there.
    """

    name: str
    module: str
    kinds: tuple[Kind, ...]
    kept: int = 10_000
    needs: str | None = None

    def can(self, kind: Kind, kept: int) -> bool:
        """Tell whether it is made for such work."""
        return kind in self.kinds and kept <= self.kept

    def missing(self) -> str | None:
        """Return why it cannot run here."""
        if self.needs is None or importlib.util.find_spec(self.needs) is not None:
            return None
        return f"left out, as there is no module {self.needs}"

    def load(self) -> ModuleType:
        """Import its module."""
        return importlib.import_module(f"benchmarks.subjects.{self.module}")


STREAMS: tuple[Kind, ...] = ("line", "lines")
DATAGRAMS: tuple[Kind, ...] = ("packet", "sink")

SUBJECTS = (
    Subject("stdlib-inline", "letter", (*STREAMS, *DATAGRAMS), kept=1),
    Subject("stdlib-threads", "letter", (*STREAMS, "naps", "packet")),
    Subject("stdlib-fork", "letter", STREAMS, kept=50),
    Subject("letter-inline", "letter", (*STREAMS, *DATAGRAMS), kept=1),
    Subject("letter-threads", "letter", (*STREAMS, "naps", "packet")),
    Subject("letter-fork", "letter", STREAMS, kept=50),
    Subject("service-inline", "service", (*STREAMS, *DATAGRAMS), kept=1),
    Subject("service-threads", "service", (*STREAMS, "naps")),
    Subject("greenlets", "service", (*STREAMS, "naps", *DATAGRAMS), needs="greenlet"),
    Subject("greenlets-parked", "service", ("lines",), needs="greenlet"),
    Subject("pool", "service", (*STREAMS, "naps"), needs="framework.pool"),
    Subject("batch", "service", DATAGRAMS),
    Subject("bare", "bare", (*STREAMS, *DATAGRAMS)),
    Subject("asyncio-protocol", "loops", (*STREAMS, "naps", *DATAGRAMS)),
    Subject("asyncio-streams", "loops", STREAMS),
    Subject("uvloop-protocol", "loops", (*STREAMS, "naps", "packet"), needs="uvloop"),
    Subject("uvloop-streams", "loops", STREAMS, needs="uvloop"),
    Subject("gevent", "gevents", (*STREAMS, *DATAGRAMS), needs="gevent"),
    Subject("twisted", "reactor", (*STREAMS, *DATAGRAMS), needs="twisted"),
    Subject("trio", "nursery", (*STREAMS, *DATAGRAMS), needs="trio"),
)
