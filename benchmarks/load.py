"""The clients: each keeps a server busy with a number of operations, a few of them under way at once."""

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import Address

LINE = b"x" * 63 + b"\n"

# Not more than the original's backlog of 5 takes: a connection that does not fit is tried again a second later.
CONNECTIONS = 4
KEPT = 16
DATAGRAMS = 16


def family(address: Address) -> socket.AddressFamily:
    """Tell the family of an address."""
    return socket.AF_UNIX if isinstance(address, str) else socket.AF_INET


def connect(address: Address, *, count: int) -> list[socket.socket]:
    """Open connections."""
    clients = [socket.socket(family(address), socket.SOCK_STREAM) for _ in range(count)]
    for client in clients:
        client.connect(address)
    return clients


def connections(address: Address, operations: int) -> None:
    """Connect, send a line, receive it, and read on to the end, for each operation."""
    for _ in range(operations // CONNECTIONS):
        clients = connect(address, count=CONNECTIONS)
        for client in clients:
            client.sendall(LINE)
        for client in clients:
            answer = b""
            while part := client.recv(4096):
                answer += part
            assert answer == LINE
            client.close()


def kept(address: Address, operations: int) -> None:
    """Exchange lines on connections that stay open."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(KEPT):
            (client,) = connect(address, count=1)
            clients.append(stack.enter_context(client))
            # Answered, hence accepted: the next one finds room in the backlog, and nobody waits a second for a retry.
            client.sendall(LINE)
            assert client.recv(4096) == LINE
        for _ in range(operations // KEPT):
            for client in clients:
                client.sendall(LINE)
            for client in clients:
                assert client.recv(4096) == LINE


def datagrams(address: Address, operations: int) -> None:
    """Send datagrams and receive them back."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.connect(address)
        for _ in range(operations // DATAGRAMS):
            for _ in range(DATAGRAMS):
                client.send(LINE)
            for _ in range(DATAGRAMS):
                assert client.recv(4096) == LINE


def one_way(address: Address, operations: int) -> None:
    """Send datagrams as fast as they are taken, and wait until all are."""
    assert isinstance(address, str)
    path = Path(address).with_name("client")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.bind(str(path))
        client.connect(address)
        for _ in range(operations):
            client.send(LINE)
        client.send(b"all?\n")
        assert client.recv(100) == b"all?\n"
    path.unlink()


@dataclass(frozen=True)
class Task:
    """What a server is kept busy with."""

    title: str
    run: Callable[[Address, int], None]
    operations: int


TASKS = {
    "tcp-threads": Task("a TCP connection per request, threads", connections, 3000),
    "unix-inline": Task("a Unix connection per request, inline", connections, 5000),
    "kept-threads": Task(f"requests on {KEPT} kept TCP connections, threads", kept, 16_000),
    "udp-inline": Task("UDP datagrams sent back, inline", datagrams, 16_000),
    "unix-datagrams": Task("Unix datagrams one way, inline", one_way, 20_000),
    "tcp-forks": Task("a TCP connection per request, processes", connections, 400),
}
