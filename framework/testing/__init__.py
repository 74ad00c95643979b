r"""The testing kit: what the framework's own tests are made of, for the tests of whatever is built on it.

=============  =====================================================================================
``memory``     ``drive()``: a handler without a server, bytes in, bytes out; slow and clogged ends
``servers``    ``running()``: a server for as long as a block runs; ``failing_accept()``
``clients``    ``client_of()``; those that reset, those that dribble
``model``      ``check_server_model()``: any server class or mix-in, against the contract
``recorder``   ``Recorder``: an observer that keeps what it is told, and waits for what is to come
``clock``      ``FakeClock``
``waiting``    ``bounded()``, ``eventually()``, ``StuckError``: nothing here hangs
=============  =====================================================================================

A test of a handler is one line, and one of a server three:

>>> from framework import StreamRequestHandler, ThreadingTCPServer
>>> class Upper(StreamRequestHandler):
...     def handle(self):
...         for line in self.rfile:
...             self.wfile.write(line.upper())
>>> drive(Upper, b"hello\n")
b'HELLO\n'
>>> with running(ThreadingTCPServer(("127.0.0.1", 0), Upper)) as server, client_of(server) as client:
...     client.sendall(b"hello\n")
...     client.recv(100)
b'HELLO\n'

Nothing here needs pytest; ``framework.pytest_plugin`` makes fixtures of it.
"""

from framework.testing.clients import client_of, dribbling, reset
from framework.testing.clock import FakeClock
from framework.testing.memory import CloggedError, MemorySocket, Pause, drive, drive_datagram
from framework.testing.model import MODEL_CHECKS, ServerModel, check_server_model
from framework.testing.recorder import Recorder
from framework.testing.servers import failing_accept, running
from framework.testing.waiting import PATIENCE, StuckError, bounded, eventually

__all__ = [
    "MODEL_CHECKS",
    "PATIENCE",
    "CloggedError",
    "FakeClock",
    "MemorySocket",
    "Pause",
    "Recorder",
    "ServerModel",
    "StuckError",
    "bounded",
    "check_server_model",
    "client_of",
    "dribbling",
    "drive",
    "drive_datagram",
    "eventually",
    "failing_accept",
    "reset",
    "running",
]
