"""What ``serve()`` does by the operator's signals, seen from outside: by clients, by the service manager, by status."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from framework import StreamRequestHandler
from framework.activation import serve
from framework.lifecycle import ServerState
from framework.service import ThreadingTCPService
from tests.framework.load import Load
from tests.framework.program import PROGRAM, Program, ended
from tests.framework.spec import PATIENCE

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
    program.make("patient")
    program.start()
    with Load(program.targets[:2] * 2) as load:
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
    with program.connect() as busy, program.connect() as idle:
        busy.sendall(b"hang\n")
        assert busy.recv(99) == b"hanging\n"
        idle.sendall(b"one\n")
        assert idle.recv(99) == b"%d one\n" % program.main
        program.signal(signal.SIGTERM)
        program.hear("STOPPING=1")
        assert idle.recv(99) == b""
        program.release()
        assert busy.recv(99) == b"%d released\n" % program.main
        assert busy.recv(99) == b""
    assert program.wait() == 0


def test_a_first_request_is_answered(program: Program) -> None:
    """Who has connected before the end gets the first request through after its beginning."""
    program.make("patient")
    program.start()
    with program.connect() as fresh:
        with program.connect() as later:  # whose answer shows that both were accepted
            later.sendall(b"hello\n")
            assert later.recv(99) == b"%d hello\n" % program.main
        program.signal(signal.SIGTERM)
        program.hear("STOPPING=1")
        fresh.sendall(b"first\n")
        assert fresh.recv(99) == b"%d first\n" % program.main
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
    program.make("patient")
    program.start()
    first = program.main
    with Load(program.targets * 2) as load:
        load.more(200)
        program.restart()
        second = program.main
        load.more(200)
        program.restart()
        load.more(200)
    assert load.lost_nobody(), load.counts
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
    with Load(program.targets * 2) as load:
        load.more(50)
        program.signal(signal.SIGUSR2)
        said = program.hear("STATUS=Restart failed")
        load.more(50)
    assert load.lost_nobody(), load.counts
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
    assert program.targets[0].address == address
    program.restart()
    with program.connect() as client:
        client.sendall(b"on\n")
        assert client.recv(99) == b"%d on\n" % program.main
    program.signal(signal.SIGTERM)
    ended(program.main)


def test_a_forked_child_hears_no_signals_of_its_parent(program: Program) -> None:
    """A child has the dispositions from before, and no way to wake the parent."""
    program.environ["TEST_MORE"] = "Forking"
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
