"""``ForwardOutput``: records to a collector over TCP (RFC 6587) or TLS (RFC 5425), by way of a spool.

The protocol has no acknowledgement: that a send succeeded says that the octets are in a buffer of this host. So what was
sent counts as arrived only when the connection has lived on for some seconds, in which a collector that is alive reads
and keeps it. When it breaks before, all of that is sent again over the next. Nothing is lost by a collector that dies,
unless it held messages for longer than that in its memory; some may come twice, which are counted as ``repeated``.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import logging
import math
import select
import socket
import ssl
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from servers.syslog.outputs import Place
from servers.syslog.outputs.spool import Position, Spool
from servers.syslog.protocol import format5424
from servers.syslog.record import Record

__all__ = ["Connect", "ForwardOutput", "connector"]

_log = logging.getLogger(__name__)

Connect = Callable[[], socket.socket]
"""Connects to the collector; raises ``OSError``."""

# Octets sent at a time: some hundred messages.
_PIECE = 65536
# Seconds for connecting, and for the collector to take a piece.
_TIMEOUT = 30.0
# How often to look whether the collector is still there, and what has settled, while there is nothing to send.
_TURN = 0.2
# Seconds to send what is left when the output closes, and then for the collector to close as well.
_LAST_WORDS = 1.0
# Seconds until the next attempt, doubled each time, from the first to the second.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0


def connector(host: str, port: int, tls: ssl.SSLContext | None = None) -> Connect:
    """Return what connects to a collector."""

    def connect() -> socket.socket:
        connection = socket.create_connection((host, port), _TIMEOUT)
        try:
            # A collector's host that is gone is found out also while there is nothing to send.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return connection if tls is None else tls.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise

    return connect


class ForwardOutput:
    """Sends records to a collector; what it has not taken waits on the disk, also for the program's next life.

    Args:
        name: of the collector, for the log.
        connect: connects to it.
        spool: in which records wait; it is closed with the output.
        host: what this host is called, for messages that do not say where they come from.
        settle: seconds after which what was sent counts as arrived.
        sync: whether the spool is to outlive the machine's end, not just the program's.
        clock: tells seconds from any moment on.
    """

    prompt = True

    def __init__(
        self,
        name: str,
        connect: Connect,
        spool: Spool,
        host: str,
        *,
        settle: float = 10.0,
        sync: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sent = 0
        """Messages so far."""
        self.repeated = 0
        """Of these, sent again since their connection broke; the collector may have them twice."""
        self._name = name
        self._connect = connect
        self._spool = spool
        self._host = host
        self._settle = settle
        self._sync = sync
        self._clock = clock
        self._rest: list[bytes] = []
        """What the spool has no room for."""
        self._more = threading.Event()
        self._closing = threading.Event()
        self._next = spool.acknowledged
        self._under_way: deque[_Sent] = deque()
        self._octets = 0
        """Sent over this connection."""
        self._thread = threading.Thread(target=self._run, name=f"forwarding to {name}", daemon=True)
        self._thread.start()

    # -- the writer's thread -------------------------------------------------------------------------------------

    def write(self, records: Sequence[Record]) -> None:
        """Put records into the spool."""
        self._rest += [self._frame(record) for record in records]
        if self._rest:
            self._spool.append(self._rest)
            self._rest.clear()
            if self._sync:
                self._spool.sync()
            self._more.set()

    def _frame(self, record: Record) -> bytes:
        hostname = record.hostname or record.peer.address or self._host
        record = record._replace(hostname=hostname, timestamp=record.timestamp or record.received)
        message = format5424(record)
        return b"%d %s" % (len(message), message)

    def place(self) -> Place:
        """Return the end of the spool."""
        return self._spool.end

    def since(self, place: Place) -> int:
        """Count the frames from there on."""
        return len(self._spool.read(Position(*place), sys.maxsize)[0])

    def reopen(self) -> None:
        """Do nothing: nobody else renames what is in the spool."""

    def close(self) -> None:
        """Send what there is, if the collector takes it at once; the rest waits in the spool."""
        self._closing.set()
        self._more.set()
        self._thread.join()
        self._spool.close()
        _log.info("%s: %d messages sent, %d of them again", self._name, self.sent, self.repeated)

    # -- the sender's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause, failed = _FIRST_PAUSE, False
        while True:
            try:
                with self._connect() as connection:
                    _log.log(logging.WARNING if failed else logging.INFO, "forwarding to %s", self._name)
                    pause, failed = _FIRST_PAUSE, False
                    self._send(connection)
            except OSError as error:
                if not failed:
                    _log.error(
                        "%s: cannot be forwarded to (%s): trying again until it can", self._name, error
                    )
                    failed = True
            if self._closing.wait(pause):
                return
            self._begin_again()
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _begin_again(self) -> None:
        """Make what has not settled the next that is sent."""
        self.repeated += sum(sent.messages for sent in self._under_way)
        self._under_way.clear()
        self._octets = 0
        self._next = self._spool.acknowledged

    def _send(self, connection: socket.socket) -> None:
        """Send until the output closes; raise ``OSError`` when the connection breaks."""
        give_up = math.inf
        while True:
            self._more.clear()  # before a look at the spool: what comes after it sets it again
            _check(connection)
            self._acknowledge(connection)
            frames, position = self._spool.read(self._next, _PIECE)
            if self._closing.is_set():
                give_up = min(give_up, self._clock() + _LAST_WORDS)
                if not frames or self._clock() >= give_up:
                    self._part(connection)
                    return
            if frames:
                data = b"".join(frames)
                connection.sendall(data)
                self._octets += len(data)
                self._under_way.append(_Sent(self._clock(), position, len(frames), self._octets))
                self.sent += len(frames)
            else:
                self._more.wait(_TURN)
            self._next = position

    def _acknowledge(self, connection: socket.socket) -> None:
        """Acknowledge what was sent long enough ago, and is no longer in the buffers of this host."""
        now = self._clock()
        settled = None
        while self._under_way and now - self._under_way[0].when >= self._settle:
            # Of TLS more octets are in the buffer than were given to it, so this may take less for arrived than is.
            if self._under_way[0].octets > self._octets - _unacknowledged(connection):
                break
            settled = self._under_way.popleft()
        if settled is not None:
            self._spool.acknowledge(settled.position)

    def _part(self, connection: socket.socket) -> None:
        """Close so that the collector says by its own close that it has read everything."""
        connection.settimeout(_LAST_WORDS)
        # OSError: it does not; what has not settled is sent again in the next life.
        with contextlib.suppress(OSError):
            if isinstance(connection, ssl.SSLSocket):
                connection = connection.unwrap()
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(_PIECE):
                pass
            self._under_way.clear()
            self._spool.acknowledge(self._next)


class _Sent(NamedTuple):
    """A piece that was sent."""

    when: float
    position: Position
    """Behind it."""
    messages: int
    octets: int
    """Sent over the connection so far, with this piece."""


def _check(connection: socket.socket) -> None:
    """Raise ``OSError`` if the collector has closed; what it says is of no interest."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if not poll.poll(0):
        return
    connection.settimeout(0)
    try:
        if not connection.recv(_PIECE):
            raise ConnectionResetError(errno.ECONNRESET, "the collector closed the connection")
    except (BlockingIOError, ssl.SSLWantReadError):
        pass  # a ticket of TLS, which is for nobody
    finally:
        connection.settimeout(_TIMEOUT)


def _unacknowledged(connection: socket.socket) -> int:
    """Return how many octets the collector's host has not acknowledged (SIOCOUTQ of tcp(7))."""
    waiting = array.array("i", [0])
    fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, waiting)
    return waiting[0]
