"""``python -m benchmarks.resolver``: the DNS server beside its peers, CPU per query first.

Each round measures each subject once, one after the other, with dnsperf; a column is the median of the rounds. ``echo``
is the least that Python can do: recvfrom and sendto. The workloads:

``cached``     1000 names asked again and again: what a server answers by heart
``new``        names that nobody has asked for, of a zone: what an answer costs that has to be made
``forwarded``  the 1000 names, by way of a server in front of NSD, which has them
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks import usage
from benchmarks.report import Table

ROOT = Path(__file__).parents[1]
ZONE = "perf.example"
NAMES = 1000
QUESTION = b"\0\1\1\0\0\1\0\0\0\0\0\0\2h1\4perf\7example\0\0\1\0\1"

ECHO = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    data, address = sock.recvfrom(4096)
    sock.sendto(data[:2] + b"\\x85" + data[3:], address)
"""
DNSLIB = """
import sys
from dnslib.server import DNSServer
from dnslib.zoneresolver import ZoneResolver
resolver = ZoneResolver(open(sys.argv[2]).read())
DNSServer(resolver, address="127.0.0.1", port=int(sys.argv[1])).start()
"""
NSD = """
server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd{port}.pid"
  logfile: "{folder}/nsd{port}.log"
  xfrdfile: "{folder}/xfrd{port}.state"
  xfrdir: "{folder}"
  zonelistfile: "{folder}/zones{port}.list"
  database: ""
  rrl-ratelimit: 0
  minimal-responses: yes
remote-control:
  control-enable: no
zone:
  name: {zone}
  zonefile: zone
"""
UNBOUND = """
server:
  interface: 127.0.0.1
  port: {port}
  num-threads: 1
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  module-config: "iterator"
  log-servfail: no
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
"""

Start = Callable[[Path, int, int], list[str]]


@dataclass(frozen=True)
class Subject:
    """A server: by its folder, its port, and that of the NSD behind it, the command that starts it."""

    name: str
    workloads: tuple[str, ...]
    start: Start
    program: str = sys.executable


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resolver", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=list(TITLES), metavar="NAME", help=", ".join(TITLES)
    )
    parser.add_argument(
        "--subject", action="append", metavar="NAME", help="servers to measure; echo is always"
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement (default: 2)")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    options = parser.parse_args()
    if shutil.which("dnsperf") is None:
        sys.exit("dnsperf is not installed: apt-get install dnsperf")
    busy = os.getloadavg()[0]
    for workload in options.only or TITLES:
        with tempfile.TemporaryDirectory(prefix="dns-bench-") as folder:
            table = measure(workload, Path(folder), options.rounds, options.seconds, options.subject)
        table.show(markdown=options.markdown)
        for name in table.rows:
            for reference in ("echo", "nsd"):
                ratio = table.median(name, "CPU µs", reference)
                if ratio == ratio:  # noqa: PLR0124 -- not NaN
                    print(f"  {name}: {ratio:.2f} x {reference}")
    print(f"\nLoad average: {busy:.1f} before the run, {os.getloadavg()[0]:.1f} at its end")


def measure(workload: str, folder: Path, rounds: int, seconds: float, only: list[str] | None) -> Table:
    """Measure all subjects of a workload, alternating."""
    table = Table(workload, TITLES[workload], ("CPU µs", "1000/s", "p99 ms", "lost"))
    _write(folder)
    with contextlib.ExitStack() as stack:
        upstream = _port()
        if any("forwarded" in each.workloads for each in SUBJECTS) and workload == "forwarded":
            stack.enter_context(_running(_nsd(folder, upstream, 0), upstream))
        for subject in SUBJECTS:
            chosen = not only or subject.name in only or subject.name == "echo"
            if workload not in subject.workloads or not chosen:
                continue
            table.rows[subject.name] = []
            if _find(subject.program) is None:
                table.notes[subject.name] = f"{subject.program} is not installed"
                continue
            port = _port()
            process = stack.enter_context(_running(subject.start(folder, port, upstream), port))
            table.notes.setdefault("", "")
            table.rows[subject.name].append({"port": port, "pid": process.pid})
        running = {name: rows.pop() for name, rows in table.rows.items() if rows}
        table.notes.pop("", None)
        for number in range(rounds + 1):
            for name, where in running.items():
                # The first round only warms up: caches fill, and what is compiled late is.
                row = _load(
                    folder,
                    workload,
                    int(where["port"]),
                    int(where["pid"]),
                    seconds if number else 0.5,
                    number,
                )
                if number:
                    table.rows[name].append(row)
    return table


def _load(folder: Path, workload: str, port: int, pid: int, seconds: float, number: int) -> dict[str, float]:
    """Load a server as much as it takes, then half as much, and see then how long an answer takes."""
    names = folder / ("names" if workload != "new" else f"new{number % 2}")
    before = usage.cpu(pid)
    out = _dnsperf(port, names, seconds)
    spent = usage.cpu(pid) - before
    completed = float(_found(r"Queries completed:\s+(\d+)", out))
    rate = float(_found(r"Queries per second:\s+([\d.]+)", out))
    with ThreadPoolExecutor(1) as pool:
        half = pool.submit(_dnsperf, port, names, seconds / 2, "-Q", str(int(rate / 2) or 1))
        p99 = _p99(port, half)
    lost = float(_found(r"Queries lost:\s+(\d+)", out)) + float(
        _found(r"Queries lost:\s+(\d+)", half.result())
    )
    return {"CPU µs": 1e6 * spent / max(completed, 1), "1000/s": rate / 1000, "p99 ms": p99, "lost": lost}


def _dnsperf(port: int, names: Path, seconds: float, *more: str) -> str:
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(names), "-c", "8", "-q", "100"]
    limit = ["-l", str(max(round(seconds), 1)), *more]
    return subprocess.run([*command, *limit], capture_output=True, text=True, check=True).stdout


def _p99(port: int, load: Future[str]) -> float:
    """Ask one question after the other for as long as the load lasts; return the 99th percentile in milliseconds."""
    times = list[float]()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect(("127.0.0.1", port))
        while not load.done():
            begin = time.perf_counter()
            sock.send(QUESTION)
            try:
                sock.recv(4096)
            except TimeoutError:
                continue  # counted by dnsperf, which loses far more
            times.append(time.perf_counter() - begin)
            time.sleep(0.001)
    return 1000 * sorted(times)[int(len(times) * 0.99)] if times else float("nan")


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        sys.exit(f"dnsperf says nothing of {pattern}:\n{text}")
    return found[1]


def _write(folder: Path) -> None:
    """Write the zone and the questions."""
    hosts = "".join(f"h{number} A 192.0.2.{number % 256}\n" for number in range(NAMES))
    head = (
        f"$ORIGIN {ZONE}.\n$TTL 3600\n@ IN SOA ns1 h 1 3600 900 604800 600\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"
    )
    (folder / "zone").write_text(head + hosts.replace(" A ", " IN A "))
    (folder / "names").write_text("".join(f"h{number}.{ZONE} A\n" for number in range(NAMES)))
    rng = random.Random(1)
    for name in ("new0", "new1"):
        (folder / name).write_text("".join(f"x{rng.randrange(10**12)}.{ZONE} A\n" for _ in range(300_000)))


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends, which begins when it answers."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.1)
            for _ in range(100):
                with contextlib.suppress(OSError):
                    sock.sendto(QUESTION, ("127.0.0.1", port))
                    sock.recv(4096)
                    break
                time.sleep(0.05)
            else:
                sys.exit(f"it does not answer: {' '.join(command)}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port() -> int:
    """Return a port that is free, for connections as well: some want both."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream, contextlib.suppress(OSError):
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.0.1", port))
                return port


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def _nsd(folder: Path, port: int, _upstream: int) -> list[str]:
    config = folder / f"nsd{port}.conf"
    config.write_text(NSD.format(port=port, folder=folder, zone=ZONE))
    return [_find("nsd") or "nsd", "-d", "-c", str(config)]


def _unbound(folder: Path, port: int, upstream: int) -> list[str]:
    config = folder / f"unbound{port}.conf"
    config.write_text(UNBOUND.format(port=port, folder=folder, upstream=upstream))
    return [_find("unbound") or "unbound", "-d", "-c", str(config)]


def _dnsmasq(_folder: Path, port: int, upstream: int) -> list[str]:
    server = ["--no-resolv", "--no-hosts", "--cache-size=10000", f"--server=127.0.0.1#{upstream}"]
    where = ["--keep-in-foreground", "--conf-file=/dev/null", f"--port={port}", "--listen-address=127.0.0.1"]
    return [_find("dnsmasq") or "dnsmasq", *where, "--bind-interfaces", "--user=", "--pid-file=", *server]


def _zone(folder: Path, port: int, _upstream: int) -> list[str]:
    return [*_ours(port), "--zone", f"{ZONE}={folder / 'zone'}"]


def _forwarder(_folder: Path, port: int, upstream: int) -> list[str]:
    return [*_ours(port), "--forward", f"127.0.0.1:{upstream}"]


def _ours(port: int) -> list[str]:
    return [sys.executable, "-m", "servers.resolver", "--bind", f"udp://127.0.0.1:{port}"]


TITLES = {
    "cached": "the same 1000 names of a zone, again and again",
    "new": "names that are not in the zone, each once",
    "forwarded": "1000 names of another server, again and again",
}
SUBJECTS = [
    Subject(
        "echo", ("cached", "forwarded", "new"), lambda _, port, __: [sys.executable, "-c", ECHO, str(port)]
    ),
    Subject("resolver", ("cached", "new"), _zone),
    Subject("resolver (forwarding)", ("forwarded",), _forwarder),
    Subject("nsd", ("cached", "new"), _nsd, "nsd"),
    Subject("unbound", ("forwarded",), _unbound, "unbound"),
    Subject("dnsmasq", ("forwarded",), _dnsmasq, "dnsmasq"),
    Subject(
        "dnslib.server",
        ("cached",),
        lambda folder, port, _: [sys.executable, "-c", DNSLIB, str(port), str(folder / "zone")],
    ),
]

if __name__ == "__main__":
    main()
