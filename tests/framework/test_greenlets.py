"""What handlers can rely on when they run in greenlets, beyond what every model owes them."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from greenlet import greenlet

from framework import ExchangeHandler, StreamRequestHandler, TCPServer, deadlines
from framework.events import CloseReason, ConnectionClosed, HubHeld
from framework.greenlets import (
    Event,
    GreenletMixIn,
    GreenletTCPService,
    GreenletUnixStreamService,
    Lock,
    Queue,
    at_turn_end,
    connect,
    run_in_thread,
    sleep,
)
from framework.hub import running_hub
from framework.observers import Observer
from framework.testing import eventually
from tests.framework.spec import PATIENCE, serving

LOOPBACK = ("127.0.0.1", 0)
Answer = Callable[[StreamRequestHandler], bytes]


class Service(GreenletTCPService):
    """Answers each line by what ``answer`` makes of it."""

    idle_timeout: float | None = None
    drain_timeout = 0.05


class Quiet(Service):
    """Says nothing of what a handler raises."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def answering(answer: Answer, service: Callable[..., Any] = Service, where: Any = LOOPBACK) -> Iterator[Any]:
    """Serve by a function that is called for each line."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.line = line.strip()
                self.wfile.write(answer(self))

    server = service(where, Handler)
    with serving(server):
        yield server


@contextlib.contextmanager
def client(server: TCPServer[Any, Any]) -> Iterator[socket.socket]:
    """Connect to the server."""
    with socket.socket(server.address_family) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(server.server_address)
        yield connection


def ask(connection: socket.socket, line: bytes = b"?\n") -> bytes:
    """Send a line, and return what comes back."""
    connection.sendall(line)
    return connection.recv(1000)


def ask_many(server: TCPServer[Any, Any], count: int) -> list[bytes]:
    """Ask from many connections at once, and return the answers in the order of the connections."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(server)) for _ in range(count)]
        for each in clients:
            each.sendall(b"?\n")
        return [each.recv(1000) for each in clients]


# -- waiting -------------------------------------------------------------------------------------------------------


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Whoever sleeps for less wakes first, and sleeping holds up nobody."""
    seconds = iter([0.09, 0.06, 0.03])
    order: list[float] = []

    def answer(_: StreamRequestHandler) -> bytes:
        mine = next(seconds)
        sleep(mine)
        order.append(mine)
        return b"."

    with answering(answer) as server:
        ask_many(server, 3)
    assert order == [0.03, 0.06, 0.09]


def test_event_set_by_a_thread() -> None:
    """An event that another thread sets wakes every greenlet that waits for it."""
    event, waiting = Event(), threading.Semaphore(0)

    def answer(_: StreamRequestHandler) -> bytes:
        waiting.release()
        assert event.wait()
        return b"set"

    def set_it() -> None:
        for _ in range(5):
            waiting.acquire(timeout=PATIENCE)
        event.set()

    setter = threading.Thread(target=set_it, daemon=True)
    setter.start()
    with answering(answer) as server:
        assert ask_many(server, 5) == [b"set"] * 5
    setter.join(PATIENCE)


def test_event_times_out() -> None:
    """Waiting for an event that nobody sets ends with its timeout, and so tells."""
    event = Event()

    with answering(lambda _: str(event.wait(0.01)).encode()) as server, client(server) as connection:
        assert ask(connection) == b"False"


def test_lock_is_fair() -> None:
    """A lock that is held across a wait goes to whoever waits longest."""
    lock, held, order = Lock(), Event(), list[bytes]()

    def answer(handler: StreamRequestHandler) -> bytes:
        name = str(handler.client_address[1]).encode()
        with lock:
            order.append(name)
            assert held.wait()
        return name

    with answering(answer) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(server)) for _ in range(5)]
        for each in clients:
            each.sendall(b"?\n")
        held.set()
        names = [each.recv(100) for each in clients]
    assert sorted(order) == sorted(names)
    assert len(set(order)) == 5


def test_queue_hands_over() -> None:
    """What one greenlet puts into a bounded queue another takes out, in order, each waiting for the other."""
    queue: Queue[int] = Queue(2)
    taken: list[int] = []
    roles = iter(["put", "take"])

    def answer(_: StreamRequestHandler) -> bytes:
        if next(roles) == "put":
            for number in range(20):
                queue.put(number)
        else:
            taken.extend(queue.get() for _ in range(20))
        return b"."

    with answering(answer) as server:
        ask_many(server, 2)
    assert taken == list(range(20))
    assert len(queue) == 0


def test_run_in_thread() -> None:
    """What blocks runs in a thread meanwhile others are served, and its result or exception comes back."""
    release = threading.Event()

    def block() -> bytes:
        assert release.wait(PATIENCE)
        raise LookupError("not there")

    def answer(handler: StreamRequestHandler) -> bytes:
        try:
            return run_in_thread(block)
        except LookupError as error:
            return str(error).encode()

    class First(StreamRequestHandler):
        def handle(self) -> None:
            if self.rfile.readline() == b"block\n":
                self.wfile.write(answer(self))
            else:
                release.set()
                self.wfile.write(b"served")

    server = Service(LOOPBACK, First)
    with serving(server), client(server) as blocked, client(server) as other:
        blocked.sendall(b"block\n")
        assert ask(other, b"go\n") == b"served"
        assert blocked.recv(100) == b"not there"


def test_turn_end_comes_after_all_of_the_turn() -> None:
    """Many handlers of one turn that wait for its end are served by one action."""
    waiting: list[Event] = []
    batches: list[int] = []

    def commit() -> None:
        batches.append(len(waiting))
        while waiting:
            waiting.pop().set()

    def answer(_: StreamRequestHandler) -> bytes:
        done = Event()
        if not waiting:
            at_turn_end(commit)
        waiting.append(done)
        assert done.wait(PATIENCE)
        return b"committed"

    with answering(answer) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(server)) for _ in range(10)]
        # All of them speak while the hub is held, and so in one turn.
        assert server.wait_for_connections(lambda count: count == 10, PATIENCE)
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            assert release.wait(PATIENCE)

        server.call_soon(hold)
        assert held.wait(PATIENCE)
        for each in clients:
            each.sendall(b"?\n")
        release.set()
        assert [each.recv(100) for each in clients] == [b"committed"] * 10
    assert batches == [10]


def test_what_is_sent_later_leaves_when_the_turn_has_ended(folder: Path) -> None:
    """It comes behind what the actions at the turn's end did; and who does not read it all is read no further."""
    done: list[bytes] = []
    large = b"x" * 4_000_000

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            connection: Any = self.request
            for line in self.rfile:
                done.append(line)
                at_turn_end(lambda: connection.send_later(large + b"%d" % len(done)))

    # Which takes much less at once than TCP does.
    server = GreenletUnixStreamService(str(folder / "s"), Handler)
    with serving(server), client(server) as connection:
        for count in range(1, 6, 2):
            connection.sendall(b"?\n")
            with connection.makefile("rb") as replies:
                assert replies.read(1) == b"x"
                connection.sendall(b"?\n")  # not read before all of the reply has been taken
                with client(server) as other:
                    other.sendall(b"!\n")
                    assert other.recv(1) == b"x"
                assert done.count(b"?\n") == count
                assert replies.read(len(large)).strip(b"x").isdigit()
                assert len(replies.read(len(large) + 1)) == len(large) + 1


def test_the_turn_of_an_accept_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the handler of a new connection puts off to the end of the turn is done without anything else happening."""
    monkeypatch.setattr(deadlines, "TICK", 3600.0)

    class Patient(Service):
        read_timeout = write_timeout = None

    class Greeter(StreamRequestHandler):
        def handle(self) -> None:
            at_turn_end(lambda: self.request.send(b"hello", socket.MSG_DONTWAIT))
            self.rfile.readline()

    with serving(server := Patient(LOOPBACK, Greeter)), client(server) as connection:
        assert connection.recv(100) == b"hello"


# -- connections ---------------------------------------------------------------------------------------------------


def test_timeout_of_a_connection() -> None:
    """A handler that sets a timeout on its connection meets ``TimeoutError``, and can still answer."""

    class Impatient(StreamRequestHandler):
        timeout = 0.01

        def handle(self) -> None:
            try:
                self.rfile.readline()
            except TimeoutError:
                self.wfile.write(b"too slow")

    server = Service(LOOPBACK, Impatient)
    with serving(server), client(server) as connection:
        assert connection.recv(100) == b"too slow"


def test_a_slow_reader_holds_up_nobody() -> None:
    """A greenlet that sends more than its peer takes waits for it alone, and all arrives in the end."""

    class Sends(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(bytes(8_000_000) if self.rfile.readline() == b"much\n" else b"served")

    server = Service(LOOPBACK, Sends)
    with serving(server), client(server) as slow, client(server) as other:
        slow.sendall(b"much\n")
        assert ask(other) == b"served"
        received = 0
        while received < 8_000_000:
            received += len(slow.recv(1 << 20))


def test_handlers_can_be_clients() -> None:
    """A handler talks to another server by a connection that parks like its own."""
    with answering(lambda _: b"from afar") as far:

        def answer(_: StreamRequestHandler) -> bytes:
            with connect(far.server_address, timeout=PATIENCE) as connection:
                connection.sendall(b"?\n")
                return connection.recv(100)

        with answering(answer) as near:
            assert ask_many(near, 10) == [b"from afar"] * 10


def test_connecting_to_nobody() -> None:
    """A refused connection is an ``OSError`` in the handler."""
    with socket.socket() as unused:
        unused.bind(LOOPBACK)

        def answer(_: StreamRequestHandler) -> bytes:
            try:
                connect(unused.getsockname(), timeout=PATIENCE)
            except OSError as error:
                return type(error).__name__.encode()
            return b"connected"

        with answering(answer) as server, client(server) as connection:
            assert ask(connection) == b"ConnectionRefusedError"


def test_a_thousand_connections() -> None:
    """A thousand connections are served in one thread, with state that needs no lock."""
    count = 0

    def answer(_: StreamRequestHandler) -> bytes:
        nonlocal count
        before = count
        count = before + 1
        return b"."

    threads = threading.active_count()
    with answering(answer) as server:
        assert ask_many(server, 1000) == [b"."] * 1000
        assert threading.active_count() <= threads + 2  # the loop's, and the watchdog's
    assert count == 1000


# -- the watchdog ----------------------------------------------------------------------------------------------------


def test_watchdog_names_who_holds_the_hub() -> None:
    """A handler that blocks is named to observers, once, while it does."""
    told = threading.Event()
    held: list[HubHeld] = []

    class Watching(Observer):
        def hub_held(self, event: HubHeld) -> None:
            held.append(event)
            told.set()

    def stubborn(_: StreamRequestHandler) -> bytes:
        told.wait(PATIENCE)  # blocks the thread, and so everybody
        return b"done"

    class Watched(Service):
        hub_limit = 0.01

    with answering(stubborn, Watched) as server, client(server) as connection:
        server.observe(Watching())
        assert ask(connection) == b"done"
    assert "Handler.handle" in held[0].where
    assert held[0].seconds >= 0.01


# -- ends ----------------------------------------------------------------------------------------------------------


class Ends(Observer):
    """Notes why connections ended."""

    def __init__(self) -> None:
        self.reasons: list[CloseReason] = []

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Note the reason."""
        self.reasons.append(event.reason)


@pytest.mark.parametrize(
    "wait",
    [lambda: sleep(1000), lambda: Event().wait(), lambda: Queue[int]().get()],
    ids=["sleep", "event", "queue"],
)
def test_shutdown_ends_what_waits(wait: Callable[[], object]) -> None:
    """Shutting down ends a greenlet that waits for what will not come, and closes its connection once."""
    waiting = threading.Event()

    def answer(_: StreamRequestHandler) -> bytes:
        waiting.set()
        wait()
        return b"never"

    ends = Ends()
    with answering(answer) as server:
        server.observe(ends)
        connection = socket.create_connection(server.server_address, PATIENCE)
        connection.sendall(b"?\n")
        assert waiting.wait(PATIENCE)
    with connection:
        assert connection.recv(100) == b""
    assert ends.reasons == [CloseReason.DRAIN]


def test_system_exit_ends_its_request_only() -> None:
    """``sys.exit()`` in a handler ends that request, as in a thread."""
    calls = iter([SystemExit(1), None])

    def answer(_: StreamRequestHandler) -> bytes:
        error = next(calls)
        if error is not None:
            raise error
        return b"served"

    with answering(answer) as server:
        with client(server) as connection:
            assert ask(connection) == b""
        with client(server) as connection:
            assert ask(connection) == b"served"


def test_idle_connections_end_in_time() -> None:
    """A client that says nothing for ``idle_timeout`` seconds meets the end of the conversation."""

    class Strict(Service):
        idle_timeout = 0.02

    ends = Ends()
    with answering(lambda _: b".", Strict) as server, client(server) as connection:
        server.observe(ends)
        assert connection.recv(100) == b""
    assert ends.reasons == [CloseReason.TIMEOUT]


def test_two_servers_in_two_threads() -> None:
    """Each server has a hub of its own, in the thread that serves it."""
    with (
        answering(lambda _: b"one") as one,
        answering(lambda _: b"two") as two,
        client(one) as first,
        client(two) as second,
    ):
        assert (ask(first), ask(second)) == (b"one", b"two")


def test_a_greenlet_takes_nothing_from_one_request_to_the_next() -> None:
    """Greenlets are used again, and a context variable that one request set is not seen by another."""
    seen: list[str] = []
    who = contextvars.ContextVar("who", default="nobody")

    def answer(_: StreamRequestHandler) -> bytes:
        seen.append(who.get())
        who.set("somebody")
        return b"."

    with answering(answer) as server:
        for _ in range(3):
            with client(server) as connection:
                ask(connection)
    assert seen == ["nobody"] * 3


def test_between_two_exchanges_there_is_no_greenlet() -> None:
    """Connections of an ``ExchangeHandler`` that wait for a request have no greenlet, and one that comes is served."""

    class Line(ExchangeHandler["Service"]):
        def handle_exchange(self) -> bool:
            line = self.rfile.readline()
            self.wfile.write(line)
            return line != b"bye\n"

    ends = Ends()
    server = Service(LOOPBACK, Line)
    server.observe(ends)
    with contextlib.ExitStack() as stack, serving(server):
        clients = [stack.enter_context(client(server)) for _ in range(100)]
        for _ in range(2):
            for each in clients:
                assert ask(each, b"hello\n") == b"hello\n"
        eventually(lambda: not server._GreenletMixIn__running)  # type: ignore[attr-defined]
        assert sum(isinstance(each, greenlet) for each in gc.get_objects()) < 70  # some are kept for the next
        assert ask(clients[0], b"one\ntwo\n") == b"one\ntwo\n"
        assert ask(clients[1], b"bye\n") == b"bye\n"
        assert clients[1].recv(100) == b""
        clients[2].close()
        eventually(lambda: len(ends.reasons) == 2)
    assert sorted(reason.value for reason in ends.reasons) == ["drain"] * 98 + ["local", "peer"]


def test_a_turn_goes_on_whatever_one_of_it_does() -> None:
    """All who have input in one turn are served in it, in order, though one raises, one ends and one waits for more."""
    served: list[tuple[int, bytes]] = []
    here, go_on, released = threading.Event(), threading.Event(), Event()

    def answer(handler: StreamRequestHandler) -> bytes:
        line: bytes = handler.line  # type: ignore[attr-defined]
        hub = running_hub()
        if line == b"hold":
            here.set()
            go_on.wait(PATIENCE)  # the hub stands still, and all who ask meanwhile come in one turn
            return b"held"
        served.append((hub.turn, line))
        if line == b"raise":
            raise ZeroDivisionError
        if line == b"wait":
            released.wait()
        if line == b"last":
            released.set()
        return line or b"\n"

    with answering(answer, Quiet) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(server)) for _ in range(7)]
        for each in clients:
            assert ask(each, b"hello\n") == b"hello"
        served.clear()
        clients[0].sendall(b"hold\n")
        assert here.wait(PATIENCE)
        lines = [b"one", b"raise", b"wait", b"two", b"", b"last"]
        for each, line in zip(clients[1:], lines, strict=True):
            each.sendall(line + b"\n")
        go_on.set()
        assert [each.recv(100) for each in clients] == [b"held", b"one", b"", b"wait", b"two", b"\n", b"last"]
    assert len({turn for turn, _ in served}) == 1
    assert [line for _, line in served] == lines


@contextlib.contextmanager
def standing_still(hold: socket.socket, here: threading.Event, go_on: threading.Event) -> Iterator[None]:
    """Let the hub of ``holding()`` stand still, so that all who ask meanwhile come in one turn."""
    hold.sendall(b"hold\n")
    assert here.wait(PATIENCE)
    here.clear()
    try:
        yield
    finally:
        go_on.set()
    assert hold.recv(100) == b"held"
    go_on.clear()


def holding(here: threading.Event, go_on: threading.Event, answer: Answer) -> Answer:
    """Return an answer that holds the hub when it is asked to, and else is another one."""

    def hold(handler: StreamRequestHandler) -> bytes:
        if handler.line != b"hold":  # type: ignore[attr-defined]
            return answer(handler)
        here.set()
        go_on.wait(PATIENCE)
        return b"held"

    return hold


def test_replies_of_one_turn_leave_together() -> None:
    """While others have still to run, a small reply is kept; it leaves when all have run, or with a sleep or a close."""
    here, go_on = threading.Event(), threading.Event()
    come: list[list[socket.socket]] = []

    def answer(handler: StreamRequestHandler) -> bytes:
        line: bytes = handler.line  # type: ignore[attr-defined]
        come.append(select.select(clients, [], [], 0)[0])
        if line == b"sleep":
            handler.wfile.write(b"soon")
            sleep(0)
            handler.connection.shutdown(socket.SHUT_WR)
        return b"" if line == b"sleep" else line

    with answering(holding(here, go_on, answer)) as server, contextlib.ExitStack() as stack:
        holder, *clients = (stack.enter_context(client(server)) for _ in range(4))
        for each in clients:
            assert ask(each, b"hello\n") == b"hello"
        come.clear()
        with standing_still(holder, here, go_on):
            for each, line in zip(clients, [b"one\n", b"sleep\n", b"two\n"], strict=True):
                each.sendall(line)
        assert [each.recv(100) for each in clients] == [b"one", b"soon", b"two"]
    assert come == [[], [], []]


def test_a_kept_reply_that_is_not_taken_holds_up_its_reader_only(folder: Path) -> None:
    """Who does not read is waited for when its reply has been kept, too: nothing is lost, and others are served."""
    here, go_on = threading.Event(), threading.Event()
    replies = [b"%04d" % number * 1000 for number in range(30)]
    left = iter(replies)

    def answer(handler: StreamRequestHandler) -> bytes:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return next(left)[1:] if handler.line == b"long" else b"short"  # type: ignore[attr-defined]

    hold = holding(here, go_on, answer)
    with (
        answering(hold, GreenletUnixStreamService, str(folder / "sock")) as server,
        contextlib.ExitStack() as stack,
    ):
        holder, slow, other = (stack.enter_context(client(server)) for _ in range(3))
        for _ in replies:
            with standing_still(holder, here, go_on):
                slow.sendall(b"long\n")
                other.sendall(b"short\n")
            assert other.recv(100) == b"short"
        expected = b"".join(reply[1:] for reply in replies)
        with slow.makefile("rb") as file:
            assert file.read(len(expected)) == expected


def test_deadlines_that_were_met_leave_nothing_behind() -> None:
    """A timer that was cancelled is forgotten long before its time."""

    def answer(_: StreamRequestHandler) -> bytes:
        hub = running_hub()
        for __ in range(1000):
            hub.call_later(3600, lambda: None).cancel()
        return b"%d" % len(hub._timers)

    with answering(answer) as server, client(server) as connection:
        assert int(ask(connection)) < 200


def test_no_server_no_hub() -> None:
    """What only a handler can do says so elsewhere."""
    with pytest.raises(RuntimeError, match="call it from a handler"):
        sleep(0)


def test_mixin_goes_with_any_server() -> None:
    """The mix-in makes a greenlet server of a class of one's own."""

    class Own(GreenletMixIn, TCPServer):
        allow_reuse_address = True

    with Own(LOOPBACK, StreamRequestHandler) as server:
        assert server.server_address[1] > 0


def test_an_end_that_fails_ends_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    """What ``close_request()`` raises after its handler has waited is logged, and the others are served on."""

    class Clumsy(Service):
        def close_request(self, request: Any) -> None:
            super().close_request(request)
            raise RuntimeError("clumsy")

    with answering(lambda _: b".", Clumsy) as server, client(server) as other:
        assert ask(other) == b"."
        with client(server) as connection:
            assert ask(connection) == b"."
        eventually(lambda: "clumsy" in caplog.text)
        assert ask(other) == b"."


# -- waiting for an event or for the peer ------------------------------------------------------------------------------


@contextlib.contextmanager
def waiting_for(event: Event, timeout: float | None = None) -> Iterator[socket.socket]:
    """Connect to a server whose handler waits for an event or for input, and tells over and over which it was."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            was_set = False
            while not was_set:
                was_set = event.wait(timeout, input_of=self.connection)
                try:
                    data = self.connection.recv(10, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    data = None
                if data == b"":
                    return
                self.wfile.write(b"%d %r\n" % (was_set, data))

    with serving(server := Service(LOOPBACK, Handler)), client(server) as connection:
        yield connection


def test_event_or_input() -> None:
    """Whoever waits for an event and for input goes on at the first of them, and can wait again for both."""
    event = Event()
    with waiting_for(event) as connection:
        for _ in range(3):
            connection.sendall(b"hello")
            assert connection.recv(100) == b"0 b'hello'\n"
        event.set()
        assert connection.recv(100) == b"1 None\n"


def test_event_or_the_end_of_input() -> None:
    """Whoever waits for an event hears that the peer has gone."""
    with waiting_for(Event()) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


def test_event_or_input_in_time() -> None:
    """The wait for both ends when its time is over, too."""
    with waiting_for(Event(), 0.01) as connection:
        assert connection.recv(7) == b"0 None\n"
