"""What must not type-check: each line marked E, and no other."""

from __future__ import annotations

import socket

from framework import (
    DatagramRequestHandler,
    ForkingTCPServer,
    ForkingUDPServer,
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


class Plain(StreamRequestHandler):
    pass


class Datagram(DatagramRequestHandler):
    pass


class ChatHandler(StreamRequestHandler["ChatServer"]):
    def handle(self) -> None:
        self.server.no_such_thing()  # E
        self.request.no_such_thing()  # E


class ChatServer(ThreadingMixIn, TCPServer):
    pass


class PeerHandler(StreamRequestHandler["UnixStreamServer[UnixPeer]", UnixPeer]):
    def handle(self) -> None:
        self.wfile.write(b"%d" % self.client_address.credentials.pid)


class NoPeers(UnixStreamServer): ...


class OtherServer(ThreadingMixIn, TCPServer):
    pass


address = ("127.0.0.1", 0)

# A handler with a server that is not its own.
TCPServer(address, ChatHandler)  # E
OtherServer(address, ChatHandler)  # E
ThreadingTCPServer(address, ChatHandler)  # E

# A datagram handler with a stream server.
TCPServer(address, Datagram)  # E
ThreadingTCPServer(address, Datagram)  # E
ForkingTCPServer(address, Datagram)  # E
OtherServer(address, Datagram)  # E
UnixStreamServer("sock", Datagram)  # E
NoPeers("sock", PeerHandler)  # E
ThreadingUnixStreamServer("sock", Datagram)  # E

# A stream handler with a datagram server.
UDPServer(address, Plain)  # E
ThreadingUDPServer(address, Plain)  # E
ForkingUDPServer(address, Plain)  # E
UnixDatagramServer("sock", Plain)  # E
ThreadingUnixDatagramServer("sock", Plain)  # E

# An address of another family, and things that are no handlers.
TCPServer("sock", Plain)  # E
UnixStreamServer(address, Plain)  # E
UnixDatagramServer(address, Datagram)  # E
TCPServer(address, Plain("request"))  # E
TCPServer(address, lambda request: None)  # E
TCPServer(address)  # E

server: TCPServer = TCPServer(address, Plain)
server.server_address.no_such_thing()  # E
server.no_such_thing()  # E
server.handle_request("now")  # E
server.serve_forever("often")  # E
number: int = server.get_request()[0]  # E


class Careless(UDPServer):
    def verify_request(self, request: socket.socket, client_address: tuple[str, int]) -> bool:  # E
        return True
