"""``ThreadingMixIn``: each request in a thread of its own."""

from __future__ import annotations

import socket as _socket
import threading
from collections import deque
from types import GenericAlias
from typing import TYPE_CHECKING

from framework._types import AddressT, InetAddressT, MixIn, RequestT
from framework.inet import TCPServer, UDPServer
from framework.unix import UnixDatagramServer, UnixStreamServer

__all__ = [
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingUDPServer",
    "ThreadingUnixDatagramServer",
    "ThreadingUnixStreamServer",
]


class Threads(deque[threading.Thread]):
    """The threads to join at the end; those that are done leave along the way.

    Each newcomer looks at the two oldest: the dead leave, the living go to the back. So a thread costs two
    looks however many there are, and at most as many dead as living remain.
    """

    def append(self, thread: threading.Thread, /) -> None:
        """Take in a thread that has been started, unless nobody is to wait for it."""
        if thread.daemon:
            return
        for _ in range(2):
            try:
                oldest = self.popleft()
            except IndexError:
                break
            if oldest.is_alive():
                super().append(oldest)
        super().append(thread)

    def join(self) -> None:
        """Wait for every thread to end, except the one that asks."""
        while self:
            thread = self.popleft()
            if thread is not threading.current_thread():
                thread.join()


class NoThreads:
    """The threads of a server that waits for none, shared by all such servers."""

    def append(self, thread: threading.Thread, /) -> None:
        """Do nothing."""

    def join(self) -> None:
        """Do nothing."""


class ThreadingMixIn(MixIn[RequestT, AddressT]):
    """Runs each request in a new thread; goes before the server class among the bases.

    It has no ``__init__``, so it also works in classes that call only that of the server.
    """

    daemon_threads: bool = False
    """Whether the threads end with the program, unfinished."""
    block_on_close: bool = True
    """Whether ``server_close()`` waits for the threads; daemon threads are never waited for."""

    _threads: Threads | NoThreads = NoThreads()

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def process_request_thread(self, request: RequestT, client_address: AddressT) -> None:
        """Run the request to its end; runs in the new thread."""
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)

    def process_request(self, request: RequestT, client_address: AddressT) -> None:
        """Start a thread for the request.

        Raises:
            RuntimeError: no thread could be started; the loop reports it and closes the request.
        """
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address))
        thread.daemon = self.daemon_threads
        thread.start()
        # Only now: a thread that could not be started cannot be joined either.
        if self.block_on_close:
            vars(self).setdefault("_threads", Threads()).append(thread)

    def server_close(self) -> None:
        """Close the server, then wait for its threads."""
        super().server_close()
        self._threads.join()


class ThreadingTCPServer(ThreadingMixIn, TCPServer[_socket.socket, InetAddressT]):
    """A ``TCPServer`` that runs each connection in a thread."""


class ThreadingUDPServer(ThreadingMixIn, UDPServer[InetAddressT]):
    """A ``UDPServer`` that runs each datagram in a thread."""


class ThreadingUnixStreamServer(ThreadingMixIn, UnixStreamServer):
    """A ``UnixStreamServer`` that runs each connection in a thread."""


class ThreadingUnixDatagramServer(ThreadingMixIn, UnixDatagramServer):
    """A ``UnixDatagramServer`` that runs each datagram in a thread."""
