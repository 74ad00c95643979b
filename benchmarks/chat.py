"""Fan-out of the chat server beside ngIRCd and miniircd: one channel, N clients, K of which talk.

Each of the senders is up to so many messages ahead of the slowest client. Whatever a client receives is checked: each
message once, and each sender's in their order. CPU is that of the server's process; the load runs in this one.

    python -m benchmarks.chat [--rounds 3] [--seconds 2] [--only 100,4,16] [--subject chat] [--stalled] [--join 2000]
"""

from __future__ import annotations

import argparse
import os
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import grid
from benchmarks.usage import cpu, memory

ROOT = Path(__file__).parents[1]
ROWS = [(10, 1, 1), (100, 1, 1), (500, 1, 1), (10, 4, 16), (100, 4, 16), (500, 4, 16)]
"""Clients, senders among them, and messages ahead."""
_SAID = re.compile(rb"PRIVMSG #bench :?(\d+) (\d+) ")
_OURS = """
import socket, sys
from framework import ServiceMixIn, TCPServer, ThreadingMixIn
from framework.greenlets import GreenletMixIn
from servers.chat.server import ChatMixIn
from servers.chat.settings import Settings
class Threads(ChatMixIn, ThreadingMixIn, TCPServer): pass
class Greenlets(ChatMixIn, GreenletMixIn, TCPServer): pass
kind, port = sys.argv[1:]
settings = Settings(
    port=int(port), flood_rate=0, max_clients=10000, max_clients_per_address=10000, show_addresses=True,
    registration_timeout=600,
)
{"threads": Threads, "greenlets": Greenlets}[kind](settings).serve_forever(None)
"""
_NGIRCD = """
[Global]
Name = bench.localhost
Info = bench
Listen = 127.0.0.1
Ports = {port}
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxNickLength = 16
PingTimeout = 600
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
"""


@contextmanager
def _running(subject: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a server, and yield its process and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "ngircd.conf")
        file.write_text(_NGIRCD.format(port=port))
        command = {
            "ngircd": [shutil.which("ngircd") or "/usr/sbin/ngircd", "-n", "-f", str(file)],
            "miniircd": [
                str(Path(sys.executable).with_name("miniircd")),
                "--listen",
                "127.0.0.1",
                "--ports",
                str(port),
                *(["--setuid", "root"] if os.getuid() == 0 else []),
            ],
        }.get(subject, [sys.executable, "-c", _OURS, subject, str(port)])
        # Both streams to nowhere: ngIRCd logs each line of debugging that nobody wants to pay for.
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _await(port, process)
                yield process, port
            finally:
                process.kill()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise RuntimeError(f"no server came up: {process.args!r}")


def _connect(port: int, nick: str, *, buffer: int | None = None) -> socket.socket:
    """Connect, register and join."""
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(f"NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\n".encode())
    seen = b""
    while b" 376 " not in seen and b" 422 " not in seen:
        data = client.recv(65536)
        if not data:
            raise RuntimeError(f"refused: {seen!r}")
        seen = seen[-100:] + data
        for token in re.findall(rb"^PING (\S+)", data, re.MULTILINE):
            client.sendall(b"PONG " + token + b"\r\n")
    client.sendall(b"JOIN #bench\r\n")
    while b" 366 " not in seen:
        data = client.recv(65536)
        if not data:
            raise RuntimeError(f"cut off: {seen!r}")
        seen = seen[-100:] + data
    return client


@dataclass
class Result:
    """One measurement: deliveries a second, CPU µs of each, milliseconds to them, and what was wrong."""

    rate: float
    cpu: float
    median: float
    p99: float
    wrong: int
    growth: float = 0.0
    cut: int = 0


class Load:
    """N clients in a channel, of which the first K talk."""

    def __init__(self, clients: list[socket.socket], senders: int, ahead: int, size: int) -> None:
        self.clients = {client.fileno(): client for client in clients}
        self.senders = [client.fileno() for client in clients[:senders]]
        self.ahead = ahead
        self.filler = b"x" * size
        self.rest = dict.fromkeys(self.clients, b"")
        self.next = {descriptor: [0] * senders for descriptor in self.clients}
        self.sent: list[list[float]] = [[] for _ in range(senders)]
        self.missing: list[list[int]] = [[] for _ in range(senders)]
        self.done = [0] * senders
        self.delivered = self.wrong = 0
        self.latencies: list[float] = []
        self.epoll = select.epoll()
        for client in clients:
            client.setblocking(False)
            self.epoll.register(client, select.EPOLLIN)

    def run(self, seconds: float) -> float:
        """Talk for so long, wait for the last delivery, and return how long all of it took."""
        start = time.perf_counter()
        end = start + seconds
        patience = end + 15
        while True:
            now = time.perf_counter()
            if now < end:
                self.talk()
            elif all(len(sent) == done for sent, done in zip(self.sent, self.done, strict=True)):
                return now - start
            elif now > patience:
                self.wrong += sum(map(sum, self.missing))
                return now - start
            for descriptor, _ in self.epoll.poll(1):
                self.hear(descriptor)

    def talk(self) -> None:
        """Let each sender say as much as it may."""
        for number, descriptor in enumerate(self.senders):
            sent = self.sent[number]
            room = self.ahead - (len(sent) - self.done[number])
            if room > 0:
                lines = []
                now = time.perf_counter()
                for _ in range(room):
                    lines.append(b"PRIVMSG #bench :%d %d %s\r\n" % (number, len(sent), self.filler))
                    sent.append(now)
                    self.missing[number].append(len(self.clients) - 1)
                self.clients[descriptor].send(b"".join(lines))

    def hear(self, descriptor: int) -> None:
        """Check what a client receives."""
        try:
            data = self.clients[descriptor].recv(262144)
        except OSError:
            data = b""
        if not data:
            raise RuntimeError("a client that reads was cut off")
        if b"PING" in data:
            self.clients[descriptor].send(b"PONG :x\r\n")
        whole, end, rest = (self.rest[descriptor] + data).rpartition(b"\n")
        self.rest[descriptor] = rest
        wanted, missing = self.next[descriptor], self.missing
        found = _SAID.findall(whole + end)
        for sender, count in found:
            number, turn = int(sender), int(count)
            if wanted[number] != turn:
                self.wrong += 1
            wanted[number] = turn + 1
            left = missing[number]
            left[turn] -= 1
            if not left[turn] and turn == self.done[number]:
                done = turn + 1
                while done < len(left) and not left[done]:
                    done += 1
                self.done[number] = done
        if found:
            number, turn = map(int, found[0])
            self.latencies.append(time.perf_counter() - self.sent[number][turn])
        self.delivered += len(found)


def measure(subject: str, row: tuple[int, int, int], seconds: float, size: int, stalled: int) -> Result:
    """Run one row against one server, with texts of ``size`` octets, and so many clients more that never read."""
    count, senders, ahead = row
    with _running(subject) as (process, port):
        clients = [_connect(port, f"n{number}") for number in range(count)]
        dead = [_connect(port, f"dead{number}", buffer=4096) for number in range(stalled)]
        load = Load(clients, senders, ahead, size)
        # With clients that never read, their end is what is to be measured.
        if not stalled:
            load.run(0.3)
        load.delivered, load.latencies = 0, []
        before, held = cpu(process.pid), memory(process.pid)
        took = load.run(seconds)
        used = cpu(process.pid) - before
        growth = memory(process.pid) - held
        cut = sum(_was_cut(client) for client in dead)
        for client in [*clients, *dead]:
            client.close()
    latencies = sorted(load.latencies)
    return Result(
        load.delivered / took,
        used / max(1, load.delivered) * 1e6,
        latencies[len(latencies) // 2] * 1e3,
        latencies[len(latencies) * 99 // 100] * 1e3,
        load.wrong,
        growth,
        cut,
    )


def _was_cut(client: socket.socket) -> bool:
    client.settimeout(2)
    try:
        while client.recv(1 << 20):
            pass
    except ConnectionResetError:
        return True
    except OSError:
        return False
    return True


def _join(subject: str, count: int) -> list[str]:
    with _running(subject) as (process, port):
        before, start, held = cpu(process.pid), time.perf_counter(), memory(process.pid)
        clients: dict[int, socket.socket] = {}
        poll = select.epoll()
        for number in range(count):
            client = _connect(port, f"n{number}")
            client.setblocking(False)
            poll.register(client, select.EPOLLIN)
            clients[client.fileno()] = client
            if number % 20 == 19:
                for descriptor, _ in poll.poll(0, count):
                    with suppress(BlockingIOError):
                        clients[descriptor].recv(1 << 20)
        took = time.perf_counter() - start
        row = [
            subject,
            str(count),
            f"{took:.2f}",
            f"{cpu(process.pid) - before:.2f}",
            f"{(memory(process.pid) - held) / count:.1f}",
        ]
        for client in clients.values():
            client.close()
    return row


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chat", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", action="append")
    parser.add_argument("--subject", action="append")
    parser.add_argument(
        "--stalled",
        action="store_true",
        help="texts of 400 octets, without and with five more clients that never read",
    )
    parser.add_argument("--join", type=int, default=0, metavar="N", help="only let so many join one channel")
    options = parser.parse_args()
    subjects = options.subject or ["threads", "greenlets", "ngircd", "miniircd"]
    print(f"CPython {sys.version.split()[0]}, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}")
    if options.join:
        # miniircd has select(2), which knows 1024 descriptors.
        rows = [
            _join(subject, options.join) for subject in subjects if options.subject or subject != "miniircd"
        ]
        print(
            grid(
                ("server", "clients", "seconds", "CPU s", "KiB each"),
                [tuple(row) for row in rows],
                markdown=False,
            )
        )
        return
    wanted = [tuple(map(int, each.split(","))) for each in options.only or []] or ROWS
    size, variants = (400, [0, 5]) if options.stalled else (20, [0])
    table = []
    for clients, senders, ahead in wanted:
        runs: dict[tuple[str, int], list[Result]] = {
            (subject, stalled): [] for subject in subjects for stalled in variants
        }
        for _ in range(options.rounds):
            for (subject, stalled), results in runs.items():
                results.append(measure(subject, (clients, senders, ahead), options.seconds, size, stalled))
        for (subject, stalled), results in runs.items():
            middle = [
                statistics.median(getattr(result, name) for result in results)
                for name in ("rate", "cpu", "median", "p99")
            ]
            row = [
                f"{clients},{senders},{ahead}",
                f"{subject} +{stalled}" if options.stalled else subject,
                f"{middle[0] / 1000:.0f}",
                *(f"{value:.2f}" for value in middle[1:]),
                str(sum(result.wrong for result in results)),
            ]
            if options.stalled:
                row += [f"{results[-1].cut} of {stalled}", f"{results[-1].growth:.0f}"]
            table.append(row)
    heads = ["N,K,w", "server", "k/s", "CPU µs", "p50 ms", "p99 ms", "wrong"]
    print(
        grid(
            (*heads, *(("cut", "growth KiB") if options.stalled else ())),
            [tuple(row) for row in table],
            markdown=False,
        )
    )


if __name__ == "__main__":
    main()
