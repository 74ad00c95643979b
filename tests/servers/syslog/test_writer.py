import errno
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from framework.testing import PATIENCE, bounded, eventually
from servers.syslog.outputs import Place
from servers.syslog.outputs.writer import WhenFull, Writer
from tests.servers.syslog.conftest import Memory, now, record


class Bench:
    """A writer in front of an output in memory."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.output = Memory(prompt=False)

    def writer(self, limit: int = 1 << 20, when_full: WhenFull = WhenFull.BLOCK) -> Writer:
        """Start the writer."""
        writer = Writer("memory", self.output, now, limit=limit, when_full=when_full)
        self._stack.callback(writer.close, PATIENCE)
        self._stack.callback(self.output.free.set)
        return writer

    def stall(self, writer: Writer) -> None:
        """Let the output stand still, with one record in hand."""
        self.output.free.clear()
        writer.put([record("in hand")])
        assert self.output.entered.wait(PATIENCE)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench for one test."""
    with ExitStack() as stack:
        yield Bench(stack)


def test_order_and_flush(bench: Bench) -> None:
    """Records are written in the order in which they were put, and all of them once flush() returns."""
    writer = bench.writer()
    for number in range(1000):
        writer.put([record(str(number))])
    writer.flush()
    assert bench.output.messages == [str(number) for number in range(1000)]
    assert (writer.written, writer.dropped) == (1000, 0)


def test_a_full_queue_blocks(bench: Bench) -> None:
    """Whoever puts waits while an output stands still, memory stays bounded, and nothing is lost."""
    writer = bench.writer(limit=10_000)
    bench.stall(writer)
    put = 0

    def fill() -> None:
        nonlocal put
        for number in range(100):
            writer.put([record(f"{number}{'x' * 1000}")])
            put += 1

    thread = threading.Thread(target=fill)
    thread.start()
    eventually(lambda: put == 6)
    assert thread.is_alive()
    bench.output.free.set()
    bounded(thread.join, PATIENCE)
    writer.flush()
    assert [message.rstrip("x") for message in bench.output.messages[1:]] == [str(n) for n in range(100)]


def test_a_full_queue_drops_what_matters_least(bench: Bench) -> None:
    """With that policy nobody waits: the least severe and newest go, and the output reads how many."""
    writer = bench.writer(limit=10_000, when_full=WhenFull.DROP)
    bench.stall(writer)
    for number in range(30):
        writer.put([record(f"debug {number}", 7), record(f"error {number}", 3), record(f"info {number}", 6)])
    assert writer.dropped
    bench.output.free.set()
    writer.flush()
    *written, told = bench.output.messages
    assert told == f"{writer.dropped} messages dropped: memory did not keep up"
    assert len(written) + writer.dropped == 91
    errors = [message for message in written if message.startswith("error")]
    assert len(errors) > 10
    assert errors == [f"error {number}" for number in range(len(errors))]
    assert not any(message.startswith("debug 2") for message in written)


def test_trying_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A failing output is tried again until it works, is complained of once, and loses nothing."""
    bench.output.failures = [OSError(errno.ENOSPC, "No space left on device")] * 2
    writer = bench.writer()
    with caplog.at_level(logging.WARNING):
        for number in range(100):
            writer.put([record(str(number))])
        writer.flush()
    assert bench.output.messages == [str(number) for number in range(100)]
    failed, again = [each.getMessage() for each in caplog.records]
    assert (
        failed == "memory: cannot be written ([Errno 28] No space left on device): trying again until it can"
    )
    assert again.startswith("memory: written again, after 0.")


def test_writing_through(bench: Bench) -> None:
    """Who writes to a file itself writes what was put before, and then its own, having told where that begins."""
    writer = bench.writer()
    bench.stall(writer)
    writer.put([record("queued")])
    threading.Timer(0.05, bench.output.free.set).start()
    bench.output.prompt = True
    begun: list[tuple[str, Place]] = []
    bounded(lambda: writer.put([record("mine")], lambda *where: begun.append(where)), PATIENCE)
    assert bench.output.messages == ["in hand", "queued", "mine"]
    assert begun == [("memory", (0, 2))]


def test_writing_through_to_what_fails(bench: Bench) -> None:
    """What fails does not hold up who writes: what it did not take comes first when it goes on, and once."""
    bench.output.prompt = True
    writer = bench.writer()
    bench.output.failures = [OSError(errno.ENOSPC, "No space left on device")] * 2
    for number in range(10):
        bounded(lambda n=number: writer.put([record(str(n))]), PATIENCE)  # type: ignore[misc]
    assert writer.flush()
    assert bench.output.messages == [str(number) for number in range(10)]
    assert writer.written == 10


def test_the_end_of_waiting(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """When the end is near nobody waits for an output that fails, what comes is still kept, and what is lost is said."""
    writer = bench.writer(limit=10_000)
    bench.output.failures = [OSError(errno.ENOSPC, "No space left on device")] * 1000
    blocked = threading.Thread(target=lambda: fill(writer))
    blocked.start()
    eventually(lambda: writer.queued >= 10_000)
    assert blocked.is_alive()
    writer.end()
    bounded(blocked.join, PATIENCE)
    assert not bounded(writer.flush, PATIENCE)
    writer.close(0.05)
    assert "memory: gave up after 0.05 s; not written: 8 messages" in caplog.text


def fill(writer: Writer) -> None:
    """Put more than there is room for."""
    for _ in range(8):
        writer.put([record("x" * 1000)])


def test_recovering(bench: Bench) -> None:
    """Of what a process had in hand that was killed, what it had not written is written."""
    bench.output.records = [record("before"), record("0"), record("1")]
    writer = bench.writer()
    writer.recover([record(str(number)) for number in range(5)], (0, 1))
    writer.recover([record("all")], None)
    assert writer.flush()
    assert bench.output.messages == ["before", "0", "1", "2", "3", "4", "all"]


def test_reopening(bench: Bench) -> None:
    """Reopening takes place, also when there is nothing to write."""
    writer = bench.writer()
    writer.reopen()
    eventually(lambda: bench.output.reopened == 1)


def test_closing(bench: Bench) -> None:
    """Closing writes what is queued first."""
    writer = bench.writer()
    bench.stall(writer)
    writer.put([record("last")])
    threading.Timer(0.05, bench.output.free.set).start()
    writer.close(PATIENCE)
    assert bench.output.messages == ["in hand", "last"]
    assert bench.output.closed


def test_closing_does_not_wait_for_ever(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An output that stands still is given up in the end, with word of how much it cost; nobody waits on."""
    writer = bench.writer(limit=1000)
    bench.stall(writer)
    writer.put([record("x" * 1000)])
    blocked = threading.Thread(target=writer.put, args=([record("never")],))
    blocked.start()
    writer.close(0.05)
    bounded(blocked.join, PATIENCE)
    bounded(writer.flush, PATIENCE)
    assert "gave up after 0.05 s; not written: 3 messages" in caplog.text


def test_an_output_that_cannot_be_reopened(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An output that cannot be opened anew goes on as it is, and that is said."""
    bench.output.reopen = open_nothing  # type: ignore[method-assign]
    writer = bench.writer()
    writer.reopen()
    writer.put([record("one")])
    writer.flush()
    assert bench.output.messages == ["one"]
    assert "memory: cannot be opened anew ([Errno 13] Permission denied): going on as it is" in caplog.text


def open_nothing() -> None:
    """Fail."""
    raise OSError(errno.EACCES, "Permission denied")


def test_an_output_with_a_fault(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An output that fails by a fault of its own is told of with its traceback, and nobody waits for it."""
    bench.output.write = lambda _: 1 / 0  # type: ignore[method-assign,assignment]
    writer = bench.writer(limit=1000)
    writer.put([record("one")])
    bounded(writer.flush, PATIENCE)
    for _ in range(10):
        bounded(lambda: writer.put([record("x" * 1000)]), PATIENCE)
    assert writer.dropped == 10
    assert "memory: failed; nothing more is written to it" in caplog.text
    assert "ZeroDivisionError" in caplog.text
