"""``StatusServer``: what ``--metrics HOST:PORT`` serves to Prometheus, to an orchestrator, and to whoever has curl.

============  ==================================================================================================
``/metrics``  the metrics, in the format that the client prefers: OpenMetrics or Prometheus' own
``/healthz``  200 while every loop turns; 503 and which one does not: the process is best started anew
``/readyz``   200 while every server serves; 503 and which one does not: send requests elsewhere
============  ==================================================================================================

As much HTTP/1.1 as that takes (RFC 9112): GET and HEAD, kept connections, and no look at any body. It is a service of
the framework like those it tells about, and ends after them: a drain can be watched to its end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from prometheus_client.exposition import choose_encoder

from framework import DrainResult, ExchangeHandler, InetAddress, PoolTCPService, ServerState, ServiceMixIn
from framework.listeners import Listener
from shared.metrics import Metrics

__all__ = ["StatusHandler", "StatusServer"]

# A loop turns twice a second when nothing happens. Ten times as long is no hiccup any more, and well within the ten
# seconds between two probes of an orchestrator that looks three times before it acts.
_HANGING = 5.0
# RFC 9112, section 3: a request line of at least 8000 octets should be taken.
_LONGEST_LINE = 8192
# Far more than Prometheus (7) and browsers (some 20) send; with the cap on lines it bounds what one request may hold.
_MOST_HEADERS = 64
# What the last server needs beyond the drain to close, in seconds; serve() grants all of them three.
_CLOSING = 1.5

_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    keep: bool
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Reply:
    status: HTTPStatus
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": _TEXT})

    @classmethod
    def text(cls, status: HTTPStatus, text: str) -> _Reply:
        """Return a line as a reply."""
        return cls(status, f"{text}\n".encode())


class _BadRequestError(Exception):
    """What came is no request that can be answered otherwise."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class StatusHandler(ExchangeHandler["StatusServer", InetAddress]):
    """Answers a request at a time."""

    wbufsize = 65536

    def handle_exchange(self) -> bool:
        """Answer one request; tell whether the client may send another."""
        try:
            request = self._read()
        except _BadRequestError as error:
            self._write(_Reply.text(error.status, error.status.phrase), keep=False)
            return False
        if request is None:
            return False
        keep = request.keep and not self.server.draining
        self._write(self._answer(request), keep=keep, head=request.method == "HEAD")
        return keep

    def _read(self) -> _Request | None:
        """Read a request; nothing at the end of the input."""
        end = time.monotonic() + self.server.request_timeout
        try:
            first = self._line()
            method, target, version = first.split(" ")
            if version not in {"HTTP/1.0", "HTTP/1.1"} or not (method.isascii() and method.isalpha()):
                raise _BadRequestError(HTTPStatus.BAD_REQUEST)
            headers: dict[str, str] = {}
            while line := self._line():
                name, colon, value = line.partition(":")
                if not colon or len(headers) == _MOST_HEADERS:
                    too_many = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                    raise _BadRequestError(too_many if colon else HTTPStatus.BAD_REQUEST)
                headers[name.lower()] = value.strip()
                if time.monotonic() >= end:
                    raise _BadRequestError(HTTPStatus.REQUEST_TIMEOUT)
        except EOFError:
            return None
        except ValueError:
            raise _BadRequestError(HTTPStatus.BAD_REQUEST) from None
        # A body is not read, so what follows it could be anything: the connection ends.
        plain = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        wish = headers.get("connection", "").lower()
        keep = plain and (wish == "keep-alive" if version == "HTTP/1.0" else wish != "close")
        return _Request(method, target.partition("?")[0], keep, headers)

    def _line(self) -> str:
        """Read a line, which ends by CR LF or, as RFC 9112 section 2.2 allows to take, by LF.

        Raises:
            EOFError: the input ended.
        """
        line = self.rfile.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            raise _BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not line.endswith(b"\n"):
            raise EOFError
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")

    def _answer(self, request: _Request) -> _Reply:
        if request.method not in {"GET", "HEAD"}:
            allowed = {"Allow": "GET, HEAD", "Content-Type": _TEXT}
            return _Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n", allowed)
        match request.path:
            case "/metrics":
                encode, kind = choose_encoder(request.headers.get("accept", ""))
                return _Reply(HTTPStatus.OK, encode(self.server.metrics.registry), {"Content-Type": kind})
            case "/healthz":
                return _told(self.server.hanging())
            case "/readyz":
                return _told(self.server.unready())
            case _:
                return _Reply.text(HTTPStatus.NOT_FOUND, "/metrics, /healthz or /readyz")

    def _write(self, reply: _Reply, *, keep: bool, head: bool = False) -> None:
        headers = {
            **reply.headers,
            "Content-Length": str(len(reply.body)),
            "Cache-Control": "no-store",
            "Connection": "keep-alive" if keep else "close",
        }
        lines = [f"HTTP/1.1 {reply.status.value} {reply.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if not head:
            self.wfile.write(reply.body)
        self.wfile.flush()


def _told(problems: list[str]) -> _Reply:
    """Return the reply of a probe."""
    if problems:
        return _Reply.text(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(problems))
    return _Reply.text(HTTPStatus.OK, "ok")


class StatusServer(PoolTCPService[InetAddress]):
    """Serves the metrics and the state of other servers.

    Args:
        where: its endpoint.
        metrics: knows the servers.
    """

    # Prometheus keeps one connection, an orchestrator none: enough for a few of each, and no more to lose.
    max_connections = 64
    max_threads = 4
    # Longer than the minute that is between two scrapes by default.
    idle_timeout = 75.0
    read_timeout = 5.0
    request_timeout = 5.0
    """For all lines of a request together, where ``read_timeout`` is for each. nginx and Go's examples have 5 to 60 s,
    for clients across the world; those of this port are next door."""
    write_timeout = 10.0

    def __init__(self, where: Any, metrics: Metrics) -> None:
        self.metrics = metrics
        super().__init__(where, StatusHandler)

    def hanging(self) -> list[str]:
        """Return which servers' loops do not turn, a line each."""
        now = time.monotonic()
        ages = [(name, now - server.last_turn) for name, server in self._running()]
        return [f"{name}: its loop has not turned for {age:.1f} s" for name, age in ages if age > _HANGING]

    def unready(self) -> list[str]:
        """Return which servers do not serve, a line each."""
        return [
            f"{name}: {server.state.value}"
            for name, server in self.metrics.servers
            if server.state is not ServerState.SERVING
        ]

    def _running(self) -> list[tuple[str, ServiceMixIn[Any, Any]]]:
        loops = {ServerState.SERVING, ServerState.SUSPENDED, ServerState.DRAINING}
        return [(name, server) for name, server in self.metrics.servers if server.state in loops]

    # -- ending last ---------------------------------------------------------------------------------------------

    def suspend(self) -> None:
        """Go on, so that the others' drain can be watched; but leave it to a successor, if there is one."""
        if isinstance(self.socket, Listener) and self.socket.passed_on:
            super().suspend()

    def drain(self, deadline: float | None = None) -> DrainResult:
        """Wait until the others have ended, ``deadline`` seconds and a little at most; then end."""
        seconds = self.drain_timeout if deadline is None else deadline
        end = time.monotonic() + seconds + _CLOSING
        ended = (ServerState.BOUND, ServerState.CLOSED, ServerState.NEW)
        for _, server in self.metrics.servers:
            server.wait_for_state(*ended, timeout=max(end - time.monotonic(), 0))
        return super().drain(0)
