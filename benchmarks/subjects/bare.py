"""The floor: what Python itself costs, in loops as short as they get, with no promises."""

import contextlib
import select
import socket

from benchmarks.subjects.job import Job, set_no_delay


def serve(_name: str, job: Job) -> None:
    """Serve for ever."""
    with job.socket() as served:
        if job.kind == "line":
            answer_once(served)
        elif job.kind == "packet":
            send_back(served)
        elif job.kind == "sink":
            swallow(served)
        else:
            answer(served, no_delay=job.no_delay)


def answer_once(listener: socket.socket) -> None:
    """Send back one line on each connection; mostly it has come with the connection."""
    listener.setblocking(True)
    while True:
        client, _ = listener.accept()
        client.send(client.recv(8192))
        client.close()


def answer(listener: socket.socket, *, no_delay: bool) -> None:
    """Send back whole lines."""
    clients: dict[int, socket.socket] = {}
    rests: dict[int, bytes] = {}
    epoll = select.epoll()
    listening = listener.fileno()
    epoll.register(listening, select.EPOLLIN)
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor == listening:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        client, _ = listener.accept()
                        if no_delay:
                            set_no_delay(client)
                        clients[client.fileno()] = client
                        epoll.register(client, select.EPOLLIN)
                continue
            client = clients[descriptor]
            data = b""
            with contextlib.suppress(ConnectionError):
                data = client.recv(8192)
            if not data:
                del clients[descriptor]
                client.close()
                continue
            if rests:
                data = rests.pop(descriptor, b"") + data
            if data[-1] != 10:
                end = data.rfind(b"\n") + 1
                rests[descriptor] = data[end:]
                data = data[:end]
            client.send(data)


def send_back(served: socket.socket) -> None:
    """Send back datagrams."""
    served.setblocking(True)
    while True:
        data, address = served.recvfrom(8192)
        served.sendto(data, address)


def swallow(served: socket.socket) -> None:
    """Take datagrams."""
    served.setblocking(True)
    while True:
        served.recv(8192)
