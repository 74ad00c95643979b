"""A service under ``serve()``, which tells at its end what became of its connections.

``python -m benchmarks.subjects.lasting MODEL KIND``: a line for where it serves, and one for how that ended.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from typing import cast

import framework
from benchmarks.subjects.job import Job, Kind, announce
from benchmarks.subjects.service import make
from framework.events import ConnectionClosed, DrainEnded
from framework.observers import Observer

# Instead of the minute that is the default, so that a measurement is shorter than that.
READ_TIMEOUT = 5.0


class Endings(Observer):
    """Counts why connections ended, and keeps what a drain came to."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.drained: dict[str, int] = {}

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Count."""
        self.reasons[event.reason.value] += 1

    def drain_ended(self, event: DrainEnded) -> None:
        """Keep it."""
        self.drained = {
            "completed": event.completed,
            "forced": event.forced,
            "abandoned": event.abandoned,
        }


def main() -> None:
    """Serve until a signal comes."""
    name, kind = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = make(name, Job(cast("Kind", kind)))
    server.read_timeout = READ_TIMEOUT
    endings = Endings()
    server.observe(endings)
    announce(server.server_address)
    status = framework.serve(server)
    print(json.dumps({"status": status, "reasons": endings.reasons, **endings.drained}), flush=True)


if __name__ == "__main__":
    main()
