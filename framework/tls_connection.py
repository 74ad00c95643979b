"""``TLSConnection``: a connection over TLS, as the handlers of a ``TLSMixIn`` have it.

It is the object that was accepted, registered, watched and drained as ever; its class is what changed, and by it
the four ways in which its octets come and go. The rules:

1. OpenSSL gets no socket, only memory. What the system did not take of an encrypted record is kept and leaves
   before anything else: a record that is cut off would end the connection.
2. Two locks. ``guard`` is held by whoever uses the SSL object, which is never for I/O; ``sending`` by whoever puts
   encrypted octets on the wire, so that they leave in the order in which they were encrypted. A writer takes
   ``sending`` first. A reader waits for neither, so one thread may read while others write.
3. Once TLS has begun nothing is ever read or written in plain: what cannot be done over it is refused.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import math
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, cast

from framework.connection import DONTWAIT, Connection, HandshakeError, Phase
from framework.reader import Reader
from framework.tls_session import Session

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["TLSConnection", "TLSError"]

# Octets asked of one recv(): two whole records (RFC 8446 section 5.2: up to 16 640 octets each), and as many again
# as are left of a third.
_WIRE = 32768
# Octets encrypted before they are sent: four records, so that a long reply needs few system calls.
_PIECE = 65536
# Octets of alerts and key updates that may wait for a peer who makes us answer and does not read.
_ANSWERS = 65536

_SENDING_FLAGS = DONTWAIT | int(socket.MSG_NOSIGNAL)


class TLSError(ConnectionError):
    """The peer broke the protocol, or its stream was cut off within a request."""


class TLSConnection(Connection):
    """A connection over TLS, as a ``TLSMixIn`` hands it to a handler; in plain until ``start_tls()``.

    One thread may read while others write. ``recv()`` and ``send()`` know no flag but ``MSG_DONTWAIT``, and what
    has no meaning in a stream over TLS (``sendmsg()``, ``recvfrom()``, …) raises ``OSError``.
    """

    __slots__ = ()

    _tls: Session

    # The class below may have shortcuts past its own four ways, as that of greenlets has; here they would go past TLS.
    recv = Connection.recv
    recv_into = Connection.recv_into
    recv_rest = Connection.recv_rest
    send = Connection.send
    sendall = Connection.sendall
    _write = Connection._write  # noqa: SLF001

    @classmethod
    def of(cls, connection: Connection) -> TLSConnection:
        """Turn a connection, of whatever class, into one that can speak TLS."""
        # By cast: to a checker, what is in the variable remains what it was.
        turned = cast("TLSConnection", connection)
        kind: type = type(connection)
        turned.__class__ = cls if kind is Connection else _over(kind)
        turned._tls = Session(turned.new_lock())  # noqa: SLF001 -- it is one of us now
        return turned

    # -- beginning ---------------------------------------------------------------------------------------------

    def start_tls(self, context: ssl.SSLContext, timeout: float | None = 5) -> None:
        """Speak TLS from here on: for a command such as STARTTLS, after the reply that agrees to it.

        Nobody else may be writing. What the peer said before may have been said by anybody: forget it, its name
        and all (RFC 3207 section 4.2).

        Args:
            context: with the certificate of this server.
            timeout: seconds for the whole handshake; ``None``: no limit.

        Raises:
            HandshakeError: it failed, or the peer had sent more in plain, which must not pass as said over TLS
                (CVE-2011-0411). The connection is of no more use.
            RuntimeError: TLS has begun already, or the input is read by a file that may hold some of it.
        """
        tls = self._tls
        if tls.engine is not None:
            raise RuntimeError("the connection speaks TLS already")
        if tls.opaque:
            raise RuntimeError(
                "read by rfile or recv() before start_tls(): other files may hold input unseen"
            )
        if self._reader is not None and self._reader.pending:
            raise HandshakeError("input in plain behind the command that starts TLS")
        if self._held:
            self.release()
        self.shake_hands(context, math.inf if timeout is None else time.monotonic() + timeout)

    def shake_hands(self, context: ssl.SSLContext, end: float) -> None:
        """Do the handshake as a server, until ``end`` on the monotonic clock.

        Raises:
            HandshakeError: it failed, or was not over in time.
        """
        tls = self._tls
        # A peer must not make us shake hands again and again (CVE-2011-1473).
        context.options |= ssl.OP_NO_RENEGOTIATION
        timeout = self.gettimeout()
        self.handshake_end = end
        self.phase = Phase.OPENING
        try:
            with tls.sending:
                tls.engine = context.wrap_bio(tls.incoming, tls.outgoing, server_side=True)
                while not self._handshake_step(tls, tls.engine, end):
                    self.wait_until(end)
                    tls.incoming.write(self._receive_more())
        except TimeoutError:
            raise HandshakeError("the TLS handshake took too long") from None
        except ssl.SSLError as error:
            raise HandshakeError(_reason(error)) from error
        except ConnectionError as error:
            raise HandshakeError(f"the peer left in the TLS handshake: {error}") from error
        finally:
            self.settimeout(timeout)
            self.phase = Phase.BUSY

    def _handshake_step(self, tls: Session, engine: ssl.SSLObject, end: float) -> bool:
        """Answer what has come so far; tell whether the handshake is over."""
        over = True
        try:
            with tls.guard:
                engine.do_handshake()
        except ssl.SSLWantReadError:
            over = False
        except ssl.SSLError:
            with contextlib.suppress(OSError):  # the alert; what went wrong is of more interest
                self._flush(tls, DONTWAIT)
            raise
        self.wait_until(end)
        self._flush(tls, 0)
        return over

    def _receive_more(self) -> bytes:
        octets = super().raw_recv(_WIRE)
        if not octets:
            raise ConnectionAbortedError("end of input")
        return octets

    # -- reading -----------------------------------------------------------------------------------------------

    def raw_recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive what was decrypted."""
        tls = self._tls
        if tls.engine is None:
            return super().raw_recv(bufsize, flags)
        _refuse_flags(flags, DONTWAIT)
        octets = b""
        while True:
            with tls.guard:
                if octets:
                    tls.incoming.write(octets)
                try:
                    data = tls.read(bufsize)
                    fault = None
                except ssl.SSLError as error:
                    data, fault = None, error
                answers = tls.outgoing.pending
            if answers:
                self._answer(tls)
            if fault is not None:
                raise TLSError(_reason(fault)) from fault
            if data is not None:
                return data
            octets = super().raw_recv(_WIRE, flags)
            if not octets:
                self._cut_off(tls)
                return b""

    def raw_recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive what was decrypted."""
        if self._tls.engine is None:
            return super().raw_recv_into(buffer, nbytes, flags)
        with memoryview(buffer) as view, view.cast("B") as octets:
            data = self.raw_recv(nbytes or len(octets), flags)
            octets[: len(data)] = data
        return len(data)

    def swallow(self, size: int, flags: int = 0) -> int:
        """Receive what nobody will read, nor decrypt."""
        return len(super().raw_recv(size, flags))

    def _cut_off(self, tls: Session) -> None:
        """Take note that the wire ended without a word, unless that was our own drain or deadline."""
        if self.reason is not None:
            return
        tls.truncated = True
        # Between requests it is bad manners, and common. Within one, somebody on the way may have cut it short.
        if self.phase is Phase.READING:
            raise TLSError("the peer's stream was cut off within a request: no close_notify")

    @property
    def truncated(self) -> bool:
        """Whether the input ended without the peer's word that it does (close_notify, RFC 8446 section 6.1).

        For protocols in which the end of the stream ends a message. A file as of ``makefile("rb")`` raises
        ``TLSError`` by itself when that happens after a part of what was asked of it.
        """
        return self._tls.truncated

    def woken(self) -> bool:
        """Go on in the calling thread; what has come may be a part of a record, of which nothing can be read yet."""
        super().woken()
        return (
            self._tls.engine is None or self._reader is None or self.gettimeout() is not None or self.poll()
        )

    @property
    def buffered(self) -> bool:
        """Whether input has come that has not been read, decrypted or not."""
        return super().buffered or (self.pending() > 0 and self.poll())

    def pending(self) -> int:
        """Return how many octets, at least, have come from the system and wait here: no selector sees those."""
        tls = self._tls
        with tls.guard:
            return 0 if tls.engine is None else tls.engine.pending() + tls.incoming.pending

    def makefile(self, mode: str = "r", buffering: int | None = None, **text: Any) -> Any:
        """Return a file, as ``Connection.makefile()``."""
        # A reader that another takes the place of may hold some.
        self._tls.opaque |= self._reader is not None and self._reader.pending
        file = super().makefile(mode, buffering, **text)
        if "w" not in mode or "r" in mode:
            self._tls.opaque |= not isinstance(file, Reader | io.RawIOBase)
        return file

    # -- writing -----------------------------------------------------------------------------------------------

    def raw_send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send up to four records; the whole of what the returned size counts is on its way.

        A send that would block may have encrypted its data all the same. Repeated, by ``sendall()`` too, it finds
        that done; what is sent instead follows behind it.
        """
        tls = self._tls
        if tls.engine is None:
            return super().raw_send(data, flags)
        _refuse_flags(flags, _SENDING_FLAGS)
        if not tls.sending.acquire(blocking=not flags & DONTWAIT and self.gettimeout() != 0):
            raise BlockingIOError(errno.EAGAIN, "another thread is sending")
        try:
            self._flush(tls, flags)
            with memoryview(data) as view, view.cast("B") as octets:
                if done := tls.settle(octets):
                    return done
                piece = octets[:_PIECE]
                self._encrypt(tls, piece)
                try:
                    self._flush(tls, flags)
                except (BlockingIOError, TimeoutError):
                    tls.owed = bytes(piece)
                    raise
                return len(piece)
        finally:
            tls.sending.release()

    def raw_sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Encrypt and send all of ``data``."""
        tls = self._tls
        if tls.engine is None:
            super().raw_sendall(data, flags)
            return
        _refuse_flags(flags, _SENDING_FLAGS)
        with tls.sending, memoryview(data) as view, view.cast("B") as octets:
            self._flush(tls, flags)
            for start in range(tls.settle(octets), len(octets), _PIECE):
                self._encrypt(tls, octets[start : start + _PIECE])
                self._flush(tls, flags)

    def _encrypt(self, tls: Session, octets: memoryview) -> None:
        """Encrypt all of ``octets``; with ``sending`` held."""
        assert tls.engine is not None  # noqa: S101 -- whoever writes has looked
        try:
            with tls.guard:
                while octets:
                    octets = octets[tls.engine.write(octets) :]
        except ssl.SSLError as error:
            raise TLSError(_reason(error)) from error

    def _flush(self, tls: Session, flags: int) -> None:
        """Send what is encrypted; with ``sending`` held."""
        while tls.refill():
            sent = super().raw_send(tls.unsent, flags)
            tls.unsent = tls.unsent[sent:]

    def _answer(self, tls: Session) -> None:
        """Send what reading gave rise to, if that can be done at once: the next write takes the rest along."""
        if tls.sending.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError):  # a peer that has gone may have left something to read
                    self._flush(tls, DONTWAIT)
            finally:
                tls.sending.release()
        with tls.guard:
            waiting = tls.outgoing.pending
        if waiting > _ANSWERS:
            raise TLSError("the peer asks for answers and does not read them")

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file, as ``socket.sendfile()``; over TLS, by reading it."""
        if self._tls.engine is None:
            return super().sendfile(file, offset, count)
        # What the original falls back to where the system has no sendfile(2), which would send in plain.
        return cast("int", getattr(self, "_sendfile_use_send")(file, offset, count))  # noqa: B009 -- not in the stubs

    # -- ending ------------------------------------------------------------------------------------------------

    def shutdown(self, how: int, /) -> None:
        """End one direction or both, as ``socket.shutdown()``; of the output alone, in good order.

        Ending both cuts the connection off at once, from any thread, and the peer sees that it was.
        """
        if how == socket.SHUT_WR:
            self.close_notify()
        super().shutdown(how)

    def close_notify(self) -> None:
        """Tell the peer that all was sent (RFC 8446 section 6.1); does nothing the second time.

        Raises:
            OSError: it could not be told.
        """
        tls = self._tls
        if tls.engine is None:
            return
        if self._held:
            self.release()  # what was said before; after this word nothing more is heard
        self.turns += 1
        self.phase = Phase.WRITING
        with tls.sending:
            with tls.guard:
                if not tls.closing:
                    tls.closing = True
                    # It goes on to wait for the peer's own, and says that by raising.
                    with contextlib.suppress(ssl.SSLError):
                        tls.engine.unwrap()
            self._flush(tls, 0)
        self.phase = Phase.BUSY

    # -- what was agreed on ------------------------------------------------------------------------------------

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the client's certificate, as ``ssl.SSLSocket.getpeercert()``; ``None`` without TLS."""
        return self._ask("getpeercert", binary_form)

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol that was agreed on (RFC 7301), or ``None``."""
        return cast("str | None", self._ask("selected_alpn_protocol"))

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher's name, its protocol and its secret bits; ``None`` without TLS."""
        return cast("tuple[str, str, int] | None", self._ask("cipher"))

    def version(self) -> str | None:
        """Return the version, such as ``"TLSv1.3"``; ``None`` without TLS."""
        return cast("str | None", self._ask("version"))

    def _ask(self, what: str, *args: Any) -> Any:
        tls = self._tls
        with tls.guard:
            return None if tls.engine is None else getattr(tls.engine, what)(*args)


def _in_plain_only(name: str) -> Any:
    """Return a method of sockets that is refused once TLS has begun, since it would go past it."""
    original = getattr(socket.socket, name)

    @functools.wraps(original)
    def method(self: TLSConnection, *args: Any, **kwargs: Any) -> Any:
        if self._tls.engine is not None:  # pyright: ignore[reportPrivateUsage] # a method, if made outside
            raise OSError(errno.EOPNOTSUPP, f"{name}() is not possible over TLS")
        return original(self, *args, **kwargs)

    return method


for _name in ("recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "sendmsg", "sendto"):
    setattr(TLSConnection, _name, _in_plain_only(_name))


@functools.lru_cache
def _over(kind: type) -> type[TLSConnection]:
    """Return the class of a connection of that kind that speaks TLS."""
    return type(f"TLS{kind.__name__}", (TLSConnection, kind), {"__slots__": ()})


def _refuse_flags(flags: int, known: int) -> None:
    if flags & ~known:
        raise ValueError(f"flags 0x{flags & ~known:x} have no meaning over TLS")


def _reason(error: ssl.SSLError) -> str:
    """Return what an operator can make use of: OpenSSL's own words, without the line in its source."""
    words = (error.reason or str(error)).replace("_", " ").lower()
    message = getattr(error, "verify_message", "")
    return f"{words}: {message}" if message else words
