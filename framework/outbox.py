"""``Outbox``: what one connection has still to be sent, bounded, so that nobody waits for its reader.

A server that sends to others than the client whose request it serves (a chat, a feed, an invalidation)
must neither block on a peer that does not read nor remember for it without bound. The rules:

1. ``put()`` appends. It does no I/O and never blocks, so it may be called with locks of the caller held.
2. Whoever appended calls ``flush()``, holding no lock, once for all it appended. That is one ``send()``.
3. A flush excludes other flushes of the same outbox but waits for none: the one that runs looks again
   before it leaves. So the order of ``put()`` is the order on the wire.
4. What the system does not take at once is left to the ``Flusher``, one thread for all outboxes.
5. A handler with much to say to its own client calls ``wait_for_room()`` now and then, and so waits for that
   client alone; in a greenlet, it parks.
6. More than ``limit`` unsent octets end the connection: what was queued is dropped, both directions are
   shut down, and the connection's own handler meets the end of its input and cleans up as always.
"""

from __future__ import annotations

import contextlib
import math
import select
import selectors
import socket as _socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from framework._loop import Waker

if TYPE_CHECKING:
    from types import TracebackType


__all__ = ["Flusher", "Outbox"]

# Between Ergo's send queue of 96 KiB and InspIRCd's of 1 MiB for clients: a burst of a few thousand lines.
_LIMIT = 256 * 1024

# An Enum's member goes into a call of the system as a number only after a call of Python.
_DONTWAIT = int(_socket.MSG_DONTWAIT)


class Outbox:
    """The send queue of one connection.

    The connection must be a blocking one: with a timeout set, Python waits for that long even in a send
    that asks not to wait.

    Args:
        connection: where everything goes. From now on nobody else sends on it.
        flusher: who sends what the connection does not take at once.
        limit: unsent octets at which the connection is given up.
        farewell: sent, if there is room, when that happens.
    """

    __slots__ = (
        "_clogged",
        "_connection",
        "_farewell",
        "_flusher",
        "_gone",
        "_guard",
        "_limit",
        "_over",
        "_overflowed",
        "_put",
        "_queue",
        "_send_some",
        "_sending",
    )

    def __init__(
        self, connection: _socket.socket, flusher: Flusher, *, limit: int = _LIMIT, farewell: bytes = b""
    ) -> None:
        self._connection = connection
        self._send_some = connection.send
        self._flusher = flusher
        self._limit = limit
        self._farewell = farewell
        self._queue: deque[bytes] = deque()
        self._guard = threading.Lock()  # of what put() changes; held for no I/O
        self._put = 0  # octets ever put
        self._over = False  # nothing will be put or sent any more
        self._overflowed = False
        self._sending = threading.Lock()  # held by the flush that runs, which alone takes from the queue
        self._gone = 0  # octets ever sent
        self._clogged = False  # the flusher will go on; others need not try

    @property
    def size(self) -> int:
        """Octets not sent yet, of those that will be."""
        return 0 if self._over else self._put - self._gone

    @property
    def overflowed(self) -> bool:
        """Whether the connection was given up because its reader was too slow."""
        return self._overflowed

    def put(self, data: bytes) -> int:
        """Append ``data``; a later ``flush()`` sends it. Does nothing once overflowed or closed.

        Returns:
            The octets not sent yet: whoever appends for long may wish to flush in between.
        """
        # A fan-out passes here once for each receiver, and "with" takes twice as long as these two calls do.
        self._guard.acquire()
        try:
            if self._over:
                return 0
            self._queue.append(data)
            self._put += len(data)
            size = self._put - self._gone
            if size > self._limit:
                self._over = self._overflowed = True
                self._clogged = False
        finally:
            self._guard.release()
        return size

    def flush(self) -> None:
        """Send what can be sent now; never blocks and never raises for the sake of the connection."""
        # Positional, since a fan-out passes here once for each receiver.
        sending = self._sending
        while self._queue and not self._clogged:
            if not sending.acquire(False):
                return
            try:
                self._send()
            finally:
                sending.release()

    def wait_for_room(self, timeout: float = 30.0, *, unsent: int | None = None) -> bool:
        """Wait up to ``timeout`` seconds until no more than ``unsent`` octets are, or half the limit.

        For the connection's own handler, and in none of the caller's locks.

        Returns:
            Whether that is so, and the connection not given up.
        """
        enough = self._limit // 2 if unsent is None else unsent
        end = time.monotonic() + timeout
        self.flush()
        while self.size > enough and (left := end - time.monotonic()) > 0:
            self._writable_within(left)
            self.resume()
        lost = self._over and self._gone < self._put
        return self.size <= enough and not lost

    def close(self, timeout: float = 1.0) -> bool:
        """Refuse more, and wait up to ``timeout`` seconds until everything is sent.

        For the connection's own handler, before it closes the connection.

        Returns:
            Whether everything was sent.
        """
        sent = self.wait_for_room(timeout, unsent=0)
        with self._guard:
            self._over = True
        # The caller will close the descriptor, whose number may come back: no flush may still be sending on it, nor
        # ask the flusher for it.
        with self._sending:
            self._queue.clear()
            self._flusher.forget(self)
        return sent

    def _writable_within(self, seconds: float) -> None:
        """Wait until the connection takes more, or has ended; on a hub, as its connections do."""
        parks = getattr(self._connection, "writable_within", None)
        if parks is not None:
            parks(seconds)
        elif (descriptor := self.fileno()) >= 0:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll(math.ceil(seconds * 1000))

    def fileno(self) -> int:
        """Return the connection's descriptor, or -1 when it is closed."""
        return self._connection.fileno()

    def resume(self) -> None:
        """Go on: the connection takes more. For the flusher."""
        self._clogged = False
        self.flush()

    @property
    def clogged(self) -> bool:
        """Whether the connection takes nothing now. For the flusher."""
        return self._clogged

    def _send(self) -> None:
        """Send once; runs in one thread at a time."""
        queue = self._queue
        if self._over:
            queue.clear()
            if self._overflowed:
                self._give_up()
            return
        count = len(queue)
        # Mostly there is one, which joining would copy. What is put meanwhile is left for the next time.
        data = queue.popleft() if count == 1 else b"".join([queue.popleft() for _ in range(count)])
        try:
            sent = self._send_some(data, _DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._over = True  # the peer has gone, which the connection's handler will meet, too
            return
        self._gone += sent
        if sent < len(data):
            queue.appendleft(data[sent:])
            self._clogged = True
            # put() says first that it is over and then that nothing is clogged, so one of the two sees the other.
            if self.size:
                self._flusher.watch(self)
            else:
                self._clogged = False

    def _give_up(self) -> None:
        # OSError: no room for the farewell, or the peer has gone already.
        with contextlib.suppress(OSError):
            self._connection.send(self._farewell, _socket.MSG_DONTWAIT)
        # close() in this thread would not wake a recv() in the handler's; shutdown(2) does.
        with contextlib.suppress(OSError):
            self._connection.shutdown(_socket.SHUT_RDWR)


class Flusher:
    """One thread that goes on sending for the outboxes whose connections are full.

    It starts with the first of them, so a server whose clients all read has no such thread.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waker: Waker | None = None
        # (outbox, whether to watch it), in the order in which it was said: a descriptor is forgotten before
        # the system can give its number to another connection.
        self._mail: deque[tuple[Outbox, bool]] = deque()
        self._closed = False

    def watch(self, outbox: Outbox) -> None:
        """Resume ``outbox`` when its connection takes more."""
        with self._guard:
            if self._closed:
                return
            if self._thread is None:
                self._waker = Waker()
                self._thread = threading.Thread(target=self._run, name="flusher", daemon=True)
                self._thread.start()
            self._post(outbox, watch=True)

    def forget(self, outbox: Outbox) -> None:
        """Leave ``outbox`` alone from now on."""
        with self._guard:
            if self._thread is not None:
                self._post(outbox, watch=False)

    def close(self) -> None:
        """End the thread; what is unsent then stays unsent."""
        with self._guard:
            self._closed = True
            thread, waker = self._thread, self._waker
            self._thread = None
        if thread is not None and waker is not None:
            waker.wake()
            thread.join()
            waker.close()

    def _post(self, outbox: Outbox, *, watch: bool) -> None:
        self._mail.append((outbox, watch))
        if self._waker is not None:
            self._waker.wake()

    def _run(self) -> None:
        waker = self._waker
        assert waker is not None  # noqa: S101 -- watch() makes it before the thread
        watched: dict[Outbox, int] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(waker, selectors.EVENT_READ)

            def take(outbox: Outbox, watch: bool) -> None:
                # By number, since a connection that was closed no longer knows its own.
                if outbox in watched:
                    selector.unregister(watched.pop(outbox))
                if watch and outbox.clogged and (descriptor := outbox.fileno()) >= 0:
                    selector.register(descriptor, selectors.EVENT_WRITE, outbox)
                    watched[outbox] = descriptor

            while not self._closed:
                for key, _ in selector.select():
                    if key.data is not None:
                        take(key.data, watch=False)
                        key.data.resume()  # comes back by watch() if it is full again
                waker.drain()
                while self._mail:
                    take(*self._mail.popleft())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
