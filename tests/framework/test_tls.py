"""What a service over TLS promises its handlers, its clients and its operator."""

from __future__ import annotations

import contextlib
import errno
import io
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from framework import (
    BaseRequestHandler,
    Flusher,
    Outbox,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    UDPServer,
)
from framework.connection import Connection, HandshakeError, Phase
from framework.events import CloseReason, ConnectionClosed, HandlerFailed, HandshakeFailed
from framework.greenlets import GreenletMixIn, at_turn_end
from framework.observers import Observer
from framework.service import ServiceMixIn
from framework.testing import Recorder
from framework.tls import TLSMixIn
from framework.tls_connection import TLSConnection, TLSError
from tests.framework.certificates import authority, client_context, server_context
from tests.framework.spec import PATIENCE, serving

LOOPBACK = ("127.0.0.1", 0)


class Certified(TLSMixIn):
    """Has a certificate of its own."""

    def make_ssl_context(self) -> ssl.SSLContext:
        """Return a context with it."""
        return server_context()


class Service(Certified, ThreadingMixIn, TCPServer):
    """A TLS service, each connection in a thread."""


class GreenService(Certified, GreenletMixIn, TCPServer):
    """A TLS service, each connection in a greenlet."""


each_model = pytest.mark.parametrize("kind", [Service, GreenService])


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


Handle = Callable[[Any], None]


def handler(handle: Handle) -> type[StreamRequestHandler]:
    """Return a handler of which only ``handle()`` is of interest."""
    return type("Handler", (StreamRequestHandler,), {"handle": handle})


@contextlib.contextmanager
def running(kind: Any, handler_class: Any = Echo, **attributes: Any) -> Iterator[tuple[Any, Recorder]]:
    """Serve, and record what happens."""
    server = type(kind.__name__, (kind,), attributes)(LOOPBACK, handler_class)
    recorder = Recorder()
    server.observe(recorder)
    with serving(server):
        yield server, recorder


def dial(server: Any) -> socket.socket:
    """Connect, without TLS."""
    return socket.create_connection(server.server_address, PATIENCE)


def connect(server: Any, context: ssl.SSLContext | None = None, name: str = "localhost") -> ssl.SSLSocket:
    """Connect and shake hands; a stream that is cut off raises ``ssl.SSLEOFError``."""
    context = context or client_context()
    return context.wrap_socket(dial(server), server_hostname=name, suppress_ragged_eofs=False)


def ask(client: socket.socket, line: bytes) -> bytes:
    """Send a line and read the answering one."""
    client.sendall(line)
    answer = b""
    while not answer.endswith(b"\n") and (octets := client.recv(1000)):
        answer += octets
    return answer


@pytest.fixture
def pair() -> Iterator[tuple[TLSConnection, ssl.SSLSocket]]:
    """A connection with small buffers after its handshake: the server's end, and the client's."""
    with secured() as ends:
        yield ends


@contextlib.contextmanager
def secured(kind: type[Connection] = Connection) -> Iterator[tuple[TLSConnection, ssl.SSLSocket]]:
    """Make two ends and shake hands between them."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.settimeout(PATIENCE)
    connection = TLSConnection.of(kind(ours.family, ours.type, 0, ours.detach()))
    connection.line_limit = 1000
    server = threading.Thread(target=connection.start_tls, args=(server_context(), PATIENCE))
    server.start()
    client = client_context().wrap_socket(theirs, server_hostname="localhost", suppress_ragged_eofs=False)
    server.join(PATIENCE)
    with connection, client:
        yield connection, client


def read(peer: socket.socket, size: int) -> bytes:
    """Read exactly ``size`` octets."""
    data = bytearray()
    while len(data) < size:
        octets = peer.recv(65536)
        assert octets
        data += octets
    return bytes(data)


# -- what the context can do ---------------------------------------------------------------------------------------


def test_what_was_agreed_on_can_be_asked() -> None:
    """A handler can ask for version, cipher and application protocol (ALPN)."""

    def handle(self: Any) -> None:
        request = self.request
        self.wfile.write(
            f"{request.version()} {request.cipher()[0]} {request.selected_alpn_protocol()}\n".encode()
        )

    def context(self: Service) -> ssl.SSLContext:
        made = server_context()
        made.set_alpn_protocols(["irc", "xmpp-client"])
        return made

    client_side = client_context()
    client_side.set_alpn_protocols(["xmpp-client", "http/1.1"])
    with (
        running(Service, handler(handle), make_ssl_context=context) as (server, _),
        connect(server, client_side) as client,
    ):
        cipher = client.cipher()
        assert cipher is not None
        assert ask(client, b"\n") == f"{client.version()} {cipher[0]} xmpp-client\n".encode()


def mutual(self: Service) -> ssl.SSLContext:
    """Return a context that asks for the client's certificate."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    return context


def test_a_client_shows_its_certificate() -> None:
    """With mutual TLS a handler knows its client by certificate."""

    def handle(self: Any) -> None:
        names = [name for _, name in self.request.getpeercert()["subjectAltName"]]
        self.wfile.write(f"{names}\n".encode())

    alice = client_context("alice.example")
    with (
        running(Service, handler(handle), make_ssl_context=mutual) as (server, _),
        connect(server, alice) as client,
    ):
        assert ask(client, b"\n") == b"['alice.example']\n"


def test_a_client_without_certificate_gets_no_handler() -> None:
    """With mutual TLS a client that shows no certificate never reaches a handler."""
    with running(Service, make_ssl_context=mutual) as (server, recorder):
        # Over TLS 1.3 the client learns of it only by its first read (RFC 8446 appendix E.1.2).
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"), connect(server) as client:
            client.recv(1)
        assert "did not return a certificate" in str(recorder.wait_for(HandshakeFailed)[0].error)
        assert recorder.wait_for(ConnectionClosed)[0].reason is CloseReason.HANDSHAKE


def test_a_refused_client_learns_why() -> None:
    """The alert reaches a client that has gone on to send, unread: no reset overtakes it."""
    with running(Service, make_ssl_context=mutual) as (server, _), connect(server) as client:
        with contextlib.suppress(OSError):
            client.sendall(bytes(10_000))
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
            client.recv(1)


def test_a_server_has_several_names() -> None:
    """By SNI (RFC 6066) each client gets the certificate of the name it asks for."""
    contexts = {name: server_context(name) for name in ("a.example", "b.example")}

    def context(self: Service) -> ssl.SSLContext:
        made = server_context()

        def choose(connection: ssl.SSLObject, name: str, _: ssl.SSLContext) -> None:
            connection.context = contexts[name]

        made.sni_callback = choose
        return made

    with running(Service, make_ssl_context=context) as (server, _):
        for name in contexts:
            with connect(server, name=name) as client:
                assert ask(client, b"hello\n") == b"hello\n"


def test_peers_cannot_renegotiate() -> None:
    """A handshake is done once per connection: each costs the server more than the client (CVE-2011-1473)."""
    with running(Service) as (server, _), connect(server) as client:
        assert ask(client, b"hello\n") == b"hello\n"
        assert server.ssl_context.options & ssl.OP_NO_RENEGOTIATION


# -- handshakes that fail ------------------------------------------------------------------------------------------


@each_model
def test_a_silent_client_holds_up_nobody(kind: type) -> None:
    """A client that connects and says nothing keeps no other waiting."""
    with running(kind) as (server, _), dial(server), connect(server) as client:
        assert ask(client, b"now\n") == b"now\n"


@each_model
def test_a_handshake_has_a_deadline(kind: type) -> None:
    """A client that does not shake hands in time is closed, and told of once."""
    with running(kind, handshake_timeout=0.05) as (server, recorder), dial(server) as client:
        assert client.recv(1) == b""
        assert "took too long" in str(recorder.wait_for(HandshakeFailed)[0].error)
        closed = recorder.wait_for(ConnectionClosed)[0]
        assert closed.reason is CloseReason.HANDSHAKE
        assert closed.seconds >= 0.05
        assert len(recorder.of(HandshakeFailed)) == 1


def test_the_deadline_is_that_of_the_whole_handshake() -> None:
    """A client that goes on sending an octet now and then gains no time by it."""
    incoming, hello = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(incoming, hello, server_hostname="localhost").do_handshake()
    failed = threading.Event()

    class Watch(Observer):
        def handshake_failed(self, event: HandshakeFailed) -> None:
            failed.set()

    with running(Service, handshake_timeout=0.2) as (server, _), dial(server) as client:
        server.observe(Watch())
        for octet in hello.read()[:-1]:
            if failed.wait(0.02):
                break
            client.send(bytes([octet]))
        assert failed.is_set()


@pytest.mark.parametrize(
    ("octets", "said"),
    [(b"GET / HTTP/1.1\r\n\r\n", "http request"), (b"\0" * 40, "version"), (b"", "the peer left")],
    ids=["http", "zeros", "nothing"],
)
def test_what_is_no_handshake_is_no_traceback(
    octets: bytes, said: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that does not speak TLS is one line in the log, and the next one is served."""
    caplog.set_level("INFO")
    with running(Service) as (server, recorder):
        with dial(server) as client:
            client.sendall(octets)
            client.shutdown(socket.SHUT_WR)
            recorder.wait_for(ConnectionClosed)[0]
        with connect(server) as client:
            assert ask(client, b"hello\n") == b"hello\n"
    assert said in str(recorder.wait_for(HandshakeFailed)[0].error)
    assert not recorder.of(HandlerFailed)
    assert "no handshake with" in caplog.text
    assert "Traceback" not in caplog.text + capfd.readouterr().err


def test_garbage_after_the_handshake_is_no_traceback() -> None:
    """A peer that breaks the protocol later on is a peer that left, and no fault of the handler."""
    with running(Service) as (server, recorder), connect(server) as client:
        assert ask(client, b"hello\n") == b"hello\n"
        socket.socket.send(client, b"\x17\x03\x03\x00\x20" + bytes(32))
        assert recorder.wait_for(ConnectionClosed)[0].reason is CloseReason.PEER
        assert not recorder.of(HandlerFailed)


# -- STARTTLS ------------------------------------------------------------------------------------------------------


class Upgrading(StreamRequestHandler["Service | GreenService"]):
    """Begins in plain; answers each line by the version of TLS it came over."""

    def handle(self) -> None:
        """Answer, and start TLS when asked to."""
        assert isinstance(self.request, TLSConnection)
        for line in self.rfile:
            if line == b"STARTTLS\r\n":
                self.wfile.write(b"ready\n")
                self.request.start_tls(self.server.ssl_context)
            else:
                self.wfile.write(f"{self.request.version()} {line.decode().strip()}\n".encode())


@each_model
def test_a_handler_starts_tls(kind: type) -> None:
    """A conversation that began in plain goes on over TLS, by the same files."""
    with running(kind, Upgrading, implicit_tls=False) as (server, _), dial(server) as client:
        assert ask(client, b"one\r\n") == b"None one\n"
        assert ask(client, b"STARTTLS\r\n") == b"ready\n"
        with client_context().wrap_socket(client, server_hostname="localhost") as secure:
            assert ask(secure, b"two\r\n") == f"{secure.version()} two\n".encode()


def test_plain_input_behind_starttls_is_refused() -> None:
    """Commands that somebody on the way put behind STARTTLS are never taken as said over TLS (CVE-2011-0411)."""
    with running(Service, Upgrading, implicit_tls=False) as (server, recorder), dial(server) as client:
        assert ask(client, b"STARTTLS\r\nEVIL\r\n") in {b"ready\n", b""}
        assert "in plain" in str(recorder.wait_for(HandshakeFailed)[0].error)
        assert recorder.wait_for(ConnectionClosed)[0].reason is CloseReason.HANDSHAKE


def test_starttls_has_a_deadline() -> None:
    """A client that asks for STARTTLS and then says nothing is closed in time."""

    def handle(self: Any) -> None:
        self.request.start_tls(self.server.ssl_context, 0.05)

    with running(Service, handler(handle), implicit_tls=False) as (server, recorder), dial(server) as client:
        assert client.recv(1) == b""
        assert "took too long" in str(recorder.wait_for(HandshakeFailed)[0].error)


def test_tls_starts_once(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """A second ``start_tls()`` is refused."""
    with pytest.raises(RuntimeError, match="already"):
        pair[0].start_tls(server_context())


@pytest.mark.parametrize("mode", ["r", "rwb"])
def test_tls_needs_to_see_what_was_read(mode: str) -> None:
    """A file that may hold input in plain, where it cannot be seen, forbids ``start_tls()``."""
    ours, theirs = socket.socketpair()
    connection = TLSConnection.of(Connection(ours.family, ours.type, 0, ours.detach()))
    with connection, theirs, connection.makefile(mode), pytest.raises(RuntimeError, match="rfile"):
        connection.start_tls(server_context())


def test_input_in_a_file_that_was_replaced_is_not_forgotten() -> None:
    """What one file read ahead forbids ``start_tls()`` although another was opened since."""
    ours, theirs = socket.socketpair()
    connection = TLSConnection.of(Connection(ours.family, ours.type, 0, ours.detach()))
    connection.line_limit = 100
    with connection, theirs:
        theirs.sendall(b"STARTTLS\nEVIL\n")
        assert connection.makefile("rb").readline() == b"STARTTLS\n"
        connection.makefile("rb")
        with pytest.raises(RuntimeError, match="rfile"):
            connection.start_tls(server_context())


def test_nothing_is_plain_after_a_failed_handshake() -> None:
    """A connection whose handshake failed carries nothing any more, in plain least of all."""
    ours, theirs = socket.socketpair()
    connection = TLSConnection.of(Connection(ours.family, ours.type, 0, ours.detach()))
    with connection, theirs:
        theirs.sendall(b"no TLS at all, and some more of that\n")
        with pytest.raises(HandshakeError):
            connection.start_tls(server_context())
        with pytest.raises(TLSError):
            connection.sendall(b"secret")
        theirs.sendall(b"plain")
        with pytest.raises(TLSError):
            connection.recv(100)
        connection.shutdown(socket.SHUT_RDWR)
        assert b"secret" not in theirs.recv(1000)


# -- certificates --------------------------------------------------------------------------------------------------


def write(folder: Path, name: str = "localhost") -> None:
    """Put a new certificate and its key into ``folder``."""
    issued = authority().issue_cert(name)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")


def test_reload_drops_nobody(folder: Path) -> None:
    """After ``reload()`` new clients get the new certificate, and those that are there stay on the old."""
    write(folder)
    files = {"certfile": folder / "cert.pem", "keyfile": folder / "key.pem"}
    with running(Service, make_ssl_context=TLSMixIn.make_ssl_context, **files) as (server, _):
        early = connect(server)
        assert ask(early, b"before\n") == b"before\n"
        write(folder)
        server.reload()
        late = connect(server)
        with early, late:
            assert ask(late, b"late\n") == b"late\n"
            assert ask(early, b"after\n") == b"after\n"
            assert early.getpeercert(binary_form=True) != late.getpeercert(binary_form=True)


def test_a_failed_reload_changes_nothing(folder: Path) -> None:
    """A certificate that cannot be read is told to whoever asks to reload, and the old one stays in use."""
    write(folder)
    files = {"certfile": folder / "cert.pem", "keyfile": folder / "key.pem"}
    with running(Service, make_ssl_context=TLSMixIn.make_ssl_context, **files) as (server, _):
        (folder / "cert.pem").write_text("nonsense")
        with pytest.raises(ssl.SSLError):
            server.reload()
        with connect(server) as client:
            assert ask(client, b"hello\n") == b"hello\n"


def test_no_certificate_is_met_at_the_start() -> None:
    """A server without a certificate does not start, and says what it lacks."""

    class Bare(TLSMixIn, ThreadingMixIn, TCPServer):
        pass

    with pytest.raises(ValueError, match="Bare needs a certfile"):
        Bare(LOOPBACK, Echo)


def test_a_foreign_authority_is_not_trusted() -> None:
    """A client that does not trust the certificate says so, and the server tells its operator."""
    foreign = server_context(ca=trustme.CA())
    with running(Service, ssl_context=foreign) as (server, recorder):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(server)
        assert "unknown ca" in str(recorder.wait_for(HandshakeFailed)[0].error)


def test_the_order_of_the_mixins_is_checked() -> None:
    """What would silently serve in plain cannot be declared."""
    late: Any = (ServiceMixIn, TLSMixIn, TCPServer)
    with pytest.raises(TypeError, match="MRO"):
        type("Wrong", late, {})
    datagrams: Any = (TLSMixIn, UDPServer)
    with pytest.raises(TypeError, match="datagrams"):
        type("Wrong", datagrams, {})


def test_what_is_no_connection_is_not_served_in_plain(caplog: pytest.LogCaptureFixture) -> None:
    """A ``get_request()`` that returns something else than a ``Connection`` fails instead of going without TLS."""

    def get_request(self: Any) -> Any:
        return self.socket.accept()

    with running(Service, get_request=get_request) as (server, recorder), dial(server) as client:
        assert client.recv(1) == b""
        assert "TLS needs a Connection" in str(recorder.wait_for(HandlerFailed)[0].error)


# -- ends ----------------------------------------------------------------------------------------------------------


@each_model
def test_replies_held_back_precede_the_end(kind: type) -> None:
    """A handler that leaves requests unread has its replies to the others sent before the end is told."""

    def handle(self: Any) -> None:
        for line in self.rfile:
            self.wfile.write(line)
            if line == b"quit\n":
                break

    with running(kind, handler(handle)) as (server, _), connect(server) as client:
        client.sendall(b"one\ntwo\nquit\nthree\n")
        assert read(client, 13) == b"one\ntwo\nquit\n"
        assert client.recv(1) == b""


@each_model
def test_the_end_of_a_reply_is_told(kind: type) -> None:
    """A handler that is done says so by close_notify, also behind a reply that is longer than any buffer."""
    reply = b"x" * 3_000_000
    with (
        running(kind, handler(lambda self: self.wfile.write(reply))) as (server, recorder),
        connect(server) as client,
    ):
        assert read(client, len(reply)) == reply
        assert client.recv(1) == b""
        assert recorder.wait_for(ConnectionClosed)[0].reason is CloseReason.LOCAL


def test_what_is_sent_later_is_encrypted() -> None:
    """What leaves at the end of a hub's turn passes through TLS, however long it is."""

    def handle(self: Any) -> None:
        for line in self.rfile:
            at_turn_end(partial(self.request.send_later, line * 300_000))

    with running(GreenService, handler(handle)) as (server, _), connect(server) as client:
        for line in (b"one\n", b"two\n"):
            client.sendall(line)
            assert read(client, 1_200_000) == line * 300_000


def test_a_reply_cut_short_is_seen_to_be() -> None:
    """After a handler that failed there is no close_notify, so what the client has does not pass as the whole."""

    def handle(self: Any) -> None:
        self.wfile.write(b"half of")
        raise ValueError("at the half")

    with running(Service, handler(handle)) as (server, _), connect(server) as client:
        assert read(client, 7) == b"half of"
        # An SSLEOFError, except for older patch releases of 3.11.
        with pytest.raises(ssl.SSLError, match=r"(?i)eof"):
            client.recv(1)


def test_half_a_close(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """After ``shutdown(SHUT_WR)`` the peer has its end of the input, and may still send."""
    connection, client = pair
    client.sendall(b"already under way\n")
    connection.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b""
    assert connection.recv(100) == b"already under way\n"


def test_a_stream_cut_off_within_a_request(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """A line whose end never comes is no line when the peer did not say that it is done."""
    connection, client = pair
    client.sendall(b"whole\npart")
    socket.socket.shutdown(client, socket.SHUT_WR)
    lines = connection.makefile("rb")
    assert lines.readline() == b"whole\n"
    with pytest.raises(TLSError, match="cut off"):
        lines.readline()
    assert connection.truncated


def test_a_stream_cut_off_between_requests(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """A peer that leaves between requests without close_notify is an end of the input, which can be asked about."""
    connection, client = pair
    client.sendall(b"whole\n")
    socket.socket.shutdown(client, socket.SHUT_WR)
    assert list(connection.makefile("rb")) == [b"whole\n"]
    assert connection.truncated


def test_a_stream_that_ends_well(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """A peer that says close_notify ended its stream itself, in the midst of a line even."""
    connection, client = pair
    client.sendall(b"whole\npart")
    client.settimeout(0)
    with contextlib.suppress(ssl.SSLError):
        client.unwrap()
    assert list(connection.makefile("rb")) == [b"whole\n", b"part"]
    assert not connection.truncated


def test_a_drain_ends_idle_clients() -> None:
    """A drain lets a handler that waits over TLS meet the end of its input, and its client a proper end."""
    left: list[bytes] = []

    def handle(self: Any) -> None:
        self.wfile.write(self.rfile.readline())
        left.append(self.rfile.readline())

    with running(Service, handler(handle)) as (server, recorder), connect(server) as client:
        assert ask(client, b"hello\n") == b"hello\n"
        (connection,) = server.info().connections
        while connection.phase is not Phase.IDLE:
            (connection,) = server.info().connections
        assert server.drain(PATIENCE).completed == 1
        assert client.recv(1) == b""
        assert left == [b""]
        assert recorder.wait_for(ConnectionClosed)[0].reason is CloseReason.DRAIN


def test_a_reader_woken_by_shut_rd_reads_no_plaintext(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """After the trick that wakes a blocked reader, what comes on the wire is still not read in plain."""
    connection, client = pair
    connection.end_input(CloseReason.DRAIN)
    assert connection.recv(100) == b""
    with contextlib.suppress(OSError):
        socket.socket.send(client, b"plain text\n")
    with contextlib.suppress(TLSError):
        assert connection.recv(100) == b""


# -- what a handler does with its connection -----------------------------------------------------------------------


def test_the_calls_of_a_socket(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """``recv``, ``recv_into``, ``send``, ``sendall`` and ``sendfile`` do what they do on any socket."""
    connection, client = pair
    client.sendall(b"abcdef")
    assert connection.recv(0) == b""
    assert connection.recv(2) == b"ab"
    assert connection.pending() >= 4
    buffer = bytearray(3)
    assert connection.recv_into(buffer) == 3
    assert connection.recv_into(buffer, 1) == 1
    assert buffer == b"fde"
    assert connection.pending() == 0
    assert connection.send(b"") == 0
    assert connection.send(memoryview(b"one ")) == 4
    connection.sendall(bytearray(b"two "))
    assert read(client, 8) == b"one two "
    assert connection.fileno() >= 0
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


def test_sendfile_encrypts(pair: tuple[TLSConnection, ssl.SSLSocket], folder: Path) -> None:
    """``sendfile()`` does not let the system send a file past the encryption."""
    connection, client = pair
    path = folder / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        assert connection.sendfile(file) == 7
    assert read(client, 7) == b"content"


def test_what_goes_past_tls_is_refused(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """No call sends or receives in plain once TLS has begun."""
    connection, _ = pair
    calls: list[Callable[[], object]] = [
        lambda: connection.recvfrom(1),
        lambda: connection.recvmsg(1),
        lambda: connection.recvfrom_into(bytearray(1)),
        lambda: connection.recvmsg_into([bytearray(1)]),
        lambda: connection.sendmsg([b"plain"]),
        lambda: connection.sendto(b"plain", "nowhere"),
    ]
    for call in calls:
        with pytest.raises(OSError, match="TLS") as caught:
            call()
        assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(ValueError, match="flags"):
        connection.send(b"x", socket.MSG_OOB)
    with pytest.raises(ValueError, match="flags"):
        connection.recv(1, socket.MSG_PEEK)


def test_timeouts(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """A timeout raises ``TimeoutError``, a connection that does not block ``BlockingIOError``; neither harms it."""
    connection, client = pair
    connection.settimeout(0.01)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(0)
    with pytest.raises(BlockingIOError):
        connection.recv(1)
    connection.settimeout(None)
    with pytest.raises(BlockingIOError):
        connection.recv(1, socket.MSG_DONTWAIT)
    client.sendall(b"x")
    assert connection.recv(1) == b"x"


def test_in_plain_it_is_any_connection() -> None:
    """Until TLS begins a connection does whatever a socket does."""
    ours, theirs = socket.socketpair()
    connection = TLSConnection.of(Connection(ours.family, ours.type, 0, ours.detach()))
    with connection, theirs:
        theirs.sendall(b"abcdef")
        assert connection.recv(2, socket.MSG_PEEK) == b"ab"
        buffer = bytearray(2)
        assert connection.recv_into(buffer) == 2
        assert connection.recvfrom(4)[0] == b"cdef"
        assert connection.send(b"one ") == 4
        connection.sendall(b"two ")
        assert connection.sendmsg([b"three ", b"four"]) == 10
        assert connection.sendfile(io.BytesIO(b" five")) == 5
        assert [connection.getpeercert(), connection.cipher(), connection.version()] == [None] * 3
        assert connection.pending() == 0
        connection.shutdown(socket.SHUT_WR)
        assert read(theirs, 23) == b"one two three four five"


# -- writers beside a reader ---------------------------------------------------------------------------------------


def fill(connection: TLSConnection, data: bytes) -> int:
    """Send without waiting until nothing more is taken; return how many octets were."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < len(data):
            sent += connection.send(data[sent:], socket.MSG_DONTWAIT)
    return sent


def test_a_partial_send_loses_nothing(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """What was encrypted and not taken by the system leaves first, once, when its send is repeated."""
    connection, client = pair
    data = bytes(range(256)) * 4000
    received: list[bytes] = []
    reading = threading.Thread(target=lambda: received.append(read(client, len(data))))
    sent = fill(connection, data)
    assert sent < len(data)
    reading.start()
    while sent < len(data):
        select.select([], [connection], [], PATIENCE)
        sent += fill(connection, data[sent:])
    reading.join(PATIENCE)
    assert received == [data]


def test_a_send_is_repeated_by_sendall(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """What a send that would have blocked had encrypted is not sent again by the ``sendall()`` that follows it."""
    connection, client = pair
    data = bytes(range(256)) * 4000
    received: list[bytes] = []
    reading = threading.Thread(target=lambda: received.append(read(client, len(data))))
    sent = fill(connection, data)
    assert connection._tls.owed
    reading.start()
    connection.sendall(data[sent:])
    reading.join(PATIENCE)
    assert received == [data]


def test_a_send_given_up_is_not_taken_for_the_next(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """After a send that would have blocked, other data is not mistaken for its repetition."""
    connection, client = pair
    received: list[bytes] = []

    def listen() -> None:
        received.append(client.recv(65536))
        while not received[-1].endswith(b"other"):
            received.append(client.recv(65536))

    reading = threading.Thread(target=listen)
    sent = fill(connection, b"a" * 200_000)
    reading.start()
    while not fill(connection, b"other"):
        select.select([], [connection], [], PATIENCE)
    reading.join(PATIENCE)
    octets = b"".join(received)
    assert len(octets) - 5 > sent  # what was given up had been encrypted, and came too
    assert octets == b"a" * (len(octets) - 5) + b"other"


def test_another_writer_does_not_wait(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """A send that is not to wait does not wait for another thread's either, and both arrive whole."""
    connection, client = pair
    writing = threading.Thread(target=connection.sendall, args=(b"a" * 1_000_000,))
    writing.start()
    while connection.phase is not Phase.WRITING:
        pass
    refused = False
    while writing.is_alive() and not refused:
        try:
            connection.send(b"b", socket.MSG_DONTWAIT)
        except BlockingIOError:
            refused = True
    assert refused
    received = read(client, 1_000_000)
    assert received.count(b"a") + received.count(b"b") == len(received)
    while received.count(b"a") < 1_000_000:
        received += client.recv(65536)
    writing.join(PATIENCE)


@each_model
def test_two_writers_wait_for_each_other(kind: type) -> None:
    """Two handlers that send to one slow client both get their replies through, and in a greenlet nobody else waits."""
    first: list[Any] = []
    writing = threading.Semaphore(0)

    def handle(self: Any) -> None:
        first.append(self.request)
        self.wfile.write(b"ready\n")
        letter = self.rfile.readline()[:1]
        writing.release()
        first[0].sendall(letter * 1_000_000)
        self.rfile.readline()

    with running(kind, handler(handle)) as (server, _), connect(server) as one:
        assert ask(one, b"") == b"ready\n"
        with connect(server) as two:
            assert ask(two, b"") == b"ready\n"
            for client, letter in ((one, b"a\n"), (two, b"b\n")):
                client.sendall(letter)
                assert writing.acquire(timeout=PATIENCE)
            with connect(server) as three:
                assert ask(three, b"") == b"ready\n"
            octets = read(one, 2_000_000)
    assert octets.count(b"a") == octets.count(b"b") == 1_000_000


@each_model
def test_fan_out_while_the_handler_reads(kind: type) -> None:
    """Other threads send by an outbox what they have, whole and in order, while the handler reads."""
    count, writers = 3000, 3
    outboxes: list[Outbox] = []
    entered, done = threading.Event(), threading.Event()
    heard: list[bytes] = []

    class Chat(BaseRequestHandler[Any, socket.socket, Any]):
        def handle(self) -> None:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            outbox = Outbox(self.request, flusher, limit=10_000_000)
            outboxes.append(outbox)
            entered.set()
            with self.request.makefile("rb") as lines:
                heard.extend(lines)
            done.set()
            outbox.close(PATIENCE)

    def publish(writer: int) -> None:
        for number in range(count):
            outboxes[0].put(b"%d %d\n" % (writer, number))
            outboxes[0].flush()

    with Flusher() as flusher, running(kind, Chat) as (server, recorder):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with dial(server) as wire:
            engine = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            exchange(wire, engine, incoming, outgoing, engine.do_handshake)
            assert entered.wait(PATIENCE)
            threads = [threading.Thread(target=publish, args=(writer,)) for writer in range(writers)]
            for thread in threads:
                thread.start()
            received = b""
            said = 0
            while received.count(b"\n") < count * writers:
                engine.write(b"line %d\n" % said)
                said += 1
                wire.sendall(outgoing.read())
                received += exchange(wire, engine, incoming, outgoing, lambda: engine.read(1000))
            for thread in threads:
                thread.join(PATIENCE)
            wire.shutdown(socket.SHUT_WR)
            assert done.wait(PATIENCE)
        recorder.wait_for(ConnectionClosed)[0]
    lines = [tuple(map(int, line.split())) for line in received.splitlines()]
    for writer in range(writers):
        assert [number for each, number in lines if each == writer] == list(range(count))
    assert heard == [b"line %d\n" % number for number in range(said)]


def exchange(
    wire: socket.socket,
    engine: ssl.SSLObject,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    work: Callable[[], Any],
) -> Any:
    """Do ``work`` as a client, waiting for the wire as often as it asks for that."""
    while True:
        try:
            result = work()
        except ssl.SSLWantReadError:
            wire.sendall(outgoing.read())
            incoming.write(wire.recv(65536))
        else:
            wire.sendall(outgoing.read())
            return result


def test_answers_that_nobody_reads_are_bounded(pair: tuple[TLSConnection, ssl.SSLSocket]) -> None:
    """A peer that makes TLS answer, by key updates for one, and never reads is given up in time."""
    connection, client = pair
    fill(connection, b"x" * 1_000_000)
    connection._tls.outgoing.write(bytes(100_000))
    client.sendall(b"hello")
    with pytest.raises(TLSError, match="does not read"):
        connection.recv(100)


def test_tls_stands_on_any_kind_of_connection() -> None:
    """What a subclass does to receive and to send is what TLS receives and sends by."""
    calls: set[str] = set()

    class Watched(Connection):
        __slots__ = ()

        def raw_recv(self, bufsize: int, flags: int = 0, /) -> bytes:
            calls.add("recv")
            return super().raw_recv(bufsize, flags)

        def raw_send(self, data: Any, flags: int = 0, /) -> int:
            calls.add("send")
            return super().raw_send(data, flags)

    with secured(Watched) as (connection, client):
        assert isinstance(connection, Watched)
        assert calls == {"recv", "send"}
        calls.clear()
        client.sendall(b"ping")
        assert connection.recv(10) == b"ping"
        connection.sendall(b"pong")
        assert client.recv(10) == b"pong"
        assert calls == {"recv", "send"}
