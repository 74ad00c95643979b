"""The event loops of asyncio and uvloop, by protocols and by streams."""

import asyncio
import contextlib
import importlib
from typing import Any

from benchmarks.subjects.job import BACKLOG, Job, nap


class Lines(asyncio.Protocol):
    """Sends lines back, those of one read in one write."""

    # Any, as uvloop's are of no class of asyncio's.
    transport: Any
    rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to send."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send back what is whole."""
        if self.rest:
            data = self.rest + data
        *lines, self.rest = data.split(b"\n")
        self.transport.write(b"".join([self.reply(line) for line in lines]))

    def reply(self, line: bytes) -> bytes:
        """Return the reply to a line."""
        return line + b"\n"


class Naps(Lines):
    """The same, and naps when asked to."""

    def reply(self, line: bytes) -> bytes:
        """Nap or not, and return the reply."""
        nap(line)
        return line + b"\n"


class Line(Lines):
    """Sends the first line back and closes."""

    def data_received(self, data: bytes) -> None:
        """Send it back once it is whole."""
        data = self.rest + data
        line, end, _ = data.partition(b"\n")
        if end:
            self.transport.write(line + end)
            self.transport.close()
        else:
            self.rest = data


class Packet(asyncio.DatagramProtocol):
    """Sends datagrams back."""

    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to send."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Send it back."""
        self.transport.sendto(data, addr)


class Sink(asyncio.DatagramProtocol):
    """Takes datagrams."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Do nothing."""


PROTOCOLS = {"line": Line, "lines": Lines, "naps": Naps, "packet": Packet, "sink": Sink}


async def lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send lines back."""
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    writer.close()


async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the first line back and close."""
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def run(name: str, job: Job) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    served = job.socket()
    protocol: Any = PROTOCOLS[job.kind]
    if job.datagrams:
        await loop.create_datagram_endpoint(protocol, sock=served)
        await asyncio.Event().wait()
    if name.endswith("streams"):
        handle = line if job.kind == "line" else lines
        server = await asyncio.start_server(handle, sock=served, backlog=BACKLOG)
    elif job.path:
        server = await loop.create_unix_server(protocol, sock=served, backlog=BACKLOG)
    else:
        server = await loop.create_server(protocol, sock=served, backlog=BACKLOG)
    await server.serve_forever()


def serve(name: str, job: Job) -> None:
    """Serve for ever, on the loop that the name begins with."""
    importlib.import_module(name.partition("-")[0]).run(run(name, job))
