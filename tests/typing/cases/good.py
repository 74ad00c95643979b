"""What must type-check: everything here, without one error."""

from __future__ import annotations

import functools
import socket
import ssl
from typing import Any, assert_type

from framework import (
    BaseRequestHandler,
    BaseServer,
    DatagramRequestHandler,
    ForkingMixIn,
    ForkingTCPServer,
    ForkingUDPServer,
    ForkingUnixDatagramServer,
    ForkingUnixStreamServer,
    ServiceMixIn,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    ThreadingTCPServer,
    ThreadingUDPServer,
    ThreadingUnixDatagramServer,
    ThreadingUnixStreamServer,
    UDPServer,
    UnixDatagramServer,
    UnixPeer,
    UnixStreamServer,
)


# Bare subclasses, as existing programs have them.
class Plain(StreamRequestHandler):
    def handle(self) -> None:
        assert_type(self.server, BaseServer[Any, Any])
        assert_type(self.request, socket.socket)
        for line in self.rfile:
            self.wfile.write(line)


class Datagram(DatagramRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        assert_type(data, bytes)
        assert_type(sock, socket.socket)
        self.wfile.write(self.packet.upper())


class Anything(BaseRequestHandler):
    def handle(self) -> None:
        self.request.whatever()


class Bare(TCPServer):
    allow_reuse_address = True


class Threaded(ThreadingMixIn, TCPServer):
    daemon_threads = True


# A handler of one server, in both orders of definition.
class ChatHandler(StreamRequestHandler["ChatServer"]):
    def handle(self) -> None:
        assert_type(self.server, "ChatServer")
        self.server.rooms.append("lobby")


class ChatServer(ThreadingMixIn, TCPServer):
    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, ChatHandler)
        self.rooms: list[str] = []


class BiggerChat(ChatServer):
    pass


class NameHandler(DatagramRequestHandler["NameServer"]):
    def handle(self) -> None:
        assert_type(self.server, "NameServer")


class NameServer(ThreadingMixIn, UDPServer):
    pass


class SixHandler(StreamRequestHandler["SixServer", tuple[str, int, int, int]]):
    def handle(self) -> None:
        assert_type(self.client_address, tuple[str, int, int, int])


class SixServer(TCPServer[socket.socket, tuple[str, int, int, int]]):
    address_family = socket.AF_INET6


# Requests of another kind.
class SecureHandler(BaseRequestHandler["SecureServer", ssl.SSLSocket]):
    def handle(self) -> None:
        assert_type(self.request.version(), str | None)


class SecureServer(BaseServer[ssl.SSLSocket, tuple[str, int]]):
    pass


address = ("127.0.0.1", 0)

# Every class with a handler that fits it.
TCPServer(address, Plain)
TCPServer(address, Plain, False)
TCPServer(address, Plain, bind_and_activate=False)
TCPServer(address, Anything)
TCPServer(address, lambda request, client_address, server: None)
TCPServer(address, functools.partial(Plain))
ThreadingTCPServer(address, Plain)
ForkingTCPServer(address, Plain)
UDPServer(address, Datagram)
UDPServer(address, Anything)
ThreadingUDPServer(address, Datagram)
ForkingUDPServer(address, Datagram)
UnixStreamServer("sock", Plain)
UnixStreamServer(b"\0abstract", Plain)
ThreadingUnixStreamServer("sock", Plain)
ForkingUnixStreamServer("sock", Plain)
UnixDatagramServer("sock", Datagram)
ThreadingUnixDatagramServer("sock", Datagram)
ForkingUnixDatagramServer("sock", Datagram)
# The handlers of the framework itself: they do nothing, and are given to a server in many a test.
TCPServer(address, BaseRequestHandler)
TCPServer(address, StreamRequestHandler)
ThreadingTCPServer(address, BaseRequestHandler)
UDPServer(address, DatagramRequestHandler)
with_bare: UnixStreamServer = UnixStreamServer("sock", StreamRequestHandler)
UnixDatagramServer("sock", DatagramRequestHandler)
Bare(address, Plain)
Threaded(address, Plain)
ChatServer(address)
BiggerChat(address)
NameServer(address, NameHandler)
SixServer(("::1", 0, 0, 0), SixHandler)
SecureServer(address, SecureHandler)

# Types that arrive where they are used. (A bare handler says nothing of its server, so a server made on
# the spot with one learns its types from a declaration; a class of one's own has them anyway.)
server: TCPServer = TCPServer(address, Plain)
assert_type(server, TCPServer[socket.socket, tuple[str, int]])
assert_type(server.server_address, tuple[str, int])
assert_type(server.get_request(), tuple[socket.socket, tuple[str, int]])
assert_type(server.fileno(), int)
host, port = server.server_address
server = ThreadingTCPServer(address, Plain)
udp_server: UDPServer = UDPServer(address, Datagram)
assert_type(udp_server.get_request(), tuple[tuple[bytes, socket.socket], tuple[str, int]])
with Bare(address, Plain) as bare:
    assert_type(bare, Bare)
    assert_type(bare.server_address, tuple[str, int])
with Threaded(address, Plain) as threaded:
    assert_type(threaded.server_address, tuple[str, int])
    assert_type(threaded.get_request(), tuple[socket.socket, tuple[str, int]])
with UnixStreamServer("sock", Plain) as unix_server:
    assert_type(unix_server.server_address, str | bytes)
with UnixDatagramServer("sock", Datagram) as log_server:
    assert_type(log_server.server_address, str | bytes)
    assert_type(log_server.get_request()[1], str | bytes | None)
with SixServer(("::1", 0, 0, 0), SixHandler) as six_server:
    assert_type(six_server.server_address, tuple[str, int, int, int])
with ChatServer(address) as chat_server:
    assert_type(chat_server, ChatServer)
    assert_type(chat_server.server_address, tuple[str, int])


# Hooks, overridden with the types of the class.
class Careful(ThreadingMixIn, TCPServer):
    def verify_request(self, request: socket.socket, client_address: tuple[str, int]) -> bool:
        return client_address[0] == "127.0.0.1" and super().verify_request(request, client_address)

    def handle_timeout(self) -> None: ...

    def service_actions(self) -> None: ...


class Packets(ForkingMixIn, UDPServer):
    def verify_request(
        self, request: tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> bool:
        return len(request[0]) < 512


Careful(address, Plain)
Packets(address, Datagram)


# The user at the other end, as the kernel has it.
class Peers(ServiceMixIn, ThreadingMixIn, UnixStreamServer[UnixPeer]):
    peer_credentials = True

    def verify_request(self, request: socket.socket, client_address: UnixPeer) -> bool:
        return client_address.credentials.uid == 0


class PeerHandler(StreamRequestHandler["Peers", UnixPeer]):
    def handle(self) -> None:
        assert_type(self.client_address, UnixPeer)
        assert_type(self.server, Peers)
        assert_type(self.client_address.credentials.pid, int)


with Peers("sock", PeerHandler) as peers:
    assert_type(peers, Peers)
    assert_type(peers.server_address, str | bytes)
