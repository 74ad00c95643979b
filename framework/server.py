"""``BaseServer``: the way of one request through its hooks, and the loop that starts it.

A server class deals with communication: it knows where requests come from and who runs them. What a
request means is the handler's business. The hooks, in the order in which they run::

    get_request ─▶ verify_request ─▶ process_request ─▶ finish_request ─▶ the handler
                                                     └▶ shutdown_request ─▶ close_request

Request and client address are opaque here. Programs put TLS connections, pairs of files and tuples of
their own in both places, so nothing in this file unpacks, formats or hashes them.

All state of our own is name-mangled: subclasses out there use every short name already.
"""

from __future__ import annotations

import errno
import selectors
import sys
import threading
import time
import traceback
from types import GenericAlias
from typing import TYPE_CHECKING, Self

from framework._loop import Loop, Waker
from framework._types import AddressT, Generic, RequestT

if TYPE_CHECKING:
    import socket as _socket

    from framework._types import HandlerFactory

__all__ = ["BaseServer"]

# poll() takes any number of descriptors of any size and, unlike epoll, none of its own.
ServerSelector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)

# The errors of accept(2) that the next call meets again at once, while the listener stays readable: the
# system is out of descriptors or memory, or the listener itself is gone.
LASTING_ERRORS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EBADF, errno.EINVAL, errno.ENOTSOCK}
)

# How long to leave the listener alone after one of these, in seconds. Trio and Ranch wait 100 ms too: long
# enough to cost nothing, short enough for clients that queue in the backlog meanwhile.
REST = 0.1


class BaseServer(Generic[RequestT, AddressT]):
    """A server of any kind: it stores an address and a handler, and runs the hooks.

    It opens no socket. Subclasses bring ``get_request()``, ``fileno()`` and, for ``handle_request()``, a
    ``socket`` with a ``gettimeout()``.

    Args:
        server_address: where the server listens, in the form its address family asks for.
        RequestHandlerClass: called with ``(request, client_address, server)`` for each request. Looked
            up anew each time, so it may be replaced at run time.
    """

    timeout: float | None = None
    """Seconds that ``handle_request()`` waits before it calls ``handle_timeout()``; ``None``: for ever."""

    server_address: AddressT
    RequestHandlerClass: HandlerFactory[RequestT, AddressT, Self]

    # While serve_forever() runs: what shutdown() wakes.
    __loop: Loop | None = None
    # Whether a handler of datagrams that wrote nothing replies all the same, with nothing: the letter.
    _sends_empty_replies: bool = True
    # Whether the last get_request() met an error that the next would meet again.
    __starved: bool = False

    if TYPE_CHECKING:
        # The subclass brings these, or one of the classes it is mixed with: at run time they must not be in the way.
        # Only handle_request() asks for the socket.
        socket: _socket.socket

        def fileno(self) -> int:
            """Return the descriptor that is readable when a request waits."""
            ...

        def get_request(self) -> tuple[RequestT, AddressT]:
            """Take the next request from the system; runs on the loop, once the descriptor is readable.

            Returns:
                The request and its client's address.

            Raises:
                OSError: there is none after all; the loop goes on.
            """
            ...

    else:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(
        self, server_address: AddressT, RequestHandlerClass: HandlerFactory[RequestT, AddressT, Self]
    ) -> None:
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass
        # Both names are part of the letter: programs set the flag from handlers and signal handlers.
        self.__is_shut_down = threading.Event()
        self.__shutdown_request = False

    # -- serving ---------------------------------------------------------------------------------------

    def serve_forever(self, poll_interval: float | None = 0.5) -> None:
        """Serve requests until ``shutdown()`` is called; may be called again afterwards.

        ``service_actions()`` runs after each turn, at least every ``poll_interval`` seconds. ``shutdown()``
        does not wait for the interval; the flag set by hand is seen within it. ``timeout`` plays no part.

        Args:
            poll_interval: seconds between two looks at the shutdown flag; ``None``: none are needed.

        Raises:
            Exception: whatever ``handle_error()``, ``verify_request()`` or ``service_actions()`` raises.
            BaseException: whatever a hook raises that is no ``Exception``, such as ``SystemExit``.
        """
        self.__is_shut_down.clear()
        try:
            with self._open_loop() as loop:
                loop.watch(self)
                # Published before the first look at the flag: shutdown() sets the flag first and looks
                # for the loop second, so one of the two sees the other.
                self.__loop = loop
                while not self.__shutdown_request:
                    if self.__starved:
                        self.__starved = False
                        loop.rest(REST if poll_interval is None else min(REST, poll_interval))
                    ready = loop.wait(poll_interval)
                    if self.__shutdown_request:
                        break  # type: ignore[unreachable] # not for mypy to know: another thread set it
                    if ready:
                        self._handle_request_noblock()
                    self._take_actions()
        finally:
            self.__loop = None
            self.__shutdown_request = False
            self.__is_shut_down.set()

    def _take_actions(self) -> None:
        self.service_actions()

    def _open_loop(self) -> Loop:
        """Return what ``serve_forever()`` is to wait with."""
        return Loop(selector_class()(), waker())

    def shutdown(self) -> None:
        """Stop ``serve_forever()`` and wait until it has returned.

        Call it from another thread than the one that serves, or it waits for itself. It also waits for a
        ``serve_forever()`` that has not begun yet, which will then return at once.
        """
        self.__shutdown_request = True
        loop = self.__loop
        if loop is not None:
            loop.wake()
        self.__is_shut_down.wait()

    def service_actions(self) -> None:
        """Do what the server must do now and then; runs on the loop after each turn of it."""

    def handle_request(self) -> object:
        """Wait for one request and start it, or call ``handle_timeout()`` when none came in time.

        Waits for the shorter of the socket's own timeout and ``timeout``. Does not look at ``shutdown()``.

        Returns:
            What ``handle_timeout()`` returned, otherwise ``None``.
        """
        limits = [limit for limit in (self.socket.gettimeout(), self.timeout) if limit is not None]
        timeout = min(limits) if limits else None
        deadline = None if timeout is None else time.monotonic() + timeout
        with Loop(selector_class()()) as loop:
            loop.watch(self)
            while not loop.wait(timeout):
                if deadline is not None:
                    timeout = deadline - time.monotonic()
                    if timeout < 0:
                        return self.handle_timeout()
        return self._handle_request_noblock()

    def _handle_request_noblock(self) -> object:
        """Take one request that is ready and start it.

        Loops outside the framework call it on a server whose descriptor is readable, so the name is
        part of the letter. An ``OSError`` from ``get_request()`` means that there is no request.
        """
        try:
            request, client_address = self.get_request()
        except OSError as error:
            self.__starved = error.errno in LASTING_ERRORS
            return None
        if not self.verify_request(request, client_address):
            self.shutdown_request(request)
            return None
        try:
            self.process_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
            self.shutdown_request(request)
        except BaseException:
            self.shutdown_request(request)
            raise
        return None

    # -- the hooks -------------------------------------------------------------------------------------

    def verify_request(self, request: RequestT, client_address: AddressT) -> bool:
        """Tell whether to serve the request; runs on the loop, so it must not block."""
        return True

    def process_request(self, request: RequestT, client_address: AddressT) -> None:
        """Run the request, here and now; the mix-ins hand it to a thread or a process instead."""
        self.finish_request(request, client_address)
        self.shutdown_request(request)

    def finish_request(self, request: RequestT, client_address: AddressT) -> None:
        """Serve the request to its end by one handler."""
        # mypy binds Self in the attribute to the class, and the argument to the instance.
        self.RequestHandlerClass(request, client_address, self)  # type: ignore[arg-type]

    def shutdown_request(self, request: RequestT) -> None:
        """End the request from our side, then close it."""
        self.close_request(request)

    def close_request(self, request: RequestT) -> None:
        """Give back what the request holds in this process."""

    def handle_error(self, request: RequestT, client_address: AddressT) -> None:
        """Report the exception that is being handled; runs inside the ``except`` block."""
        rule = "-" * 40
        where = f"Exception occurred during processing of request from {client_address!s}"
        print(rule, where, sep="\n", file=sys.stderr)  # noqa: T201 -- the letter: no logging
        traceback.print_exc()
        print(rule, file=sys.stderr)  # noqa: T201

    def handle_timeout(self) -> object:
        """Do what is due when ``handle_request()`` waited in vain."""
        return None

    # -- the server's own life -------------------------------------------------------------------------

    def server_activate(self) -> None:
        """Begin to listen."""

    def server_close(self) -> None:
        """Give back what the server holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.server_close()


def selector_class() -> type[selectors.BaseSelector]:
    """Return the selector to wait with: programs replace this name on the package."""
    chosen: type[selectors.BaseSelector] = vars(sys.modules["framework"])["_ServerSelector"]
    return chosen


def waker() -> Waker | None:
    """Return what shutdown() wakes the loop with, or ``None`` where it must be polled for."""
    try:
        return Waker()
    except OSError:
        # No descriptors left: serving with a slower shutdown beats not serving.
        return None
