"""What an operation costs a server, and how soon it is answered."""

from __future__ import annotations

import contextlib
import resource
import socket

from benchmarks import load
from benchmarks.report import Table
from benchmarks.server import PATIENCE, FailedError, Server
from benchmarks.subjects import SUBJECTS
from benchmarks.workloads import WORKLOADS, Workload

COLUMNS = ("CPU µs", "ops/s", "server %", "load %", "p50 ms", "p99 ms", "p99.9 ms")
IDLE_COLUMNS = (*COLUMNS, "CPU ratio", "rate ratio", "KiB each")


def measure(
    name: str, rounds: int, seconds: float, only: list[str] | None = None, workload: Workload | None = None
) -> Table:
    """Measure the subjects by turns, each round in another order.

    Args:
        name: of the workload.
        rounds: how often each subject is measured.
        seconds: for how long each time.
        only: the subjects; by default all that can do it.
        workload: instead of the one of that name.
    """
    workload = workload or WORKLOADS[name]
    table = Table(name, workload.title, IDLE_COLUMNS if workload.idle else COLUMNS)
    chosen = []
    for subject in SUBJECTS:
        if subject.can(workload.kind, workload.kept) and (not only or subject.name in only):
            table.rows[subject.name] = []
            if reason := subject.missing():
                table.notes[subject.name] = reason
            else:
                chosen.append(subject.name)
    for number in range(rounds):
        turn = number % max(len(chosen), 1)
        for subject_name in (chosen[turn:] + chosen[:turn])[:: -1 if number % 2 else 1]:
            try:
                values, failures = once(subject_name, workload, seconds)
            except (FailedError, OSError) as error:
                table.notes[subject_name] = f"round {number + 1} failed: {error}"
                continue
            table.rows[subject_name].append(values)
            if failures:
                table.notes[subject_name] = f"{failures} operations failed in round {number + 1}"
    return table


def once(name: str, workload: Workload, seconds: float) -> tuple[dict[str, float], int]:
    """Start a server, keep it busy, and return the columns and how many operations failed."""
    with Server(name, workload) as server, contextlib.ExitStack() as stack:
        extra: dict[str, float] = {}
        alone = None
        if workload.idle:
            alone = load.run(workload, server, seconds)
            before = server.memory()
            for client in open_idle(workload.idle, server):
                stack.enter_context(client)
            extra["KiB each"] = (server.memory() - before) / workload.idle
        result = load.run(workload, server, seconds)
    if not result.operations or (alone is not None and not alone.operations):
        raise FailedError("no operation was answered")
    values = {
        "CPU µs": 1e6 * result.cpu / result.operations,
        "ops/s": result.operations / result.seconds,
        "server %": 100 * result.cpu / result.seconds,
        "load %": 100 * result.load / result.seconds,
    }
    if workload.clients != "flood":
        values |= {
            "p50 ms": 1e3 * result.median,
            "p99 ms": 1e3 * result.p99,
            "p99.9 ms": 1e3 * result.p999,
        }
    if alone is not None:
        extra["CPU ratio"] = values["CPU µs"] * alone.operations / alone.cpu / 1e6
        extra["rate ratio"] = values["ops/s"] * alone.seconds / alone.operations
    return values | extra, result.failures


def open_idle(count: int, server: Server) -> list[socket.socket]:
    """Open connections, exchange a line on each, and leave them alone.

    Raises:
        FailedError: so many descriptors are not to be had.
    """
    raise_limit(count + 100)
    clients = []
    for _ in range(count):
        client = socket.socket()
        clients.append(client)
        client.settimeout(PATIENCE)
        client.connect(server.address)
        client.sendall(b"x\n")
        if client.recv(2) != b"x\n":
            raise FailedError("a wrong answer to the first line")
    return clients


def raise_limit(count: int) -> None:
    """Make sure that this process, and those that it starts, can have as many descriptors.

    Raises:
        FailedError: the limit is lower, and not ours to raise.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
        except ValueError:
            raise FailedError(f"needs {count} open files, and `ulimit -Hn` is {hard}") from None
