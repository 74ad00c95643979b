"""The composition: greenlets on one hub, on a Unix socket or TCP, around one engine."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from framework import Endpoint, Flusher, InetAddress, ServiceMixIn, TCPServer, ThreadingMixIn, UnixStreamServer
from framework.greenlets import GreenletMixIn
from servers.keyvalue.concurrency import Concurrency, Greenlets, Threads
from servers.keyvalue.handler import KeyValueHandler

if TYPE_CHECKING:
    from servers.keyvalue.engine import Engine

__all__ = ["KeyValueServer", "KeyValueTCPServer", "ThreadingKeyValueServer"]


class KeyValueMixIn(ServiceMixIn[socket.socket, Any]):
    """What the servers below have in common.

    Args:
        address: where to listen.
        engine: what is served.
        lock: shared by all servers of one engine, if there are several; each has a thread of its own.
    """

    # Clients keep their connections for days; redis' own "timeout" is 0, too.
    idle_timeout: float | None = None
    # A drain waits for batches, which take milliseconds.
    drain_timeout: float = 5
    max_connections: int | None = 10000  # redis' maxclients

    def __init__(self, address: Any, engine: Engine, lock: threading.Lock | None = None) -> None:
        self.engine = engine
        self.flusher = Flusher()
        self.concurrency = self._make_concurrency(engine, lock)
        super().__init__(address, KeyValueHandler)
        self.own_name = name_of(self.socket, self.server_address)
        engine.pause = self.concurrency.pause

    def _make_concurrency(self, engine: Engine, lock: threading.Lock | None) -> Concurrency:
        return Greenlets(engine.store, lock)

    def name_of(self, connection: socket.socket, address: Any) -> str:
        """Return what CLIENT LIST calls the other end of a connection."""
        return name_of(connection, address) if connection.family != socket.AF_UNIX else self.own_name

    def service_actions(self) -> None:
        """Do what is due, such as removing what has expired."""
        super().service_actions()
        with self.concurrency.exclusive:
            more = self.engine.tick(time.monotonic())
        if more:
            self._come_back()

    def _come_back(self) -> None:
        """See to it that the next turn begins at once."""

    def server_close(self) -> None:
        """Stop listening, and end what still sends."""
        super().server_close()
        self.flusher.close()


class KeyValueServer(KeyValueMixIn, GreenletMixIn[socket.socket, str], UnixStreamServer):  # type: ignore[misc]
    """The key-value store on a Unix socket."""

    def _come_back(self) -> None:
        self.call_soon(lambda: None)


class KeyValueTCPServer(KeyValueMixIn, GreenletMixIn[socket.socket, InetAddress], TCPServer[socket.socket, InetAddress]):  # type: ignore[misc]
    """The key-value store on TCP."""

    def _come_back(self) -> None:
        self.call_soon(lambda: None)


class ThreadingKeyValueServer(KeyValueMixIn, ThreadingMixIn[socket.socket, str], UnixStreamServer):  # type: ignore[misc]
    """The same with a thread per connection."""

    def _make_concurrency(self, engine: Engine, lock: threading.Lock | None) -> Concurrency:
        return Threads(engine.store, lock or threading.Lock())


def name_of(sock: socket.socket, address: Any) -> str:
    """Return an address as redis writes it."""
    if sock.family == socket.AF_UNIX:
        return f"{address or ''}:0"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(where: Endpoint, engine: Engine, lock: threading.Lock | None = None) -> KeyValueMixIn:
    """Make the server for an address."""
    from framework.addresses import InetEndpoint

    make = KeyValueTCPServer if isinstance(where, InetEndpoint) else KeyValueServer
    return make(where, engine, lock)
