"""What the framework means to reach, in figures of one run, and whether it does."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.report import Table, grid, number
from benchmarks.subjects import SUBJECTS
from benchmarks.workloads import WORKLOADS


@dataclass(frozen=True)
class Target:
    """One figure to reach: a column of a subject, or its ratio to that of another."""

    workload: str
    subject: str
    limit: float
    reference: str | None = None
    column: str = "CPU µs"
    at_least: bool = False

    @property
    def aim(self) -> str:
        """The limit, in words."""
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.limit:.3g}" + (f" of {self.reference}" if self.reference else "")

    def reached(self, value: float) -> str:
        """Tell whether the value is within the limit."""
        if math.isnan(value):
            return "not measured"
        return "yes" if (value >= self.limit if self.at_least else value <= self.limit) else "NO"


PING_PONG = ("ping-pong-50", "ping-pong-200", "ping-pong-500", "ping-pong-2000")

TARGETS = [
    *(
        Target(workload, "greenlets", limit, reference)
        for workload in PING_PONG
        for reference, limit in (("uvloop-streams", 1.0), ("uvloop-protocol", 1.25), ("gevent", 0.6))
    ),
    *(Target(workload, "pool", 0.7, "stdlib-threads") for workload in PING_PONG),
    Target("ping-pong-500", "pool", 20, column="p99.9 ms"),
    *(
        Target("pipelined", subject, 0.25, reference)
        for subject in ("greenlets", "service-threads")
        for reference in ("stdlib-threads", "uvloop-streams")
    ),
    Target("connect-unix", "pool", 0.17, "stdlib-threads"),
    Target("connect-unix", "pool", 1.0, "uvloop-protocol"),
    Target("connect-tcp", "pool", 0.33, "stdlib-threads"),
    Target("connect-tcp", "pool", 1.0, "uvloop-protocol"),
    Target("blocking", "pool", 1.5, "stdlib-threads", "ops/s", at_least=True),
    Target("blocking", "pool", 3.5, "uvloop-protocol", "ops/s", at_least=True),
    Target("udp", "service-inline", 0.7, "stdlib-inline"),
    Target("udp", "service-inline", 1.0, "uvloop-protocol"),
    Target("udp", "batch", 0.6, "stdlib-inline"),
    Target("udp", "batch", 0.8, "uvloop-protocol"),
    Target("unix-datagrams", "service-inline", 0.65, "stdlib-inline"),
    Target("unix-datagrams", "batch", 0.4, "stdlib-inline"),
    Target("idle", "greenlets", 0.9, column="rate ratio", at_least=True),
    Target("idle", "greenlets", 1 / 0.9, column="CPU ratio"),
    Target("idle", "greenlets", 4, column="KiB each"),
    Target("idle", "greenlets-parked", 4, column="KiB each"),
    *(
        Target("shutdown", subject, 5, column="ms")
        for subject in ("letter-threads", "service-inline", "service-threads", "greenlets", "pool")
    ),
    *(
        Target(name, subject.name, 1.05, subject.name.replace("letter", "stdlib"))
        for name, workload in WORKLOADS.items()
        for subject in SUBJECTS
        if subject.name.startswith("letter") and subject.can(workload.kind, workload.kept)
    ),
]


def show(tables: dict[str, Table], *, markdown: bool) -> None:
    """Print the targets of the tables that there are."""
    lines = []
    for target in TARGETS:
        table = tables.get(target.workload)
        if table is None or target.subject not in table.rows:
            continue
        value = table.median(target.subject, target.column, target.reference)
        what = f"{target.workload}: {target.subject}, {target.column}"
        lines.append((what, target.aim, number(value), target.reached(value)))
    if lines:
        print("\n### Targets\n" if markdown else "\ntargets")
        print(grid(("", "target", "measured", "reached"), lines, markdown=markdown), flush=True)
