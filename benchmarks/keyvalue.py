"""The key-value store beside redis-server: ``python -m benchmarks.keyvalue``. Needs redis-server and redis-benchmark.

Every subject is measured in every round, one after the other, and compared with redis-server in that same round: on a
shared machine only the ratios mean something. Beside the rate stands what the server's process has used of a processor.

========  ============================================================================================================
speed     SET and GET, one at a time and in pipelines of 16, on a Unix socket; SET with each commit on disk
scale     the same over TCP, one at a time, beside fakeredis
commands  the full default run of redis-benchmark, of both servers
million   a million keys: what they take, how long a start takes, and how long a client waits during a snapshot
========  ============================================================================================================
"""

import argparse
import csv
import io
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.usage import cpu, memory
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
    """With SOCKET or PORT, and FOLDER, where these belong."""
    share: int = 1
    """It gets the requests divided by this: who is slow need not be waited for."""


def _ours(*setup: str, store: str = "memory:", bind: str = "unix://SOCKET") -> list[str]:
    code = "; ".join([*setup, _RUN])
    return [sys.executable, "-c", code, "--bind", bind, "--store", store]


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
_FAKE = (
    "import fakeredis; fakeredis.TcpFakeServer(('127.0.0.1', PORT), server_version=(7, 0)).serve_forever()"
)
OVER_TCP = (
    Subject("redis-server", ["redis-server", "--port", "PORT", "--save", "", "--dir", "FOLDER"]),
    Subject("greenlets", _ours(_PLAIN, bind="tcp://127.0.0.1:PORT")),
    Subject("threads", _ours(_PLAIN, _THREADS, bind="tcp://127.0.0.1:PORT")),
    Subject("fakeredis.TcpFakeServer", [sys.executable, "-c", _FAKE], share=10),
)
KEPT = (
    Subject("redis-server", _redis("--appendonly", "yes", "--appendfsync", "no")),
    Subject("greenlets", _ours(store="log:FOLDER/data?fsync=no")),
)


@dataclass(frozen=True)
class Load:
    """What redis-benchmark does."""

    clients: int
    depth: int
    """Requests in a pipeline."""
    requests: int


LOADS = (Load(50, 1, 60_000), Load(50, 16, 300_000))


@contextmanager
def serving(subject: Subject, folder: Path) -> Iterator[tuple[list[str], int]]:
    """Run a subject; yield where it is, as redis-benchmark is told, and its process."""
    path = folder / "s"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = {"SOCKET": str(path), "PORT": str(port), "FOLDER": str(folder)}
    command = list(subject.command)
    for name, place in places.items():
        command = [word.replace(name, place) for word in command]
    where = ["-s", str(path)] if any("SOCKET" in word for word in subject.command) else ["-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _ask(where, "PING") == "PONG", 60)
            yield where, process.pid
        finally:
            process.terminate()


def _ask(where: Sequence[str], *words: str) -> str:
    command = ["redis-cli", *where, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def measure(subject: Subject, command: str, load: Load) -> tuple[float, float, float]:
    """Return requests per second, microseconds of processor per request, and the worst reply in milliseconds."""
    requests = load.requests // subject.share
    with (
        tempfile.TemporaryDirectory(prefix="kv-") as folder,
        serving(subject, Path(folder)) as (where, process),
    ):
        shape = ["-t", command, "-c", str(load.clients), "-P", str(load.depth), "-d", "16", "-r", "10000"]
        run([*where, *shape], requests // 10)
        before = cpu(process)
        (row,) = run([*where, *shape], requests)
        return float(row["rps"]), (cpu(process) - before) / requests * 1e6, float(row["max_latency_ms"])


def run(options: Sequence[str], requests: int) -> list[dict[str, str]]:
    """Run redis-benchmark; return its table."""
    command = ["redis-benchmark", *options, "-n", str(requests), "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return list(csv.DictReader(io.StringIO(done.stdout)))


def compare(subjects: Sequence[Subject], command: str, load: Load, rounds: int) -> None:
    """Measure the subjects in turn, and print the medians."""
    print(f"\n{command.upper()}, {load.clients} clients, pipeline of {load.depth}")
    found: dict[str, list[tuple[float, float, float]]] = {each.name: [] for each in subjects}
    for _ in range(rounds):
        for each in subjects:
            found[each.name].append(measure(each, command, load))
    control = found[subjects[0].name]
    for name, rows in found.items():
        ratio = statistics.median(row[0] / other[0] for row, other in zip(rows, control, strict=True))
        rate, cpu, worst = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"  {name:34} {ratio:5.2f} x  {rate:9.0f}/s  {cpu:6.2f} us CPU  worst {worst:6.1f} ms")


def speed(rounds: int) -> None:
    """Compare SET and GET on a Unix socket."""
    for command in ("set", "get"):
        for load in LOADS:
            compare(MEMORY, command, load, rounds)
    for load in LOADS:
        compare(DURABLE, "set", load, rounds)


def scale(rounds: int) -> None:
    """Compare SET over TCP."""
    compare(OVER_TCP, "set", Load(50, 1, 30_000), rounds)


def commands(rounds: int) -> None:
    """Compare the full default run, test by test."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for each in MEMORY[:2]:
            with (
                tempfile.TemporaryDirectory(prefix="kv-") as folder,
                serving(each, Path(folder)) as (where, _),
            ):
                for row in run(where, 20_000):
                    found.setdefault(row["test"], {}).setdefault(each.name, []).append(float(row["rps"]))
    print(f"\n{'requests per second':40} {MEMORY[0].name:>14} {MEMORY[1].name:>14}")
    for test, rates in found.items():
        theirs, ours = (statistics.median(rates[each.name]) for each in MEMORY[:2])
        print(f"{test:40} {theirs:14.0f} {ours:14.0f} {ours / theirs:6.2f} x")


def million(rounds: int) -> None:
    """Compare what a million keys cost."""
    print()
    for each in KEPT:
        rows = [_million(each) for _ in range(rounds)]
        octets, start, usual, worst = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{each.name:34} {octets:5.0f} octets per key, start {start:5.2f} s, "
            f"during a snapshot 99.9 % of GET in {usual:5.2f} ms, worst {worst:6.1f} ms"
        )


def _million(subject: Subject) -> tuple[float, float, float, float]:
    with tempfile.TemporaryDirectory(prefix="kv-") as name:
        folder = Path(name)
        with serving(subject, folder) as (where, process), redis.Redis(unix_socket_path=where[1]) as client:
            empty = memory(process)
            for start in range(0, 1_000_000, 10_000):
                client.mset(
                    {f"key:{number:012}": f"value:{number:010}" for number in range(start, start + 10_000)}
                )
            octets = (memory(process) - empty) * 1024 / 1e6
            client.bgrewriteaof()
            waits: list[float] = []
            while not waits or client.info("persistence")["aof_rewrite_in_progress"]:
                for _ in range(1000):
                    begin = time.perf_counter()
                    client.get("key:000000000001")
                    waits.append((time.perf_counter() - begin) * 1e3)
        begin = time.monotonic()
        with serving(subject, folder) as (where, _), redis.Redis(unix_socket_path=where[1]) as client:
            while client.info("persistence")["loading"]:
                time.sleep(0.01)
            started = time.monotonic() - begin
            assert client.dbsize() == 1_000_000
        waits.sort()
        return octets, started, waits[len(waits) * 999 // 1000], waits[-1]


def main() -> None:
    """Do as the command line says."""
    parts = {part.__name__: part for part in (speed, scale, commands, million)}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keyvalue", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each subject (default: 5)")
    parser.add_argument("--only", action="append", choices=parts, help="one of the parts above")
    options = parser.parse_args()
    for name in options.only or parts:
        parts[name](options.rounds)


if __name__ == "__main__":
    main()
