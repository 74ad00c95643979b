"""The composition: greenlets on one hub, on any listener, around one engine."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from framework import Flusher, InetAddress, ServiceMixIn, TCPServer, ThreadingMixIn, UnixPeer
from framework.greenlets import GreenletMixIn
from servers.keyvalue.commands.table import without
from servers.keyvalue.concurrency import Concurrency, Greenlets, Threads
from servers.keyvalue.engine import TAKE_OVER, Engine
from servers.keyvalue.handler import KeyValueHandler
from servers.keyvalue.parser import Parser
from servers.keyvalue.protocol import CommandError
from servers.keyvalue.settings import Settings
from servers.keyvalue.stores.files import StoreError, StoreTakenError
from servers.keyvalue.stores.opening import open_store
from servers.keyvalue.stores.records import DamagedError
from shared.run import Program, listen
from shared.settings import SettingsError

__all__ = ["KeyValueServer", "ThreadingKeyValueServer", "program"]

_log = logging.getLogger(__name__)


class KeyValueMixIn(ServiceMixIn[socket.socket, Any]):
    """What the servers below have in common.

    Args:
        address: where to listen.
        engine: what is served.
        settings: what can be set.
        lock: shared by all servers of one engine, if there are several; each has a thread of its own.
    """

    # Clients keep their connections for days; redis' own "timeout" is 0, too.
    idle_timeout: float | None = None
    # A drain waits for batches, which take milliseconds.
    drain_timeout: float = 5

    def __init__(
        self,
        address: Any,
        engine: Engine,
        settings: Settings | None = None,
        lock: threading.Lock | None = None,
    ) -> None:
        self.engine = engine
        self.settings = settings = settings or Settings()
        self.flusher = Flusher()
        self.parser = fastest_parser()
        self.concurrency = self._make_concurrency(engine, lock)
        self.max_connections = settings.max_clients
        self.peer_credentials = bool(settings.allow_uid or settings.allow_gid)
        engine.servers.add(self)
        super().__init__(address, KeyValueHandler)
        self.own_name = name_of(self.socket, self.server_address)
        engine.pause = self.concurrency.pause

    def _make_concurrency(self, engine: Engine, lock: threading.Lock | None) -> Concurrency:
        return Greenlets(engine, lock)

    def name_of(self, connection: socket.socket, address: Any) -> str:
        """Return what CLIENT LIST calls the other end of a connection."""
        return name_of(connection, address) if connection.family != socket.AF_UNIX else self.own_name

    def wait_until_open(self) -> bool:
        """Wait until all data is there; tell whether it is, or else this is the end."""
        while not (self.engine.is_open or self.engine.closing or self.draining):
            self.sleep(TAKE_OVER)
        return self.engine.is_open

    def verify_request(self, request: socket.socket, client_address: Any) -> bool:
        """Let in who may connect, by the word of the kernel about the other end of a Unix socket."""
        if not isinstance(client_address, UnixPeer):
            return True
        who = client_address.credentials
        if who.uid in self.settings.allow_uid or who.gid in self.settings.allow_gid:
            return True
        _log.warning("refused process %d of user %d, group %d", who.pid, who.uid, who.gid)
        return False

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
        """Stop listening, end what still sends, and close the store behind the last server."""
        super().server_close()
        self.flusher.close()
        self.engine.leave(self)


class KeyValueServer(
    KeyValueMixIn, GreenletMixIn[socket.socket, InetAddress], TCPServer[socket.socket, InetAddress]
):
    """The key-value store, on whatever the address says: a Unix socket, TCP, or what systemd passes."""

    def _come_back(self) -> None:
        self.call_soon(lambda: None)


class ThreadingKeyValueServer(
    KeyValueMixIn, ThreadingMixIn[socket.socket, InetAddress], TCPServer[socket.socket, InetAddress]
):
    """The same with a thread per connection."""

    def _make_concurrency(self, engine: Engine, lock: threading.Lock | None) -> Concurrency:
        return Threads(engine, lock or threading.Lock())


def fastest_parser() -> type[Parser]:
    """Return the fastest parser there is: ``pip install hiredis`` makes a difference to pipelines."""
    try:
        from servers.keyvalue.accelerator import FastParser
    except ImportError:
        return Parser
    return FastParser


def name_of(sock: socket.socket, address: Any) -> str:
    """Return an address as redis writes it."""
    if sock.family == socket.AF_UNIX:
        return f"{address or ''}:0"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def program(settings: Settings) -> Program:
    """Return what ``python -m servers.keyvalue`` runs."""
    try:
        store = open_store(settings.store)
    except StoreError as error:
        raise SettingsError("store", settings.store, str(error)) from error
    try:
        # Before the socket is touched: a second server on the same folder must not take it from the first.
        engine = Engine(store, settings.parameters(), settings.databases, without(settings.disable))
    except StoreTakenError as error:
        raise SettingsError("store", settings.store, str(error)) from error
    except (DamagedError, StoreError, CommandError) as error:
        fix = f"{error}. Look at it by: python -m servers.keyvalue check FOLDER"
        raise SettingsError("store", settings.store, fix) from error
    # Each server has a thread of its own. One needs no lock.
    lock = threading.Lock() if len(settings.bind) > 1 else None
    servers = listen(settings.bind, lambda where: KeyValueServer(where, engine, settings, lock))
    return Program(servers, _banner(servers))


def _banner(servers: Sequence[KeyValueMixIn]) -> str:
    lines: list[str] = []
    for server in servers:
        name = server.own_name
        lines += (
            [
                f"The key-value store listens on {name.removesuffix(':0')}",
                f"    redis-cli -s {name.removesuffix(':0')}",
            ]
            if server.socket.family == socket.AF_UNIX
            else [
                f"The key-value store listens on {name}",
                f"    redis-cli -h {name.rpartition(':')[0]} -p {name.rpartition(':')[2]}",
            ]
        )
    return "\n".join([*lines, "Ctrl-C ends the server."])
