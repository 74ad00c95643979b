"""What is said to the service manager, and what it passes, with a real socket in the manager's place."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.systemd import Notifier, passed_sockets
from tests.framework.spec import PATIENCE


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[socket.socket, str]]:
    """A manager's socket, and what ``NOTIFY_SOCKET`` says of it."""
    path = str(folder / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.bind(path if request.param == "path" else "\0" + path)
        yield sock, path if request.param == "path" else "@" + path


def test_what_a_manager_is_told(manager: tuple[socket.socket, str]) -> None:
    """Each step is one datagram, with a line for each assignment."""
    sock, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    assert notifier.enabled
    notifier.ready("Serving\nall", main_process=7)
    notifier.status("Busy")
    notifier.stopping("Draining")
    notifier.watchdog()
    assert [sock.recv(999) for _ in range(4)] == [
        b"READY=1\nSTATUS=Serving all\nMAINPID=7",
        b"STATUS=Busy",
        b"STOPPING=1\nSTATUS=Draining",
        b"WATCHDOG=1",
    ]


def test_a_reload_tells_when_it_began(manager: tuple[socket.socket, str]) -> None:
    """RELOADING=1 comes with the monotonic time in microseconds, which Type=notify-reload wants."""
    sock, address = manager
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier({"NOTIFY_SOCKET": address}).reloading()
    reloading, moment = sock.recv(999).split(b"\n")
    assert reloading == b"RELOADING=1"
    name, _, microseconds = moment.partition(b"=")
    assert name == b"MONOTONIC_USEC"
    assert before <= int(microseconds) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_no_manager_no_word() -> None:
    """Without ``NOTIFY_SOCKET`` everything is told to nobody."""
    notifier = Notifier({})
    assert not notifier.enabled
    assert notifier.watchdog_interval is None
    notifier.ready()
    notifier.reloading()
    notifier.stopping()


def test_a_manager_that_is_gone_is_no_reason_to_fail(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A manager that cannot be reached costs a warning."""
    Notifier({"NOTIFY_SOCKET": str(folder / "none.sock")}).ready()
    assert "READY=1" in caplog.text


def test_a_line_break_begins_no_other_assignment() -> None:
    """An assignment with a line break is refused."""
    with pytest.raises(ValueError, match="line break"):
        Notifier({}).notify("STATUS=a\nREADY=1")


@pytest.mark.parametrize(
    "environ", [{"NOTIFY_SOCKET": "vsock:2:1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}]
)
def test_senseless_variables_are_refused(environ: dict[str, str]) -> None:
    """A variable that is not as the manual page has it is named in the error."""
    with pytest.raises(ValueError, match=next(iter(environ))):
        Notifier(environ)


def test_signs_of_life_come_twice_in_the_watchdogs_time() -> None:
    """The interval is half of ``WATCHDOG_USEC``, unless ``WATCHDOG_PID`` is another process."""
    assert Notifier({"WATCHDOG_USEC": "30000000"}).watchdog_interval == 15
    mine = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    assert Notifier(mine).watchdog_interval == 15
    assert Notifier({**mine, "WATCHDOG_PID": "1"}).watchdog_interval is None


PASSED = """
import os, socket
os.environ["LISTEN_PID"] = str(os.getpid())
from framework.systemd import passed_sockets
for each in passed_sockets():
    with socket.socket(fileno=each.descriptor) as sock:
        print(each.descriptor, each.name, sock.type.name, sock.get_inheritable())
print(passed_sockets(), sorted(name for name in os.environ if name.startswith("LISTEN_")))
"""


def test_sockets_are_passed_from_the_fourth_descriptor_on() -> None:
    """Each comes with its name, is closed on exec from then on, and the variables are gone."""
    with (
        socket.create_server(("127.0.0.1", 0)) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        # In the new program the two are 3 and 4, as systemd places them.
        place = f"exec 3<&{stream.fileno()} 4<&{datagrams.fileno()}; exec {sys.executable} -c '{PASSED}'"
        said = subprocess.run(
            ["/bin/bash", "-c", place],
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "kv:log"},
            pass_fds=[stream.fileno(), datagrams.fileno()],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert (said.stdout, said.stderr) == ("3 kv SOCK_STREAM False\n4 log SOCK_DGRAM False\n() []\n", "")


def test_what_is_meant_for_another_process_is_not_taken() -> None:
    """The variables of a parent are taken away, and its descriptors left alone."""
    environ = {"LISTEN_PID": str(os.getppid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "kv"}
    assert passed_sockets(environ) == ()
    assert environ == {}


@pytest.mark.parametrize(
    ("count", "names"), [("two", "a:b"), ("-1", ""), ("2", "a"), ("99999", "a"), ("0", "a:b")]
)
def test_contradictions_are_refused(count: str, names: str) -> None:
    """A count that is none, or that the names do not match, is an error that shows it."""
    with pytest.raises(ValueError, match="LISTEN_FD"):
        passed_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": names})


@given(st.dictionaries(st.sampled_from(["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]), st.text()))
def test_any_variables_are_understood_or_refused(environ: dict[str, str]) -> None:
    """Whatever they hold, they are gone afterwards, and no descriptor is invented."""
    try:
        passed = passed_sockets(environ)
    except ValueError:
        passed = ()
    assert passed == ()
    assert environ == {}


def test_a_manager_that_does_not_read_holds_nobody_up(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once the manager's queue is full, telling it more ends in a warning instead of a wait for ever."""
    path = str(folder / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            try:
                while True:
                    other.sendto(b"x", path)
            except BlockingIOError:
                pass
        teller = threading.Thread(target=Notifier({"NOTIFY_SOCKET": path}).watchdog)
        teller.start()
        teller.join(PATIENCE)
        assert not teller.is_alive()
    assert "WATCHDOG=1" in caplog.text
