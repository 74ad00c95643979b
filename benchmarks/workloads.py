"""What servers are kept busy with."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.subjects.job import Kind


@dataclass(frozen=True)
class Workload:
    """One way of keeping a server busy.

    Args:
        title: for people.
        kind: what the server is to do.
        clients: what ``load.c`` is to do.
        connections: how many of them, at once.
        depth: lines under way on each connection, or datagrams under way.
        unix: over a Unix socket instead of TCP or UDP.
        every: every how manieth line makes its handler block; 0: none.
        idle: connections that are open besides, and silent.
    """

    title: str
    kind: Kind
    clients: Literal["lines", "connect", "packets", "flood"]
    connections: int = 1
    depth: int = 1
    unix: bool = False
    every: int = 0
    idle: int = 0

    @property
    def kept(self) -> int:
        """How many connections stay open at once."""
        return self.connections + self.idle if self.clients == "lines" else 0


WORKLOADS = {
    "connect-tcp": Workload("A TCP connection per request, 16 at once", "line", "connect", 16),
    "connect-unix": Workload("A Unix connection per request, 16 at once", "line", "connect", 16, unix=True),
    "ping-pong-1": Workload("A line at a time on 1 kept TCP connection", "lines", "lines", 1),
    "ping-pong-50": Workload("A line at a time on 50 kept TCP connections", "lines", "lines", 50),
    "ping-pong-200": Workload("A line at a time on 200 kept TCP connections", "lines", "lines", 200),
    "ping-pong-500": Workload("A line at a time on 500 kept TCP connections", "lines", "lines", 500),
    "ping-pong-2000": Workload("A line at a time on 2 000 kept TCP connections", "lines", "lines", 2000),
    "ping-pong-unix": Workload(
        "A line at a time on 50 kept Unix connections", "lines", "lines", 50, unix=True
    ),
    "pipelined": Workload("16 lines under way on each of 16 kept TCP connections", "lines", "lines", 16, 16),
    "blocking": Workload(
        "A line at a time on 200 kept TCP connections; each 100th handler blocks for 2 ms",
        "naps",
        "lines",
        200,
        every=100,
    ),
    "idle": Workload("50 busy TCP connections beside 5 000 idle ones", "lines", "lines", 50, idle=5000),
    "udp": Workload("UDP datagrams sent back, 64 under way", "packet", "packets", depth=64),
    "unix-datagrams": Workload("Unix datagrams one way", "sink", "flood", unix=True),
}
