"""The key-value store beside redis-server: ``python -m benchmarks.keyvalue``. Needs redis-server and redis-benchmark.

Every subject is measured in every round, one after the other, and compared with redis-server in that same round: on a
shared machine only the ratios mean something. Beside the rate stands what the server's process has used of a processor.
"""

import argparse
import csv
import io
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.usage import cpu
from framework.testing import eventually

_PLAIN = "import sys; sys.modules['hiredis'] = None"
_THREADS = "from servers.keyvalue import server; server.KeyValueServer = server.ThreadingKeyValueServer"
_RUN = (
    "import runpy, sys; sys.argv[0] = 'keyvalue'; runpy.run_module('servers.keyvalue', run_name='__main__')"
)


@dataclass(frozen=True)
class Subject:
    """A server that is measured."""

    name: str
    command: Sequence[str]
    """With SOCKET and FOLDER where these belong."""


def _ours(*setup: str, store: str = "memory:") -> list[str]:
    code = "; ".join([*setup, _RUN])
    return [sys.executable, "-c", code, "--bind", "unix://SOCKET", "--store", store]


def _redis(*options: str) -> list[str]:
    return [
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        "SOCKET",
        "--dir",
        "FOLDER",
        "--save",
        "",
        *options,
    ]


MEMORY = (
    Subject("redis-server", _redis()),
    Subject("greenlets", _ours(_PLAIN)),
    Subject("greenlets, hiredis", _ours()),
    Subject("threads", _ours(_PLAIN, _THREADS)),
)
DURABLE = (
    Subject("redis-server, appendfsync always", _redis("--appendonly", "yes", "--appendfsync", "always")),
    Subject("greenlets, fsync=always", _ours(_PLAIN, store="log:FOLDER")),
    Subject("greenlets, hiredis, fsync=always", _ours(store="log:FOLDER")),
)
# Clients, requests in a pipeline, how many requests.
LOADS = ((50, 1, 60_000), (50, 16, 300_000))


@contextmanager
def serving(subject: Subject) -> Iterator[tuple[Path, int]]:
    """Run a subject; yield its socket and its process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kv-")))
        socket = folder / "s"
        command = [
            word.replace("SOCKET", str(socket)).replace("FOLDER", str(folder)) for word in subject.command
        ]
        process = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        stack.callback(process.terminate)
        eventually(socket.exists)
        yield socket, process.pid


def measure(
    subject: Subject, command: str, clients: int, depth: int, requests: int
) -> tuple[float, float, float]:
    """Return requests per second, microseconds of processor per request, and the worst reply in milliseconds."""
    with serving(subject) as (socket, process):
        arguments = [
            "-s",
            str(socket),
            "-t",
            command,
            "-c",
            str(clients),
            "-P",
            str(depth),
            "-d",
            "16",
            "-r",
            "10000",
        ]
        load = ["redis-benchmark", *arguments, "--csv"]
        subprocess.run([*load, "-n", str(requests // 10)], capture_output=True, check=True, timeout=60)
        before = cpu(process)
        done = subprocess.run(
            [*load, "-n", str(requests)], capture_output=True, text=True, check=True, timeout=120
        )
        (row,) = csv.DictReader(io.StringIO(done.stdout))
        return float(row["rps"]), (cpu(process) - before) / requests * 1e6, float(row["max_latency_ms"])


def compare(subjects: Sequence[Subject], commands: Sequence[str], rounds: int) -> None:
    """Measure the subjects in turn, and print the medians."""
    for command in commands:
        for clients, depth, requests in LOADS:
            print(f"\n{command.upper()}, {clients} clients, pipeline of {depth}")
            found: dict[str, list[tuple[float, float, float]]] = {each.name: [] for each in subjects}
            for _ in range(rounds):
                for each in subjects:
                    found[each.name].append(measure(each, command, clients, depth, requests))
            control = found[subjects[0].name]
            for name, rows in found.items():
                ratio = statistics.median(row[0] / other[0] for row, other in zip(rows, control, strict=True))
                rate, cpu, worst = (statistics.median(column) for column in zip(*rows, strict=True))
                print(f"  {name:34} {ratio:5.2f} x  {rate:9.0f}/s  {cpu:6.2f} us CPU  worst {worst:6.1f} ms")


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keyvalue", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each subject (default: 5)")
    rounds = parser.parse_args().rounds
    compare(MEMORY, ("set", "get"), rounds)
    compare(DURABLE, ("set",), rounds)


if __name__ == "__main__":
    main()
