"""``ThreadPoolMixIn``: a bounded number of threads that accept and handle, with no hand-off between the two.

Goes before the server class: ``class Chat(ThreadPoolMixIn, TCPServer)``. It is a ``ServiceMixIn``, so nothing
else is needed in front of it.

::

    listener ─────────┐
    wake-up ──────────┤                     ┌─▶ accept ─▶ handle ─┐
    parked connection ┼─▶ one epoll ─▶ worker                     ├─▶ close, or park again
    parked connection ┤              worker └─▶ next exchange ────┘
    ...               ┘

Rules:

1. All workers wait on one epoll (epoll(7)); whoever it wakes does all the work there is to that event. What is
   watched is watched once (``EPOLLONESHOT``): an event belongs to one worker until that one watches again.
2. The listener is watched again before the handler runs, so that another worker takes the next client. Where no
   worker waits, nothing is accepted: clients queue in the backlog, and nobody has to pause anything for that.
3. Between two exchanges of an ``ExchangeHandler`` a connection is parked: it costs a place in the epoll and no
   thread. Any other handler keeps its worker until it returns, as in the other models.
4. A parked connection is not a special one. It is IDLE; a deadline or a drain ends its input, by which the
   epoll wakes a worker, which meets that end as every handler does.
5. The thread that runs ``serve_forever()`` adds workers and sweeps, and never handles.
"""

from __future__ import annotations

import selectors
import socket as _socket
import time
from collections.abc import Callable
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from framework._loop import Loop, Waker
from framework._types import AddressT, InetAddressT, RequestT
from framework.connection import Connection
from framework.events import Saturated
from framework.exchanges import serve_exchanges
from framework.inet import TCPServer
from framework.service import ServiceMixIn
from framework.unix import UnixStreamServer
from framework.workers import Workers

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import FileDescriptorLike

    from framework.handlers import ExchangeHandler

__all__ = ["PoolTCPService", "PoolUnixStreamService", "ThreadPoolMixIn"]


class PoolLoop(Loop):
    """The loop of the thread that serves: what it would watch is watched by the workers."""

    def __init__(self, workers: Workers) -> None:
        super().__init__(selectors.PollSelector(), Waker())
        self._workers = workers
        workers.wake = self.wake

    def watch(self, file: FileDescriptorLike) -> None:
        """Let the workers accept."""
        self._workers.watch(file if isinstance(file, int) else file.fileno())

    def unwatch(self, file: FileDescriptorLike) -> None:
        """Let the workers accept nothing."""
        self._workers.unwatch()

    def wait(self, timeout: float | None) -> bool:
        """Wait until woken, then see to the workers."""
        self._workers.adjust()
        return super().wait(timeout)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()
        super().__exit__(kind, error, trace)


class ThreadPoolMixIn(ServiceMixIn[RequestT, AddressT]):
    """Runs requests in a bounded number of threads; goes before the server class among the bases.

    A worker takes one request at a time, those behind it are for the others: ``accept_burst`` plays no part.
    ``verify_request()`` runs on the worker that accepted, and holds up the next accept: it must not block.
    ``handle_request()`` needs no pool: it serves its one request on the thread that calls it.
    """

    min_threads: int = 2
    """Kept while serving: one handles, one waits for the next."""
    max_threads: int = 32
    """Requests that run at once; beyond, clients wait in the backlog. The default of ``concurrent.futures``
    for threads that wait for something else than the processor."""

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    __workers: Workers | None = None
    __saturated = False

    def _open_loop(self) -> Loop:
        if not 0 < self.min_threads <= self.max_threads:
            raise ValueError(
                f"0 < min_threads <= max_threads does not hold: {self.min_threads}, {self.max_threads}"
            )
        workers = self.__workers
        if workers is None or not workers.reopen():
            workers = self.__workers = Workers(self, self._may_accept, self._take_request, self.__resume)
        return self._use_loop(PoolLoop(workers))

    def server_close(self) -> None:
        """Close the listening socket, then drain for up to ``drain_timeout``; workers end with their requests."""
        workers = self.__workers
        if workers is not None:
            workers.forget_listener(closing=True)
        deadline = time.monotonic() + self.drain_timeout
        super().server_close()
        if workers is not None:
            workers.join(deadline)  # datagrams are in no registry

    def _turn(self) -> None:
        """Sweep, see whether to accept, and whether there is anybody to."""
        super()._turn()
        workers = self.__workers
        if workers is None:
            return
        workers.rearm()
        if workers.all_busy != self.__saturated:
            self.__saturated = not self.__saturated
            if self.__saturated:
                self._happened(Saturated, self.max_threads)

    def process_request(self, request: RequestT, client_address: AddressT) -> None:
        """Serve on this worker, until the handler is done or its connection can be parked."""
        workers = self.__workers
        if workers is None or not workers.release() or not isinstance(request, Connection):
            super().process_request(request, client_address)
            return
        adopted: list[ExchangeHandler[Any, Any]] = []
        request.adopt = adopted.append
        try:
            self.finish_request(request, client_address)
        finally:
            request.adopt = None
        if not adopted or not self.__serve(workers, request, adopted[0], request.poll):
            self.shutdown_request(request)

    def __resume(self, workers: Workers, connection: Connection, handler: ExchangeHandler[Any, Any]) -> None:
        """Go on with a connection that was parked."""
        parked = False
        try:
            parked = self.__serve(workers, connection, handler, connection.woken)
        except Exception:
            self.handle_error(connection, connection.address)  # type: ignore[arg-type]
        finally:
            if not parked:
                self.shutdown_request(connection)  # type: ignore[arg-type]

    def __serve(
        self,
        workers: Workers,
        connection: Connection,
        handler: ExchangeHandler[Any, Any],
        look: Callable[[], bool],
    ) -> bool:
        """Serve what there is; tell whether the connection was parked, and is ours no more."""
        return serve_exchanges(connection, handler, look, lambda: workers.park(connection, handler))


class PoolTCPService(ThreadPoolMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` as a service, connections served by a pool of threads."""


class PoolUnixStreamService(ThreadPoolMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` as a service, connections served by a pool of threads."""
