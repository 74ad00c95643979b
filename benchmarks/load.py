"""Compiles ``load.c``, and others, and runs it."""

import hashlib
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.server import CORES, PATIENCE, ROOT, FailedError, Server, pinned, read_line
from benchmarks.workloads import Workload

SOURCE = Path(__file__).with_name("load.c")
# Not the first operations: imports, caches and the allocator settle.
WARM_UP = 0.2


class NoCompilerError(Exception):
    """There is nothing to compile ``load.c`` with."""


@dataclass(frozen=True)
class Result:
    """What the clients saw, and what it cost.

    Args:
        operations: that were answered.
        seconds: that they took.
        cpu: CPU seconds of the server.
        load: CPU seconds of the clients.
        failures: operations that were not answered.
        median: seconds to an answer.
        p99: the same, for the 99th percentile.
        p999: the same, for that of 99.9.
    """

    operations: int
    seconds: float
    cpu: float
    load: float
    failures: int
    median: float
    p99: float
    p999: float


@cache
def program(source: Path = SOURCE) -> Path:
    """Return the compiled program; compiles it when its source has changed.

    Raises:
        NoCompilerError: there is no C compiler.
    """
    target = ROOT / f".cache/benchmarks/{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if target.exists():
        return target
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        raise NoCompilerError(
            f"the load is written in C, and there is no {compiler[0]}: apt-get install gcc libc6-dev"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}")
    subprocess.run([*compiler, "-O2", "-o", unfinished, source], check=True)
    unfinished.rename(target)
    return target


def run(workload: Workload, server: Server, seconds: float) -> Result:
    """Keep a server busy.

    Raises:
        FailedError: it does not answer, or closes a connection that it should keep.
    """
    address = server.address if isinstance(server.address, str) else str(server.address[1])
    numbers = (workload.connections, workload.depth, workload.every, min(WARM_UP, seconds), seconds)
    with (
        pinned(CORES[1:] or CORES),
        subprocess.Popen(
            [program(), workload.clients, address, *map(str, numbers)],
            bufsize=0,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as clients,
    ):
        try:
            read_line(clients)
            before = server.cpu()
            operations, time, used, failures, *latencies = read_line(clients, seconds + PATIENCE).split()
            cpu = server.cpu() - before
        except FailedError as error:
            clients.kill()
            assert clients.stderr is not None
            reason = clients.stderr.read().decode().strip().partition(": ")[2] or str(error)
            raise FailedError(f"{reason}; the server: {server.complaint()}") from None
    median, p99, p999 = map(float, latencies)
    return Result(int(operations), float(time), cpu, float(used), int(failures), median, p99, p999)
