"""``TLSMixIn``: a service over TLS.

``class Mail(TLSMixIn, ThreadingMixIn, TCPServer)``: the mix-in is a ``ServiceMixIn`` itself, so that there is no
wrong order for the two to stand in.

The handshake happens in the worker: a client that never finishes it holds up nobody but itself, and itself for
no longer than ``handshake_timeout``.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from framework._types import AddressT, RequestT
from framework.connection import Connection
from framework.events import CloseReason
from framework.inet import UDPServer
from framework.proxy import ProxyMixIn
from framework.service import ServiceMixIn
from framework.tls_connection import TLSConnection

__all__ = ["TLSMixIn"]

# After these the peer should not take what it got for the whole (RFC 8446 section 6.1).
_UNFINISHED = frozenset({CloseReason.ERROR, CloseReason.HANDSHAKE})


class TLSMixIn(ServiceMixIn[RequestT, AddressT]):
    """Serves over TLS: a ``ServiceMixIn`` whose workers shake hands before they call the handler.

    Mutual TLS, SNI and ALPN are set on the context, in ``make_ssl_context()``.
    """

    certfile: str | os.PathLike[str] | None = None
    """The certificate and those it rests upon, in PEM."""
    keyfile: str | os.PathLike[str] | None = None
    """Its private key, unless that is in the same file."""
    ssl_context: ssl.SSLContext
    """What new connections use; may be replaced at any time. Unless it is set, ``make_ssl_context()`` makes it."""
    implicit_tls: bool = True
    """Whether a connection begins with the handshake (RFC 8314 section 3); otherwise it is the handler that calls
    ``self.request.start_tls(self.server.ssl_context)``."""

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        datagrams: type = UDPServer  # of which a checker knows that no stream service is one
        if issubclass(cls, datagrams):
            raise TypeError(f"{cls.__name__}: TLS needs a stream, and this server takes datagrams")
        if ProxyMixIn in cls.__mro__[cls.__mro__.index(TLSMixIn) :]:
            raise TypeError(
                f"{cls.__name__}: ProxyMixIn goes before TLSMixIn, as its header before the handshake"
            )

    def make_ssl_context(self) -> ssl.SSLContext:
        """Return what connections from now on are to use; called at the start, and by ``reload()``.

        Raises:
            ValueError: there is no ``certfile``.
            OSError: it cannot be read, or (``ssl.SSLError``) holds something else.
        """
        if self.certfile is None:
            raise ValueError(
                f"{type(self).__name__} needs a certfile, an ssl_context or a make_ssl_context()"
            )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certfile, self.keyfile)
        return context

    def reload(self) -> None:
        """Read the certificate anew, for connections from now on; those that are open keep theirs.

        Raises:
            ValueError: as ``make_ssl_context()``; the old one then stays in use.
            OSError: likewise.
        """
        self.ssl_context = self.make_ssl_context()

    def server_activate(self) -> None:
        """Make the context, so that a missing certificate is met at the start, and begin to listen."""
        self.__begin()
        super().server_activate()

    def __begin(self) -> None:
        if not hasattr(self, "ssl_context"):
            self.reload()

    def finish_request(self, request: RequestT, client_address: AddressT) -> None:
        """Shake hands, then serve the request by a handler.

        Raises:
            HandshakeError: that failed, or took longer than ``handshake_timeout``.
        """
        if not isinstance(request, Connection):
            raise TypeError(f"TLS needs a Connection, and get_request() returned {request!r}")
        connection = TLSConnection.of(request)
        self.__begin()  # a server that was handed its socket was not activated
        if self.implicit_tls:
            connection.shake_hands(self.ssl_context, connection.handshake_within(self.handshake_timeout))
        super().finish_request(request, client_address)

    def shutdown_request(self, request: RequestT) -> None:
        """Say that all was sent, if so, and end the connection."""
        if isinstance(request, TLSConnection) and request.reason not in _UNFINISHED:
            with contextlib.suppress(OSError):
                request.close_notify()
        super().shutdown_request(request)
