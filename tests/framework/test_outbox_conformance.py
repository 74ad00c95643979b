"""An outbox in every model, on every transport of streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework import Flusher, Outbox, StreamRequestHandler
from tests.framework.spec import STREAMS, Model, Transport, serving

SPEC_TRANSPORTS = STREAMS

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

LINES = 2000
LINE = b"%06d" + b"x" * 493 + b"\n"


class Long(StreamRequestHandler):
    """Answers a line with very many, through an outbox that holds a few."""

    def handle(self) -> None:
        """Wait for room as it comes to an end, and say whether there always was some."""
        self.rfile.readline()
        with Flusher() as flusher:
            outbox = Outbox(self.request, flusher, limit=32_000)
            for number in range(LINES):
                outbox.put(LINE % number)
                if outbox.size > 16_000 and not outbox.wait_for_room():
                    return
            outbox.put(b"all\n")
            outbox.close(20.0)


def test_a_long_reply_waits_for_its_reader(model: Model, transport: Transport, folder: Path) -> None:
    """A reply of many times the limit arrives whole and in order at a client that reads it late."""
    server = model.on(transport)(transport.address(folder), Long)
    with serving(server), transport.client(server.server_address, folder) as client:
        client.sendall(b"go\n")
        with client.makefile("rb") as answers:
            for number in range(LINES):
                assert answers.readline() == LINE % number
            assert answers.readline() == b"all\n"
