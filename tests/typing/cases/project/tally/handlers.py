"""One conversation: a handler that knows its own server's type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

from framework import DatagramRequestHandler, ExchangeHandler, StreamRequestHandler

if TYPE_CHECKING:
    from tally.servers import GreenTally, Tally, TallyDatagrams, TallyPool


class TallyHandler(StreamRequestHandler["Tally"]):
    def handle(self) -> None:
        assert_type(self.server, "Tally")
        for line in self.rfile:
            assert_type(line, bytes)
            count = self.server.counts.add(line.decode().strip())
            self.wfile.write(f"{count}\n".encode())


class TallyExchange(ExchangeHandler["TallyPool"]):
    def handle_exchange(self) -> bool:
        count = self.server.counts.add(self.rfile.readline().decode().strip())
        self.wfile.write(b"%d\n" % count)
        return True


class GreenHandler(StreamRequestHandler["GreenTally"]):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(b"%d\n" % self.server.counts.add(line.decode().strip()))


class TallyDatagram(DatagramRequestHandler["TallyDatagrams", Any]):
    def handle(self) -> None:
        self.wfile.write(b"%d" % self.server.counts.add(self.packet.decode()))
