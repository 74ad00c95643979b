"""The framework's services: the same handlers, under its own models."""

import importlib
import time
from typing import Any

import framework
from benchmarks.subjects.job import NAP, Job, announce, nap
from benchmarks.subjects.letter import handler

# model -> where its mix-ins are
MIXINS = {
    "service-inline": ["service.ServiceMixIn"],
    "service-threads": ["service.ServiceMixIn", "threads.ThreadingMixIn"],
    "greenlets": ["greenlets.GreenletMixIn"],
    "greenlets-parked": ["greenlets.GreenletMixIn"],
    "pool": ["pool.ThreadPoolMixIn"],
    "batch": ["batches.DatagramBatchMixIn"],
}


def find(path: str) -> Any:
    """Return a name of one of the framework's modules, which may not be there."""
    module, name = path.split(".")
    return getattr(importlib.import_module(f"framework.{module}"), name)


def make(name: str, job: Job) -> Any:
    """Return the server."""
    if job.datagrams:
        base: Any = framework.UnixDatagramServer if job.path else framework.UDPServer
    else:
        base = framework.UnixStreamServer if job.path else framework.TCPServer
    mixins = [find(path) for path in MIXINS[name]]
    # The one default that a benchmark has to lift: it is not there to be met by 5 000 clients at once.
    server = type("Server", (*mixins, base), {"max_connections": None})
    return server(job.address, suited(name, job))


def serve(name: str, job: Job) -> None:
    """Serve for ever."""
    server = make(name, job)
    announce(server.server_address)
    server.serve_forever()


def suited(name: str, job: Job) -> Any:
    """Return the handler: the classic one, but where a model has one of its own that does more with it."""
    if name in {"pool", "greenlets-parked"} and job.kind in {"lines", "naps"}:
        return exchange(job)
    if name == "batch":
        return batch(job)
    if name == "greenlets" and job.kind == "naps":
        return threaded_naps(job)
    return handler(framework, job)


def exchange(job: Job) -> Any:
    """Return a handler of one exchange per call, whose connection occupies no thread in between."""
    handlers: Any = importlib.import_module("framework.handlers")

    class Lines(handlers.ExchangeHandler):  # type: ignore[misc]
        disable_nagle_algorithm = job.no_delay

        def is_complete(self, data: bytes) -> bool:
            return b"\n" in data

        def handle_exchange(self) -> bool:
            line = self.rfile.readline()
            self.wfile.write(line)
            return True

    class Naps(Lines):
        def handle_exchange(self) -> bool:
            line = self.rfile.readline()
            nap(line)
            self.wfile.write(line)
            return True

    return Naps if job.kind == "naps" else Lines


def batch(job: Job) -> Any:
    """Return a handler of many datagrams at once."""
    batches: Any = importlib.import_module("framework.batches")

    class Packets(batches.DatagramBatchHandler):  # type: ignore[misc]
        def handle(self) -> None:
            for data, address in self.datagrams:
                self.send(data, address)

    class Sink(batches.DatagramBatchHandler):  # type: ignore[misc]
        def handle(self) -> None:
            for _data, _address in self.datagrams:
                pass

    return Packets if job.kind == "packet" else Sink


def threaded_naps(job: Job) -> Any:
    """Return a handler that leaves to a thread what would hold all the others."""
    run_in_thread = find("greenlets.run_in_thread")

    class Naps(framework.StreamRequestHandler):
        disable_nagle_algorithm = job.no_delay

        def handle(self) -> None:
            for line in self.rfile:
                if line.startswith(b"z"):
                    run_in_thread(lambda: time.sleep(NAP))
                self.wfile.write(line)

    return Naps
