"""A WSGI server: the standard library's own classes, on a pool of threads, with limits, and drained on SIGTERM."""

import sys
from collections.abc import Iterable
from typing import Any

import framework

# Before wsgiref imports it: its server is then one of the framework's.
sys.modules["socketserver"] = framework

from wsgiref.simple_server import WSGIRequestHandler, WSGIServer  # noqa: E402 -- see above

from framework import ThreadPoolMixIn, at, serve  # noqa: E402


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Greet whoever asks."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"hello, {environ['REMOTE_ADDR']}\n".encode()]


class Server(ThreadPoolMixIn, WSGIServer):  # type: ignore[misc] # of typeshed's socketserver, to a checker
    """As many requests at once as there are threads; further clients wait."""

    max_threads = 8
    idle_timeout = 10


if __name__ == "__main__":
    server = Server(at("tcp://127.0.0.1:0"), WSGIRequestHandler)
    server.set_app(application)
    print(f"try: curl http://127.0.0.1:{server.server_port}", flush=True)
    raise SystemExit(serve(server))
