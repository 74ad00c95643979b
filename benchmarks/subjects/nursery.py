"""trio's streams and sockets."""

import contextlib
import importlib
from typing import Any

from benchmarks.subjects.job import Job


async def lines(stream: Any) -> None:
    """Send lines back, those of one read in one write."""
    rest = b""
    async for data in stream:
        *whole, rest = (rest + data).split(b"\n")
        await stream.send_all(b"".join([line + b"\n" for line in whole]))


async def line(stream: Any) -> None:
    """Send the first line back and close."""
    data = b""
    while b"\n" not in data:
        data += await stream.receive_some()
    await stream.send_all(data)
    await stream.aclose()


async def packets(served: Any) -> None:
    """Send datagrams back."""
    while True:
        data, address = await served.recvfrom(8192)
        await served.sendto(data, address)


async def sink(served: Any) -> None:
    """Take datagrams."""
    while True:
        await served.recv(8192)


def serve(_name: str, job: Job) -> None:
    """Serve for ever."""
    trio: Any = importlib.import_module("trio")

    async def serve_lines(stream: Any) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # by which all the others would end as well
            await (line if job.kind == "line" else lines)(stream)

    async def run() -> None:
        served = trio.socket.from_stdlib_socket(job.socket())
        if job.datagrams:
            await (packets if job.kind == "packet" else sink)(served)
        await trio.serve_listeners(serve_lines, [trio.SocketListener(served)])

    trio.run(run)
