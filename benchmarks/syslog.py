"""The log sink under a flood, beside rsyslogd in the same run: ``python -m benchmarks.syslog``.

Four senders log as fast as they can, by blocking sends, to one sink at a time; each sink writes lines to a file. Ours
parses all of RFC 3164 and 5424 and takes the sender's credentials, as rsyslogd does. What was sent is counted against the
lines in the file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import load, usage
from benchmarks.report import Table
from benchmarks.server import CORES, PATIENCE, ROOT, FailedError, pinned

FLOOD = Path(__file__).with_name("flood.c")
SENDERS = 4

Command = Callable[[Path], list[str]]


def ours(*more: str) -> Command:
    """Return what starts our sink with more settings."""

    def command(folder: Path) -> list[str]:
        bind = ["--bind", f"unixgram:{folder}/log.sock"]
        return [sys.executable, "-m", "servers.syslog", *bind, "--text", str(folder / "log"), *more]

    return command


def json(folder: Path) -> list[str]:
    """Return what starts our sink with a second file."""
    return ours("--json", str(folder / "json"))(folder)


def rsyslogd(folder: Path) -> list[str]:
    """Return what starts rsyslogd."""
    (folder / "conf").write_text(f"""
        global(workDirectory="{folder}")
        module(load="imuxsock" SysSock.Use="off")
        ruleset(name="all") {{ action(type="omfile" file="{folder}/log" template="RSYSLOG_FileFormat") }}
        input(type="imuxsock" Socket="{folder}/log.sock" ruleset="all" RateLimit.Interval="0")
    """)
    return ["rsyslogd", "-n", "-f", str(folder / "conf"), "-i", str(folder / "pid")]


SUBJECTS: dict[str, Command] = {
    "rsyslogd": rsyslogd,
    "ours": ours(),
    "ours, --format bsd": ours("--format", "bsd"),
    "ours, and --json": json,
    "ours, --durability peek": ours("--durability", "peek"),
}


@contextlib.contextmanager
def running(command: Command) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a sink, and end it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with pinned(CORES[:1]):
            sink = subprocess.Popen(
                command(folder), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        try:
            deadline = time.monotonic() + PATIENCE
            while not (folder / "log.sock").exists():
                if time.monotonic() > deadline or sink.poll() is not None:
                    raise FailedError("the sink does not start")
                time.sleep(0.01)
            yield sink, folder
        finally:
            sink.terminate()
            sink.wait()


def measure(command: Command, seconds: float) -> dict[str, float]:
    """Flood a sink once."""
    with running(command) as (sink, folder):
        where, log = str(folder / "log.sock"), folder / "log"
        flood = [str(load.program(FLOOD)), where, str(SENDERS)]
        with pinned(CORES[1:] or CORES):
            warm = int(subprocess.run([*flood, "0.2"], check=True, capture_output=True).stdout.split()[0])
            before = usage.cpu(sink.pid)
            out = subprocess.run([*flood, str(seconds)], check=True, capture_output=True).stdout
        sent, took = int(out.split()[0]), float(out.split()[1])
        deadline = time.monotonic() + PATIENCE
        while (lines := _lines(log)) < sent + warm and time.monotonic() < deadline:
            time.sleep(0.05)
        cpu = usage.cpu(sink.pid) - before
    return {"us CPU/message": cpu / sent * 1e6, "messages/s": sent / took, "lost": float(sent + warm - lines)}


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.syslog", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each sink (default: 5)")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement (default: 2)")
    parser.add_argument(
        "--subject", action="append", choices=SUBJECTS, help="this one only; may be given again"
    )
    parser.add_argument("--markdown", action="store_true", help="print a table in Markdown")
    options = parser.parse_args()
    if shutil.which("rsyslogd") is None:
        sys.exit("there is no rsyslogd to measure beside: apt-get install rsyslog")
    table = Table(
        "flood", f"{SENDERS} senders, each sink on one core", ("us CPU/message", "messages/s", "lost")
    )
    chosen = options.subject or list(SUBJECTS)
    for _ in range(options.rounds):
        for name in chosen:
            table.rows.setdefault(name, []).append(measure(SUBJECTS[name], options.seconds))
    table.show(markdown=options.markdown)
    for name in chosen:
        if "rsyslogd" in chosen and name != "rsyslogd":
            cpu = table.median(name, "us CPU/message", "rsyslogd")
            rate = table.median(name, "messages/s", "rsyslogd")
            print(f"{name}: {cpu:.2f} x rsyslogd's CPU per message, {rate:.2f} x its messages per second")
    print(f"Load average: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
