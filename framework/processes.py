"""``ForkingMixIn``: each request in a process of its own (fork(2)).

A child has one thread, the one that forked, and a copy of everything else. In a program with further threads:

- A lock that one of those held at that moment stays held in the child for ever. The framework's own and that
  of ``logging`` are made anew; OpenSSL's are not, nor that of a module under import, a library's or a program's.
  So no other thread should do TLS while a server forks, and a handler should import nothing late.
- Every descriptor is in the child, too, until it ends. Who waits for the end of a pipe or of a connection in the
  parent, as ``subprocess.Popen()`` does for a moment, may wait for the requests that were forked meanwhile.

CPython warns of forking among threads from 3.12 on. Where it cannot be avoided, put the server into a process of
its own: a service (``PreforkMixIn``, ``ServiceMixIn``) then runs there by ``serve()`` alone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket as _socket
import time
from types import GenericAlias
from typing import TYPE_CHECKING

from framework._types import AddressT, InetAddressT, MixIn, RequestT
from framework.inet import TCPServer, UDPServer
from framework.unix import UnixDatagramServer, UnixStreamServer

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ForkingMixIn",
    "ForkingTCPServer",
    "ForkingUDPServer",
    "ForkingUnixDatagramServer",
    "ForkingUnixStreamServer",
]


class ForkingMixIn(MixIn[RequestT, AddressT]):
    """Runs each request in a new process; goes before the server class among the bases.

    It waits for its own children only: what the rest of the program forks stays the program's.
    """

    timeout: float | None = 300
    """Seconds after which ``handle_request()`` collects children although no request came."""
    max_children: int = 40
    """Requests that run at once; at this number the loop waits until one of them ends."""
    block_on_close: bool = True
    """Whether ``server_close()`` waits for the children."""

    active_children: set[int] | None = None
    """Process ids of the children not collected yet; ``None`` before the first."""

    # A service pauses its listener instead, so that its loop can always be woken.
    _waits_at_max_children: bool = True

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def collect_children(self, *, blocking: bool = False) -> None:
        """Collect the children that have ended, so that none stays a zombie.

        Waits while there are ``max_children`` of them.

        Args:
            blocking: wait for all of them.
        """
        if self.active_children is None:
            return
        self.__reap(blocking=blocking)
        while self._waits_at_max_children and len(self.active_children) >= self.max_children:
            wait_for_any(self.active_children)
            self.__reap(blocking=False)

    def __reap(self, *, blocking: bool) -> None:
        children = self.active_children or set()
        for child in children.copy():
            status: int | None
            try:
                pid, status = os.waitpid(child, 0 if blocking else os.WNOHANG)
            except ChildProcessError:
                # The program collected it itself, or ignores SIGCHLD (wait(2)).
                pid, status = child, None
            if pid:
                children.discard(child)
                self._child_ended(child, status)

    def _fork(self, request: RequestT, client_address: AddressT) -> int:
        """Fork, as fork(2): for a service to note whose child it is."""
        return os.fork()

    def _child_ended(self, pid: int, status: int | None) -> None:
        """Take note of a child's end; ``status`` is that of wait(2), or ``None`` if somebody else collected it."""

    def handle_timeout(self) -> None:
        """Collect children: no request came for ``timeout`` seconds."""
        self.collect_children()

    def service_actions(self) -> None:
        """Collect children, on each turn of the loop."""
        self.collect_children()

    def process_request(self, request: RequestT, client_address: AddressT) -> None:
        """Fork a child for the request.

        Raises:
            OSError: no process could be made; the loop reports it and closes the request.
        """
        pid = self._fork(request, client_address)
        if pid == 0:
            self.__run(request, client_address)
        if self.active_children is None:
            self.active_children = set()
        self.active_children.add(pid)
        # Not shutdown_request(): the child still talks on the connection.
        self.close_request(request)

    def __run(self, request: RequestT, client_address: AddressT) -> None:
        """Serve in the child, which never returns into the parent's code, its buffers or its exit hooks."""
        status = 1
        try:
            self.finish_request(request, client_address)
            status = 0
        except Exception:
            self.handle_error(request, client_address)
        finally:
            try:
                self.shutdown_request(request)
            finally:
                os._exit(status)

    def server_close(self) -> None:
        """Close the server, then collect its children."""
        super().server_close()
        self.collect_children(blocking=self.block_on_close)


def wait_for_any(pids: Iterable[int], timeout: float | None = None) -> None:
    """Wait until at least one of the children has ended, for ``timeout`` seconds at most, and collect none."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        try:
            for pid in pids:
                descriptor = os.pidfd_open(pid)
                stack.callback(os.close, descriptor)
                selector.register(descriptor, selectors.EVENT_READ)
        except ProcessLookupError:
            return  # ended and collected already
        except (AttributeError, OSError):
            # Linux before 5.3, another system, or out of descriptors: the caller looks again shortly.
            time.sleep(0.01)
            return
        selector.select(timeout)


class ForkingTCPServer(ForkingMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` that runs each connection in a process."""


class ForkingUDPServer(ForkingMixIn, UDPServer[InetAddressT]):
    """A ``UDPServer`` that runs each datagram in a process."""


class ForkingUnixStreamServer(ForkingMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` that runs each connection in a process."""


class ForkingUnixDatagramServer(ForkingMixIn, UnixDatagramServer):
    """A ``UnixDatagramServer`` that runs each datagram in a process."""
