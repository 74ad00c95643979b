"""The classic classes, the standard library's and the framework's own: both by the same names."""

import importlib
from typing import Any

from benchmarks.subjects.job import BACKLOG, Job, announce, nap

MODULES = {"stdlib": "socketserver", "letter": "framework"}
MIXINS = {"inline": (), "threads": ("ThreadingMixIn",), "fork": ("ForkingMixIn",)}


def make(name: str, job: Job) -> Any:
    """Return the server."""
    origin, model = name.split("-")
    module: Any = importlib.import_module(MODULES[origin])
    kind = (
        ("UnixDatagram" if job.datagrams else "UnixStream") if job.path else "UDP" if job.datagrams else "TCP"
    )
    names = (*MIXINS[model], f"{kind}Server")
    settings = {
        # The original's has room for 5: what did not fit would be tried again a second later.
        "request_queue_size": BACKLOG,
        # The original would keep all threads in a list that it goes through for each new one.
        "block_on_close": False,
        "daemon_threads": True,
        # The original's 40 are fewer than the connections that are kept.
        "max_children": BACKLOG,
    }
    server = type("Server", tuple(getattr(module, name) for name in names), settings)
    return server(job.address, handler(module, job))


def serve(name: str, job: Job) -> None:
    """Serve for ever."""
    server = make(name, job)
    announce(server.server_address)
    server.serve_forever()


def handler(module: Any, job: Job) -> Any:
    """Return the handler of a job, on top of the module's."""

    class Line(module.StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())

    class Lines(module.StreamRequestHandler):  # type: ignore[misc]
        disable_nagle_algorithm = job.no_delay

        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(line)

    class Naps(Lines):
        def handle(self) -> None:
            for line in self.rfile:
                nap(line)
                self.wfile.write(line)

    class Packet(module.DatagramRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            self.wfile.write(self.packet)

    class Sink(module.BaseRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            _data, _socket = self.request

    return {"line": Line, "lines": Lines, "naps": Naps, "packet": Packet, "sink": Sink}[job.kind]
