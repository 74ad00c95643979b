"""How the loop waits, and what ends a wait."""

from __future__ import annotations

import selectors
import socket
import threading

import pytest

from framework._loop import Loop, Waker
from tests.framework.spec import PATIENCE


def test_wait_reports_what_is_readable() -> None:
    """A wait tells apart a readable file from one that is not."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Loop(selectors.DefaultSelector()) as loop:
        loop.watch(ours)
        assert not loop.wait(0)
        theirs.sendall(b"x")
        assert loop.wait(PATIENCE)


@pytest.mark.parametrize("times", [1, 100_000])
def test_wake_ends_one_wait(times: int) -> None:
    """Any number of calls to ``wake()`` ends the next wait, and only that."""
    with Loop(selectors.DefaultSelector(), Waker()) as loop:
        for _ in range(times):
            loop.wake()
        assert not loop.wait(None)
        loop.wake()
        assert not loop.wait(None)


def test_wake_ends_a_rest() -> None:
    """A rest ends early at the word of another thread."""
    with Loop(selectors.DefaultSelector(), Waker()) as loop:
        thread = threading.Thread(target=loop.rest, args=(1000.0,), daemon=True)
        thread.start()
        loop.wake()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_rest_looks_at_nothing() -> None:
    """A rest passes although a watched file is readable."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Loop(selectors.DefaultSelector()) as loop:
        loop.watch(ours)
        theirs.sendall(b"x")
        loop.rest(0)
        assert loop.wait(0)


def test_wake_after_close() -> None:
    """A ``wake()`` that comes too late does nothing."""
    loop = Loop(selectors.DefaultSelector(), Waker())
    with loop:
        pass
    loop.wake()


def test_wake_while_closing() -> None:
    """Closing beside a thread that wakes without end raises nothing in either."""
    for _ in range(200):
        waker = Waker()
        begun = threading.Event()
        done = threading.Event()

        def wake(waker: Waker = waker, begun: threading.Event = begun, done: threading.Event = done) -> None:
            while not done.is_set():
                waker.wake()
                begun.set()

        thread = threading.Thread(target=wake, daemon=True)
        thread.start()
        assert begun.wait(PATIENCE)
        waker.close()
        done.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
