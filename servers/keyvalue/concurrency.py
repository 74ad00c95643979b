"""What the concurrency models do differently: exclude each other, wait for a key, and commit together.

Under ``Greenlets`` a batch of commands runs alone because nothing in it parks. All batches of one turn of the hub, and of
the next ones while each brings more, commit together: one write, one fdatasync, then all replies. Under ``Threads``
there is one lock, and whoever comes to commit takes along what the others have appended meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, cast

from framework.greenlets import Event, at_turn_end, sleep
from servers.keyvalue.protocol import CommandError, encode

if TYPE_CHECKING:
    from framework.greenlets import GreenConnection
    from servers.keyvalue.blocking import Bell
    from servers.keyvalue.engine import Engine

__all__ = ["Concurrency", "Greenlets", "Threads", "refuse"]


# Seconds by which a commit is put off at most, as long as each turn brings more that it can be for.
_PATIENCE = 0.002


def refuse(replies: list[bytes], error: CommandError) -> None:
    """Make this the answer to all that has been undone."""
    replies[:] = [encode(error) if reply else b"" for reply in replies]


class Concurrency(Protocol):
    """One model."""

    @property
    def lock(self) -> threading.Lock | None:
        """Held while commands run, if more than one thread runs any."""
        ...

    @property
    def exclusive(self) -> AbstractContextManager[object]:
        """The same, to be entered without a question."""
        ...

    def commit(self, mark: int) -> None:
        """Return when all that was done before a mark (``Store.appended``) is safe.

        Raises:
            CommandError: there is no room for it (``MISCONF``), and it has been undone.
            OSError: it is not safe, and the server must stop.
        """
        ...

    @property
    def group(self) -> object | None:
        """Those whose replies wait for a commit; whoever speaks next comes behind them."""
        ...

    def answer(self, connection: socket.socket, replies: list[bytes], mark: int) -> None:
        """Send replies when all that was done before a mark is safe, or else that it has been undone; perhaps later.

        Raises:
            OSError: as ``commit()``, or the peer has gone.
        """
        ...

    def finish(self) -> None:
        """Return when the replies of all answers so far are on their way."""
        ...

    def pause(self, seconds: float) -> None:
        """Let others have their turn for so many seconds; within ``exclusive``, of which they get hold meanwhile."""
        ...

    def bell(self, connection: socket.socket) -> Bell:
        """Make a bell for the client of a connection."""
        ...


class Greenlets:
    """All connections on one hub.

    Args:
        engine: whose store to commit to.
        lock: where several hubs share the data.
    """

    def __init__(self, engine: Engine, lock: threading.Lock | None = None) -> None:
        self.exclusive: AbstractContextManager[object] = lock or contextlib.nullcontext()
        self._engine = engine
        self.lock = lock
        self.group: _Group | None = None

    def commit(self, mark: int) -> None:
        """Wait for the commit at the end of the hub's turn, or of one of the next, which is for all who wait by then."""
        group = self.group or self._open_group()
        group.wait()
        if (failure := group.failure or self._engine.store.refusal(mark)) is not None:
            raise failure

    def answer(self, connection: socket.socket, replies: list[bytes], mark: int) -> None:
        """Leave the replies to that commit: nobody has to be woken for them."""
        group = self.group or self._open_group()
        group.answers.append((cast("GreenConnection", connection), replies, mark))

    def finish(self) -> None:
        """Wait for that commit, if there is to be one."""
        if self.group is not None:
            self.group.wait()

    def _open_group(self) -> _Group:
        self.group = group = _Group()
        at_turn_end(self._commit_group)
        return group

    def _commit_group(self) -> None:
        group = self.group or _Group()
        commands = self._engine.commands
        if commands != group.commands and time.monotonic() < group.latest:
            # Others have sent theirs while these ran, as the next look, which does not wait, will show.
            group.commands = commands
            at_turn_end(self._commit_group)
            return
        self.group = None
        store = self._engine.store
        try:
            store.commit()
        except CommandError:
            with self.exclusive:
                self._engine.recover()
        except OSError as error:
            # Whoever waits must not answer; and nobody else will, as the server ends.
            group.failure = error
            raise
        finally:
            group.set()
        for connection, replies, mark in group.answers:
            if (refusal := store.refusal(mark)) is not None:
                refuse(replies, refusal)
            connection.send_later(b"".join(replies))

    def pause(self, seconds: float) -> None:
        """Go on in a later turn of the hub."""
        if self.lock is None:
            sleep(seconds)
            return
        self.lock.release()
        try:
            sleep(seconds)
        finally:
            self.lock.acquire()

    def bell(self, connection: socket.socket) -> Bell:
        """Make a bell that parks the greenlet."""
        return _GreenBell(connection)


class _Group(Event):
    """What commits together: what is to be said then, and what has gone wrong with it."""

    failure: OSError | None = None

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[GreenConnection, list[bytes], int]] = []
        self.commands = 0
        """How many had run when it was looked at last."""
        self.latest = time.monotonic() + _PATIENCE


class _GreenBell:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._event = Event()

    def ring(self) -> None:
        self._event.set()

    def wait(self, timeout: float | None, *, watch_input: bool) -> bool:
        return self._event.wait(timeout, input_of=self._connection if watch_input else None)


class Threads:
    """A thread per connection.

    Args:
        engine: whose store to commit to.
        lock: held by whoever runs commands.
    """

    group = None

    def __init__(self, engine: Engine, lock: threading.Lock) -> None:
        self.exclusive: AbstractContextManager[object] = lock
        self._engine = engine
        self.lock = lock

    def commit(self, mark: int) -> None:
        """Commit; who comes second finds that the first has done it for both."""
        store = self._engine.store
        try:
            store.commit()
        except CommandError:
            with self.lock:
                self._engine.recover()
        if (failure := store.refusal(mark)) is not None:
            raise failure

    def answer(self, connection: socket.socket, replies: list[bytes], mark: int) -> None:
        """Commit, and send the replies."""
        try:
            self.commit(mark)
        except CommandError as error:
            refuse(replies, error)
        connection.sendall(b"".join(replies))

    def finish(self) -> None:
        """Return at once: they have been sent."""

    def pause(self, seconds: float) -> None:
        """Let go of the lock for a moment."""
        self.lock.release()
        time.sleep(seconds)
        self.lock.acquire()

    def bell(self, connection: socket.socket) -> Bell:
        """Make a bell that wakes a thread out of poll(2)."""
        return _ThreadBell(connection)


class _ThreadBell:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC)

    def ring(self) -> None:
        os.eventfd_write(self._descriptor, 1)

    def wait(self, timeout: float | None, *, watch_input: bool) -> bool:
        waiter = select.poll()
        waiter.register(self._descriptor, select.POLLIN)
        if watch_input:
            waiter.register(self._connection, select.POLLIN)
        ready = waiter.poll(None if timeout is None else timeout * 1000)
        return any(descriptor == self._descriptor for descriptor, _ in ready)

    def __del__(self) -> None:
        os.close(self._descriptor)
