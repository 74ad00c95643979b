"""What a service stands: idle connections by the thousand, peers that dribble, an end in the midst of it.

``python -m benchmarks.endurance``. Each server is a process of its own on the first core, and these clients are on the
others; a figure is the median over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Self

from benchmarks import load
from benchmarks.rates import open_idle, raise_limit
from benchmarks.report import Table
from benchmarks.server import CORES, PATIENCE, FailedError, Server, pinned
from benchmarks.subjects.lasting import READ_TIMEOUT
from benchmarks.workloads import Workload

PROGRAM = "benchmarks.subjects.lasting"
IDLE_SUBJECTS = ("greenlets", "pool")
SUBJECTS = ("service-threads", "pool", "greenlets")

BUSY = Workload("A line at a time on 16 kept TCP connections", "lines", "lines", 16)

# Between two octets of a peer that dribbles: the deadline is that of the whole line, whatever comes meanwhile.
DRIBBLE = 1.0


# -- idle connections --------------------------------------------------------------------------------------------------


def idle(name: str, count: int) -> dict[str, float]:
    """Open connections, leave them alone, and see what each costs and whether all of them still answer."""
    with Server(name, BUSY, PROGRAM) as server, contextlib.ExitStack() as stack:
        before, system_before = server.memory(), kernel()
        begin = time.perf_counter()
        with pinned(CORES[1:] or CORES):
            clients = [stack.enter_context(client) for client in open_idle(count, server)]
        opened = time.perf_counter() - begin
        each = (server.memory() - before) / count
        both_ends = (kernel() - system_before) / count
        begin = time.perf_counter()
        for client in clients:
            client.sendall(b"still\n")
        silent = sum(client.recv(6) != b"still\n" for client in clients)
        if silent:
            raise FailedError(f"{silent} of {count} connections do not answer any more")
        answered = time.perf_counter() - begin
    return {"KiB each": each, "kernel KiB": both_ends, "opened s": opened, "all answer s": answered}


def kernel() -> float:
    """Return the KiB that the system's kernel occupies for objects and for what waits in TCP sockets."""
    slab = re.search(r"^Slab: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    pages = re.search(r"^TCP: .* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    assert slab is not None
    assert pages is not None
    return int(slab[1]) + int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


# -- peers that dribble ------------------------------------------------------------------------------------------------


class Dribblers:
    """Peers that begin a line, and send an octet of it now and then, until they are cut off."""

    def __init__(self, count: int, server: Server) -> None:
        self.cut: list[float] = []
        """Seconds from its first octet, for each that was cut off."""
        self._thread = threading.Thread(target=self._dribble)
        self._begun: dict[socket.socket, float] = {}
        for _ in range(count):
            peer = socket.create_connection(server.address, PATIENCE)  # type: ignore[arg-type] # over TCP
            peer.send(b"x")
            self._begun[peer] = time.perf_counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _dribble(self) -> None:
        end = time.perf_counter() + 4 * PATIENCE
        with selectors.EpollSelector() as selector:
            for peer in self._begun:
                selector.register(peer, selectors.EVENT_READ)
            while self._begun and time.perf_counter() < end:
                turn = time.perf_counter() + DRIBBLE
                while self._begun and (left := turn - time.perf_counter()) > 0:
                    for key, _ in selector.select(left):
                        ended = key.fileobj
                        assert isinstance(ended, socket.socket)
                        selector.unregister(ended)
                        self.cut.append(time.perf_counter() - self._begun.pop(ended))
                        ended.close()
                for peer in self._begun:
                    with contextlib.suppress(OSError):  # cut, which the selector tells
                        peer.send(b"x")
        for peer in self._begun:
            peer.close()


def dribble(name: str, count: int, seconds: float) -> dict[str, float]:
    """Serve ordinary clients without, then beside peers that dribble, and wait until all of these were cut off."""
    with Server(name, BUSY, PROGRAM) as server:
        alone = load.run(BUSY, server, seconds)
        with pinned(CORES[1:] or CORES):
            peers = Dribblers(count, server)
        with peers:
            beside = load.run(BUSY, server, seconds)
        if len(peers.cut) < count:
            raise FailedError(f"only {len(peers.cut)} of {count} were cut off")
    rate = beside.operations / beside.seconds
    return {
        "rate ratio": rate * alone.seconds / alone.operations,
        "ops/s alone": alone.operations / alone.seconds,
        "ops/s beside": rate,
        "p99 ms beside": 1e3 * beside.p99 if beside.operations else math.nan,
        "first cut s": min(peers.cut),
        "median cut s": median(peers.cut),
        "last cut s": max(peers.cut),
    }


# -- an end under load -------------------------------------------------------------------------------------------------


class Clients:
    """Clients that ask until the server has gone, and what became of each request."""

    def __init__(self, server: Server, kept: int, brief: int) -> None:
        self.counts: Counter[str] = Counter()
        self._address = server.address
        self._guard = threading.Lock()
        works = [self._keep] * kept + [self._ask_once] * brief
        self._threads = [threading.Thread(target=work) for work in works]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have noticed."""
        for thread in self._threads:
            thread.join()

    def _count(self, outcome: str) -> None:
        with self._guard:
            self.counts[outcome] += 1

    def _keep(self) -> None:
        """Ask on one connection."""
        with self._connection() as client:
            while self._exchange(client, "crossed"):
                pass

    def _ask_once(self) -> None:
        """Ask on a new connection each time."""
        while True:
            try:
                with self._connection() as client:
                    if self._exchange(client, "unanswered"):
                        self._count("brief")
            except ConnectionRefusedError:
                return

    @contextlib.contextmanager
    def _connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(self._address, PATIENCE) as client:  # type: ignore[arg-type]
            yield client

    def _exchange(self, client: socket.socket, otherwise: str) -> bool:
        try:
            client.sendall(b"line\n")
            answered = client.recv(5) == b"line\n"
        except OSError:
            answered = False
        self._count("answered" if answered else otherwise)
        return answered


def end(name: str, kept: int, brief: int, seconds: float) -> dict[str, float]:
    """Send SIGTERM to a server that is being asked, and compare what it says with what its clients saw.

    Crossed: a request on a connection that stays, which the end of that crossed on the wire. Not accepted: a client
    was in the backlog when the listener closed. Lost: accepted, and not answered.
    """
    with Server(name, BUSY, PROGRAM) as server:
        with pinned(CORES[1:] or CORES):
            clients = Clients(server, kept, brief)
        time.sleep(seconds)
        begin = time.perf_counter()
        told = json.loads(server.terminate())
        took = time.perf_counter() - begin
        clients.join()
    if told["status"]:
        raise FailedError(f"ended with status {told['status']}")
    counts = clients.counts
    accepted = sum(told["reasons"].values())
    lost = accepted - kept - counts["brief"]
    return {
        "seconds": took,
        "completed": told["completed"],
        "forced": told["forced"],
        "abandoned": told["abandoned"],
        "answered": counts["answered"],
        "crossed": counts["crossed"],
        "not accepted": counts["unanswered"] - lost,
        "lost": lost,
    }


# -- all of it ---------------------------------------------------------------------------------------------------------


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections (default: 10000)")
    parser.add_argument("--slow", type=int, default=500, help="peers that dribble (default: 500)")
    parser.add_argument("--kept", type=int, default=32, help="clients that stay, at the end (default: 32)")
    parser.add_argument("--brief", type=int, default=32, help="and that come and go (default: 32)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    parser.add_argument("--seconds", type=float, default=4, help="of load each time (default: 4)")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    options = parser.parse_args()
    try:
        load.program()
        raise_limit(options.idle + 100)
    except (load.NoCompilerError, FailedError) as error:
        sys.exit(str(error))
    print(f"CPython {sys.version.split()[0]}, Linux {os.uname().release}, {len(CORES)} cores")
    tables = [
        Table(
            "idle", f"{options.idle} idle connections", ("KiB each", "kernel KiB", "opened s", "all answer s")
        ),
        Table(
            "slow",
            f"16 busy clients beside {options.slow} that send an octet every {DRIBBLE:g} s; a line has {READ_TIMEOUT:g} s",
            (
                "rate ratio",
                "ops/s alone",
                "ops/s beside",
                "p99 ms beside",
                "first cut s",
                "median cut s",
                "last cut s",
            ),
        ),
        Table(
            "end",
            f"SIGTERM among {options.kept} clients that stay and {options.brief} that come and go",
            ("seconds", "completed", "forced", "abandoned", "answered", "crossed", "not accepted", "lost"),
        ),
    ]
    for _ in range(options.rounds):
        for name in IDLE_SUBJECTS:
            tables[0].rows.setdefault(name, []).append(idle(name, options.idle))
        for name in SUBJECTS:
            tables[1].rows.setdefault(name, []).append(dribble(name, options.slow, options.seconds))
            tables[2].rows.setdefault(name, []).append(
                end(name, options.kept, options.brief, options.seconds / 4)
            )
    for table in tables:
        table.show(markdown=options.markdown)


if __name__ == "__main__":
    main()
