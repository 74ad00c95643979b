"""What ``serve()`` does by the operator's signals, seen from outside: by clients, by the service manager, by status."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from framework import StreamRequestHandler
from framework.activation import serve
from framework.lifecycle import ServerState
from framework.service import ThreadingTCPService
from tests.framework.spec import PATIENCE

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("activation_program.py")


class Program:
    """The program under test, with this test as its service manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore:This process:DeprecationWarning",
            "NOTIFY_SOCKET": str(folder / "notify.sock"),
        }
        self.log = (folder / "log").open("w+")
        os.mkfifo(folder / "pipe")
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.settimeout(PATIENCE)
        self.manager.bind(self.environ["NOTIFY_SOCKET"])
        self.process: subprocess.Popen[str]
        self.main = 0
        self.heard: list[str] = []

    def start(self, *before: str, **options: Any) -> None:
        """Start it, and wait until it says that it serves."""
        command = [*before, sys.executable, str(PROGRAM), str(self.folder)]
        self.process = subprocess.Popen(
            command, env=self.environ, stdout=subprocess.PIPE, stderr=self.log, text=True, **options
        )
        self.main = self.process.pid
        self.hear("READY=1")

    def hear(self, word: str) -> str:
        """Wait until the manager is told ``word``; return the whole of it."""
        while True:
            try:
                said = self.manager.recv(9999).decode()
            except TimeoutError:
                raise AssertionError(f"{word} was not heard after {self.heard}; {self.told()}") from None
            self.heard.append(said)
            if word in said:
                return said

    def told(self) -> str:
        """Return its log."""
        return (self.folder / "log").read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process that is the service now."""
        os.kill(self.main, number)

    def release(self) -> None:
        """Let a handler that hangs go on."""
        (self.folder / "pipe").write_bytes(b"released\n")

    def make(self, flag: str) -> None:
        """Have it, or its next life, do something wrong."""
        (self.folder / flag).touch()

    @property
    def addresses(self) -> list[Any]:
        """Where it listens: TCP, Unix stream, UDP, Unix datagram."""
        tcp, stream, udp, *others = json.loads((self.folder / "addresses").read_text())
        return [tuple(tcp), stream, tuple(udp), *others]

    def connect(self, place: int = 0) -> socket.socket:
        """Connect to one of its servers."""
        return connect(self.addresses[place], socket.SOCK_DGRAM if place in {2, 3} else socket.SOCK_STREAM)

    def wait(self) -> int:
        """Wait for the end of the process that was started, and return its status."""
        status = self.process.wait(PATIENCE)
        print(self.told())  # shown when the test fails
        return status

    def restart(self) -> None:
        """Restart it, and wait until its predecessor has gone."""
        before = self.main
        self.signal(signal.SIGUSR2)
        told = self.hear("MAINPID=")
        self.main = int(told.partition("MAINPID=")[2].split()[0])
        ended(before)

    def close(self) -> None:
        """End it, whatever became of it."""
        for pid in {self.main, self.process.pid} - {0}:
            with contextlib.suppress(ProcessLookupError):
                if pid != self.process.pid or self.process.poll() is None:
                    os.kill(pid, signal.SIGKILL)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()
        self.manager.close()
        self.log.close()


@pytest.fixture
def program(folder: Path) -> Iterator[Program]:
    """The program, not started yet."""
    made = Program(folder)
    yield made
    made.close()


def connect(address: Any, kind: int) -> socket.socket:
    """Connect a client; one on a Unix datagram socket is bound, so that it can be replied to."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    client = socket.socket(family, kind)
    try:
        client.settimeout(PATIENCE)
        if family == socket.AF_UNIX and kind == socket.SOCK_DGRAM:
            client.bind("")  # any abstract name (unix(7), "Autobind feature")
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def ended(pid: int) -> None:
    """Wait until a process has ended, whoever's child it is."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            assert select.select([handle], [], [], PATIENCE)[0]
        finally:
            os.close(handle)


class Load:
    """Clients that ask without a pause, each on a new connection, and count what became of it.

    Refused: there was nobody to connect to. Lost: somebody was, and no answer came.
    """

    def __init__(self, addresses: list[Any]) -> None:
        self.counts: Counter[str] = Counter()
        self.served_by: set[int] = set()
        self._changed = threading.Condition()
        self._over = False
        kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_DGRAM)
        # Two for each, of which the Unix stream server, inline, makes one wait.
        self._threads = [
            threading.Thread(target=self._ask, args=each)
            for each in list(zip(addresses, kinds, strict=False)) * 2
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait until ``predicate`` holds of the counts."""
        with self._changed:
            assert self._changed.wait_for(predicate, PATIENCE), self.counts

    def more(self, number: int) -> None:
        """Wait for so many more answers."""
        target = self.counts["answered"] + number
        self.wait_for(lambda: self.counts["answered"] >= target)

    def _ask(self, address: Any, kind: int) -> None:
        for number in itertools.count():
            if self._over:
                return
            outcome, pid = self._ask_once(address, kind, b"%d\n" % number)
            with self._changed:
                self.counts.update(["sent", outcome])
                self.served_by.add(pid)
                self._changed.notify_all()
            if outcome == "refused":
                return

    def _ask_once(self, address: Any, kind: int, line: bytes) -> tuple[str, int]:
        try:
            client = connect(address, kind)
        except (ConnectionRefusedError, FileNotFoundError):
            return "refused", 0
        with client:
            try:
                client.sendall(line)
                answer = client.recv(999)
            except OSError:
                return "lost", 0
        pid, _, echoed = answer.partition(b" ")
        return ("answered", int(pid)) if echoed == line else ("lost", 0)


# -- ending --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_servers(program: Program, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the program with status 0, its manager told and its paths removed."""
    program.start()
    for place in range(4):
        with program.connect(place) as client:
            client.send(b"hello\n")
            assert client.recv(99) == b"%d hello\n" % program.main
    program.signal(number)
    program.hear("STOPPING=1")
    assert program.wait() == 0
    assert not list(program.folder.glob("*m.sock"))


def test_every_accepted_request_is_answered_under_load(program: Program) -> None:
    """SIGTERM in the midst of it: whoever was accepted got the answer, and nobody was cut off."""
    program.start()
    with Load(program.addresses[:2]) as load:
        load.more(100)
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert program.process.stdout is not None
    counts = json.loads(program.process.stdout.read())
    assert counts["opened"] == counts["answered"] == load.counts["answered"]
    assert " 0 forced, 0 abandoned" in program.told()


def test_a_request_that_has_begun_is_answered(program: Program) -> None:
    """A drain waits for a handler in the midst of a request, and tells an idle one that nothing more comes."""
    program.start()
    with program.connect() as busy, program.connect() as idle, program.connect() as fresh:
        busy.sendall(b"hang\n")
        assert busy.recv(99) == b"hanging\n"
        idle.sendall(b"one\n")
        assert idle.recv(99) == b"%d one\n" % program.main
        program.signal(signal.SIGTERM)
        program.hear("STOPPING=1")
        fresh.sendall(b"first\n")
        assert fresh.recv(99) == b"%d first\n" % program.main
        assert idle.recv(99) == b""
        program.release()
        assert busy.recv(99) == b"%d released\n" % program.main
        assert busy.recv(99) == b""
    assert program.wait() == 0


def test_a_second_signal_forces(program: Program) -> None:
    """A handler that is waited for is cut off by the second signal, which the status tells."""
    program.start()
    with program.connect() as busy:
        busy.sendall(b"hang\n")
        assert busy.recv(99) == b"hanging\n"
        program.signal(signal.SIGTERM)
        program.hear("STOPPING=1")
        program.signal(signal.SIGINT)
        assert busy.recv(99) == b""
        assert program.wait() == 128 + signal.SIGINT
    assert "1 abandoned" in program.told()


def test_a_server_that_fails_ends_the_others(program: Program) -> None:
    """A loop that raises is logged, the others drain, and the status is 1."""
    program.start()
    program.make("fail")
    program.hear("STOPPING=1")
    assert program.wait() == 1
    assert "Fatal: asked to" in program.told()


# -- reloading -----------------------------------------------------------------------------------------------------


def test_every_server_is_reloaded(program: Program) -> None:
    """SIGHUP reloads one after the other, one's failure keeps no other from it, and the manager is told."""
    program.make("bad-reload")
    program.start()
    program.signal(signal.SIGHUP)
    program.hear("RELOADING=1")
    program.hear("READY=1")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert program.process.stdout is not None
    reloads = program.process.stdout.read().splitlines()[:-1]
    assert reloads == ["reload Lines", "reload Local", "reload Datagrams", "reload LocalDatagrams"]
    assert "ValueError: bad settings" in program.told()


# -- restarting ----------------------------------------------------------------------------------------------------


def test_a_restart_loses_nobody(program: Program) -> None:
    """SIGUSR2 under load, twice in a row: every client is answered, by one program or the other."""
    program.start()
    first = program.main
    with Load(program.addresses) as load:
        load.more(200)
        program.restart()
        second = program.main
        load.more(200)
        program.restart()
        load.more(200)
    counts = load.counts
    assert (counts["refused"], counts["lost"]) == (0, 0), counts
    assert counts["sent"] == counts["answered"]
    assert load.served_by == {first, second, program.main}
    assert program.process.returncode is None
    assert program.wait() == 0
    # The service has not stopped, and its manager is not told so.
    assert not [said for said in program.heard if "STOPPING" in said]
    with program.connect() as client:
        client.sendall(b"hang\n")
        assert client.recv(99) == b"hanging\n"
        program.signal(signal.SIGTERM)
        program.hear("STOPPING=1")
        program.release()
        assert client.recv(99) == b"%d released\n" % program.main
    ended(program.main)
    assert not list(program.folder.glob("*m.sock"))


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("die", "exit status 3"),
        ("die-late", "exit status 4"),
        ("no-start", "exit status 1"),
        ("never", "exit status -15"),
    ],
)
def test_a_restart_that_fails_leaves_all_as_it_was(program: Program, flag: str, why: str) -> None:
    """A new program that ends, before or after it took the sockets, or never gets ready, costs a log entry."""
    if flag == "never":
        program.make("impatient")
    program.start()
    program.make(flag)
    with Load(program.addresses) as load:
        load.more(50)
        program.signal(signal.SIGUSR2)
        said = program.hear("STATUS=Restart failed")
        load.more(50)
    assert (load.counts["refused"], load.counts["lost"]) == (0, 0), load.counts
    assert load.served_by == {program.main} or flag == "no-start"
    assert why in said
    assert f"{program.main} ERROR" in program.told()
    assert program.process.poll() is None
    (program.folder / flag).unlink()
    if flag != "never":  # for which the program has no patience with good ones either
        program.restart()
    program.signal(signal.SIGTERM)
    ended(program.main)


def test_a_program_that_is_gone_cannot_be_restarted(program: Program) -> None:
    """Where there is nothing to start, the program says so and goes on."""
    (program.folder / "python").symlink_to(sys.executable)
    # sys.executable is what the program was started as.
    program.environ["PYTHONHOME"] = sys.base_prefix
    command = [str(program.folder / "python"), str(PROGRAM), str(program.folder)]
    program.process = subprocess.Popen(
        command, env=program.environ, stdout=subprocess.PIPE, stderr=program.log, text=True
    )
    program.main = program.process.pid
    program.hear("READY=1")
    (program.folder / "python").unlink()
    program.signal(signal.SIGUSR2)
    assert "cannot start" in program.hear("STATUS=Restart failed")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


def test_an_end_during_a_restart_ends_both(program: Program) -> None:
    """SIGTERM while the new program is starting ends that, too."""
    program.start()
    program.make("never")
    program.signal(signal.SIGUSR2)
    program.hear("RELOADING=1")
    program.signal(signal.SIGUSR2)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert not list(program.folder.glob("*m.sock"))


# -- the service manager -------------------------------------------------------------------------------------------


def test_signs_of_life_end_when_a_loop_hangs(program: Program) -> None:
    """The watchdog hears nothing while one of the loops is caught in a handler, and hears again afterwards."""
    program.environ["WATCHDOG_USEC"] = "200000"
    program.start()
    program.hear("WATCHDOG=1")
    with program.connect(1) as client:
        client.sendall(b"hang\n")
        assert client.recv(99) == b"hanging\n"
        program.manager.settimeout(1.0)  # ten times the interval
        said = b"WATCHDOG=1"
        with contextlib.suppress(TimeoutError):
            while said == b"WATCHDOG=1":  # what was under way
                said = b""
                said = program.manager.recv(99)
        assert said == b""
        program.manager.settimeout(PATIENCE)
        program.release()
        assert client.recv(99) == b"%d released\n" % program.main
        client.shutdown(socket.SHUT_WR)
        program.hear("WATCHDOG=1")


@pytest.mark.parametrize("url", ["systemd:kv", "fd://3"])
def test_a_socket_of_the_manager_survives_restarts(program: Program, url: str) -> None:
    """A server on a socket that was passed hands it over like any other."""
    program.environ |= {"TEST_LINES": url, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "kv"}
    with socket.create_server(("127.0.0.1", 0)) as given:
        address = given.getsockname()
        place = f'exec 3<&{given.fileno()}; LISTEN_PID=$$ exec "$@"'
        program.start("/bin/bash", "-c", place, "start", pass_fds=[given.fileno()])
    assert program.addresses[0] == address
    program.restart()
    with program.connect() as client:
        client.sendall(b"on\n")
        assert client.recv(99) == b"%d on\n" % program.main
    program.signal(signal.SIGTERM)
    ended(program.main)


def test_a_forked_child_hears_no_signals_of_its_parent(program: Program) -> None:
    """A child has the dispositions from before, and no way to wake the parent."""
    program.environ["TEST_FORKING"] = "1"
    program.start()
    with program.connect(4) as client:
        client.sendall(b"signals\n")
        assert client.recv(99).partition(b" ")[2] == b"<Handlers.SIG_DFL: 0> -1\n"


# -- in this process -----------------------------------------------------------------------------------------------


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


def test_signals_are_the_programs_own_again_afterwards() -> None:
    """Handlers and the wake-up descriptor are those from before once ``serve()`` has returned."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    server = ThreadingTCPService(("127.0.0.1", 0), Echo)

    def end() -> None:
        server.wait_for_state(ServerState.SERVING)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end)
    thread.start()
    assert serve(server) == 0
    thread.join(PATIENCE)
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert server.state is ServerState.CLOSED


def test_servers_that_end_by_themselves_end_it() -> None:
    """When every server was shut down by the program, there is nothing left to serve."""
    server = ThreadingTCPService(("127.0.0.1", 0), Echo)

    def end() -> None:
        server.wait_for_state(ServerState.SERVING)
        server.shutdown()

    thread = threading.Thread(target=end)
    thread.start()
    assert serve(server) == 0
    thread.join(PATIENCE)


def test_it_is_for_the_main_thread() -> None:
    """On another thread it says what to do instead."""
    caught: list[BaseException] = []

    def call() -> None:
        with ThreadingTCPService(("127.0.0.1", 0), Echo) as server:
            try:
                serve(server)
            except RuntimeError as error:
                caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(PATIENCE)
    assert "main thread" in str(caught[0])


def test_there_must_be_something_to_serve() -> None:
    """Without a server there is nothing to do, which is a mistake."""
    with pytest.raises(ValueError, match="no server"):
        serve()
