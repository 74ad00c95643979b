"""What an operation costs a server: CPU time of its process, and operations per second of wall time."""

import json
import os
import subprocess
import sys
import tempfile
import time

from benchmarks.load import TASKS
from benchmarks.peers import LETTER
from benchmarks.report import Table

# Not the first ones: imports, caches and the allocator settle.
WARM_UP = 0.1


def measure(name: str, rounds: int) -> Table:
    """Measure the peers by turns, each round in another order."""
    task = TASKS[name]
    table = Table(f"{name}: {task.title}", ("CPU µs/operation", "operations/s"))
    cores = sorted(os.sched_getaffinity(0))
    try:
        # The servers have the first core to themselves, and this process another.
        os.sched_setaffinity(0, cores[1:] or cores)
        for number in range(rounds):
            results = {peer: once(peer, name, cores[0]) for peer in LETTER[:: -1 if number % 2 else 1]}
            for peer in LETTER:
                table.add(peer, *results[peer])
    finally:
        os.sched_setaffinity(0, cores)
    return table


def once(peer: str, name: str, core: int) -> tuple[float, float]:
    """Start a server, keep it busy, and return both columns."""
    task = TASKS[name]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers", peer, name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        try:
            os.sched_setaffinity(server.pid, {core})
            assert server.stdin is not None
            assert server.stdout is not None
            found = json.loads(server.stdout.readline())
            address = found if isinstance(found, str) else (found[0], found[1])
            task.run(address, int(WARM_UP * task.operations))
            server.stdin.write("\n")
            cpu, begin = float(server.stdout.readline()), time.perf_counter()
            task.run(address, task.operations)
            seconds = time.perf_counter() - begin
            server.stdin.write("\n")
            cpu = float(server.stdout.readline()) - cpu
        finally:
            server.kill()
            server.communicate()
    return 1e6 * cpu / task.operations, task.operations / seconds
