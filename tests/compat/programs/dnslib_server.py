"""dnslib's server over UDP or TCP (`udp`, `tcp`), ended in order when stdin ends."""

import sys

from dnslib import RR
from dnslib.server import BaseResolver, DNSLogger, DNSServer, TCPServer, UDPServer

import framework

assert framework.UDPServer in UDPServer.__mro__
assert framework.TCPServer in TCPServer.__mro__


class Resolver(BaseResolver):  # type: ignore[misc]
    """Has the same address for every name."""

    def resolve(self, request, handler):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, D102
        reply = request.reply()
        reply.add_answer(*RR.fromZone(f"{request.q.qname} 60 A 192.0.2.1"))
        return reply


if __name__ == "__main__":
    server = DNSServer(
        Resolver(), "127.0.0.1", 0, tcp=sys.argv[1] == "tcp", logger=DNSLogger("-request,-reply")
    )
    server.start_thread()
    print(f"127.0.0.1:{server.server.server_address[1]}", flush=True)
    sys.stdin.read()
    server.stop()
    server.server.server_close()
    server.thread.join()
    print("ended")
