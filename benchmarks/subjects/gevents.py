"""gevent's servers."""

from typing import Any

import gevent.server
import gevent.socket

from benchmarks.subjects.job import Job, set_no_delay


def serve(_name: str, job: Job) -> None:
    """Serve for ever."""
    served: Any = gevent.socket.socket(fileno=job.socket().detach())

    def line(client: Any, _address: Any) -> None:
        client.sendall(client.makefile("rb").readline())

    def lines(client: Any, _address: Any) -> None:
        if job.no_delay:
            set_no_delay(client)
        for each in client.makefile("rb"):
            client.sendall(each)

    def packet(data: bytes, address: Any) -> None:
        server.sendto(data, address)

    def sink(data: bytes, address: Any) -> None:
        pass

    handlers: dict[str, Any] = {"line": line, "lines": lines, "packet": packet, "sink": sink}
    kind: Any = gevent.server.DatagramServer if job.datagrams else gevent.server.StreamServer
    server = kind(served, handlers[job.kind])
    server.serve_forever()
