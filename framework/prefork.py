"""``PreforkMixIn``: a service in several processes, which share what they listen on.

``class Echo(PreforkMixIn, ThreadingMixIn, TCPServer)`` serves in ``workers`` processes; what goes between the
mix-in and the server class runs inside each, as it would in one: nothing, threads, a pool, children, greenlets.
It is a ``ServiceMixIn`` itself and comes first, since in the parent it takes the place of all the others: the
parent's loop looks after processes (``Supervisor``) and never touches a request.

What the workers listen on belongs to the parent, which holds it open: no client is refused and no datagram lost
with a worker.

- A stream server has one listening socket; whichever worker is free accepts. A busy worker keeps nobody waiting.
- An Internet datagram server has a socket for each worker (``SO_REUSEPORT``, socket(7)), among which the system
  spreads peers, so that workers do not wake each other for nothing. Whoever replaces a worker gets its socket.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import signal
import socket as _socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from framework._types import AddressT, RequestT
from framework.addresses import InetEndpoint
from framework.handover import adopt
from framework.inet import TCPServer
from framework.info import ServiceInfo, WorkerInfo
from framework.lifecycle import DrainResult, ServerState, ServerStateError
from framework.server import selector_class, waker
from framework.service import ServiceMixIn
from framework.supervisor import Supervisor
from framework.worker_process import SETTLE, Leave, Pause, Worker

if TYPE_CHECKING:
    from framework._loop import Loop

__all__ = ["PreforkMixIn"]

_log = logging.getLogger("framework")

# After a drain, how long the loop of a worker gets to return from what its thread is in, in seconds.
_GRACE = 1.0


class PreforkMixIn(ServiceMixIn[RequestT, AddressT]):
    """Serves in several processes; goes before all others among the bases.

    ``serve_forever()`` forks and supervises, best on the program's only thread: a lock that another holds at that
    moment stays locked in the worker. It installs no signal handlers in the parent. ``shutdown()`` and ``drain()``
    return when no worker is left. ``suspend()`` and ``resume()`` go for all workers. Caps on connections are those
    of each worker, and so are its registry and most events: the parent tells of workers and of drains.

    In a worker, ``shutdown()`` lets the parent replace that one.
    """

    workers: int | None = None
    """Processes; ``None``: as many as there are processors for this program."""
    max_requests: int | None = None
    """Connections or datagrams that a worker takes before it is replaced, give or take a tenth: otherwise all
    would be due together. ``None``: no limit. A remedy for leaks that cannot be mended."""
    heartbeat_timeout: float | None = 30
    """Seconds that a worker's loop may stand still before it is killed and replaced; with handlers that run on the
    loop, that is how long one may take. gunicorn has 30 s too. ``None``: for ever."""
    socket_per_worker: bool | None = None
    """Whether each worker has a socket of its own; ``None``: where that is better (see the module)."""

    # In the parent, while it serves; and in a worker.
    __supervisor: Supervisor | None = None
    __worker: Worker | None = None

    __sockets: tuple[_socket.socket, ...] = ()
    __poll_interval: float | None = None
    __requests: Iterator[int] | None = None

    # -- in the parent -------------------------------------------------------------------------------------------

    def serve_forever(self, poll_interval: float | None = 0.5) -> None:
        """Keep the workers serving until ``shutdown()``.

        Args:
            poll_interval: as in the workers.

        Raises:
            OSError: the sockets of the workers cannot be bound.
            ServerStateError: the server is closed, or serves already.
            ValueError: there are to be no workers, or sockets for each where the system has no such thing.
        """
        if self.state in {ServerState.NEW, ServerState.BOUND}:  # else what follows raises
            self.__open_sockets()
        self.__poll_interval = poll_interval
        try:
            super().serve_forever(poll_interval)
        finally:
            self.__supervisor = None

    def _open_loop(self) -> Loop:
        if self.__worker is not None:
            return self.__open_worker_loop(self.__worker)
        self.__supervisor = Supervisor(
            selector_class()(),
            waker(),
            count=self.__count(),
            run=self.__work,
            happened=self._happened,
            heartbeat_timeout=self.heartbeat_timeout,
            drain_timeout=self.drain_timeout,
        )
        return self._use_loop(self.__supervisor)

    def __count(self) -> int:
        if self.workers is None:
            return len(os.sched_getaffinity(0))
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        return self.workers

    def __open_sockets(self) -> None:
        """Bind a socket for each worker, or let them share the one."""
        count = self.__count()
        server = cast("TCPServer", self)
        first = self.socket
        internet = first.family in {_socket.AF_INET, _socket.AF_INET6} and hasattr(_socket, "SO_REUSEPORT")
        if self.socket_per_worker and not internet:
            raise ValueError("socket_per_worker needs SO_REUSEPORT, which only Internet sockets have")
        wanted = self.socket_per_worker
        if wanted is None:
            wanted = internet and first.type == _socket.SOCK_DGRAM
        if not wanted:
            self.__sockets = (first,)
            return
        # The first was bound without, so a server that somebody starts twice is told that the address is in use.
        first.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
        sockets = [first, *self.__sockets[1:count]]
        try:
            while len(sockets) < count:
                self.socket = self.__another(first)
                self.socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
                server.server_bind()  # which may put another in its place
                server.server_activate()
                if first.type == _socket.SOCK_STREAM:
                    # As the service does with the first: else who leaves would make it block for who takes over.
                    self.socket.settimeout(0)
                sockets.append(self.socket)
        except BaseException:
            for sock in {self.socket, *sockets} - {first}:
                sock.close()
            raise
        finally:
            self.socket = first
        self.__sockets = tuple(sockets)

    def __another(self, first: _socket.socket) -> _socket.socket:
        """Return one more socket for the address of the first: of an earlier life of the program, or unbound."""
        host, port = cast("tuple[str, int]", self.server_address)[:2]
        v6only = first.family == _socket.AF_INET6 and bool(
            first.getsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY)
        )
        # Not by what the first was asked for: that may be port 0, or a descriptor, of which there is one.
        endpoint = InetEndpoint(host, port, first.type == _socket.SOCK_DGRAM, v6only)
        return adopt(_socket.socket(first.family, first.type), endpoint)

    def info(self) -> ServiceInfo:
        """Return the state and, in the parent, the workers."""
        supervisor = self.__supervisor
        now = time.monotonic()
        workers = [] if supervisor is None else supervisor.workers
        return replace(
            super().info(),
            workers=tuple(WorkerInfo(each.pid, each.slot, now - each.started, each.open) for each in workers),
        )

    def listening(self) -> tuple[_socket.socket, ...]:
        """Return the sockets of all workers, or the one they share."""
        return self.__sockets or super().listening()

    def handle_request(self) -> object:
        """Raise an error: requests are for the workers.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("a prefork server takes requests in its workers only: call serve_forever()")

    def shutdown(self) -> None:
        """End ``serve_forever()`` and wait for it, and for every worker; they have ``drain_timeout`` to drain."""
        if self.__worker is not None:
            self.__worker.ask_to_be_replaced()
        else:
            super().shutdown()

    def suspend(self) -> None:
        """Let no worker take requests; those that run go on, and new clients wait in the backlog.

        Raises:
            ServerStateError: the server does not serve.
        """
        super().suspend()
        if self.__supervisor is not None:
            self.__supervisor.pause(True)

    def resume(self) -> None:
        """Let the workers take requests again.

        Raises:
            ServerStateError: the server was not suspended.
        """
        super().resume()
        if self.__supervisor is not None:
            self.__supervisor.pause(False)

    def restart_workers(self) -> None:
        """Replace all workers, one at a time, each by one that serves already; returns at once.

        Legal in a signal handler: what SIGHUP is for.

        Raises:
            ServerStateError: the server does not serve.
        """
        if self.__supervisor is None:
            raise ServerStateError(f"cannot restart the workers of a server that is {self.state.value}")
        self.__supervisor.renew()

    def reload(self) -> None:
        """Read anew what may have changed, and let new workers begin with that."""
        super().reload()
        self.restart_workers()

    def server_close(self) -> None:
        """Close what is listened on, and end all workers if there still are some."""
        super().server_close()
        for sock in self.__sockets[1:]:
            sock.close()
        if self.__supervisor is not None:
            self.__supervisor.stop(self.drain_timeout)

    def _open_requests(self) -> int:
        supervisor = self.__supervisor
        return super()._open_requests() if supervisor is None else supervisor.open

    def _end_requests(self, seconds: float) -> DrainResult:
        supervisor = self.__supervisor
        return super()._end_requests(seconds) if supervisor is None else supervisor.stop(seconds)

    # -- in a worker ---------------------------------------------------------------------------------------------

    def setup_worker(self) -> None:
        """Prepare a worker before it serves: open what must not be shared between processes, such as a database.

        Runs in each new process. If it raises, the process ends, and another is tried after a while.
        """

    def __work(self, worker: Worker) -> None:
        """Serve; runs in a new process, which ends afterwards."""
        self._after_fork()
        self.__worker = worker
        self.__turned = threading.Event()
        mine = self.__sockets[worker.slot % len(self.__sockets)]
        for sock in self.__sockets:
            if sock is not mine:
                sock.close()
        self.socket = mine
        if self.max_requests is not None:
            limit = self.max_requests + random.randint(0, self.max_requests // 10)  # noqa: S311 -- no secret
            self.__requests = itertools.count(1 - limit)
        self.setup_worker()
        intervals = [self.__poll_interval, self.heartbeat_timeout and self.heartbeat_timeout / 4]
        super().serve_forever(min((interval for interval in intervals if interval is not None), default=None))
        if not worker.left:  # a handler ended the loop by itself
            worker.tell_drained(self._end_requests(self.drain_timeout))

    def __open_worker_loop(self, worker: Worker) -> Loop:
        loop = super()._open_loop()
        # A thread, since the loop may be busy with a request that is to be ended.
        threading.Thread(target=self.__attend, args=(worker,), name="attendant", daemon=True).start()
        worker.beat(0)
        return loop

    def __attend(self, worker: Worker) -> None:
        try:
            self.__obey(worker)
        except ServerStateError:
            pass  # the loop has ended by itself
        except Exception:
            _log.exception("a worker failed")
            os._exit(1)  # it would stay for ever, as nobody could tell it to leave

    def __obey(self, worker: Worker) -> None:
        """Do as the parent orders, until the order to leave; or until there is no parent."""
        while isinstance(order := worker.next_order(), Pause):
            if order.paused:
                self.suspend()
            else:
                self.resume()
        leave = order or Leave(SETTLE, self.drain_timeout)
        end = time.monotonic() + leave.settle + leave.seconds
        if leave.settle:
            self.suspend()
            self.__turned.clear()
            self.suspend()  # which wakes the loop again, so that a turn follows
            self.__turned.wait(leave.settle)
        worker.tell_drained(self.drain(leave.seconds))
        # A handler on the loop or of a datagram may use that time, but keeps no process alive, not even an orphan.
        last = threading.Timer(max(end - time.monotonic(), _GRACE), os._exit, (1,))
        last.daemon = True
        last.start()
        super().shutdown()

    def _turn(self) -> None:
        """Show that the loop turns."""
        super()._turn()
        if self.__worker is not None:
            self.__worker.beat(self._open_requests())
            self.__turned.set()

    def get_request(self) -> tuple[RequestT, AddressT]:
        """Take the next request, and count it."""
        taken = super().get_request()
        if self.__requests is not None and self.__worker is not None and next(self.__requests) == 0:
            self.__worker.ask_to_be_replaced()
        return taken

    def _after_fork(self) -> None:
        super()._after_fork()
        self.__supervisor = None
        worker, self.__worker = self.__worker, None
        if worker is not None:  # forked by a worker, for one request
            worker.channel.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
