import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from framework.testing import eventually, running
from servers.chat.server import ChatServer
from servers.chat.settings import Settings
from shared.settings import SettingsError
from tests.servers.chat.conftest import Serve
from tests.servers.chat.irc import Irc
from tests.servers.programs import Start, starting

ROOT = Path(__file__).parents[3]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the program."""
    with starting("servers.chat") as start:
        yield start


def address(program: subprocess.Popen[str]) -> tuple[str, int]:
    """Read where the program says that it listens."""
    assert program.stdout is not None
    found = re.search(r"(127\.0\.0\.1):(\d+)", program.stdout.readline())
    assert found
    return found[1], int(found[2])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_politely(start: Start, number: signal.Signals) -> None:
    """At the signal each client is told, registered or not, and the status is 0."""
    program = start("--port", "0", "--show-addresses")
    where = address(program)
    with Irc(where, "anna") as anna, Irc(where, "bob") as bob, Irc(where) as nobody:
        for client in (anna, bob):
            client.ask("JOIN #a")
        nobody.ask()
        anna.ask()
        program.send_signal(number)
        goodbye = ["ERROR :Closing link: 127.0.0.1 (Server shutting down)"]
        assert anna.rest() == bob.rest() == nobody.rest() == goodbye
        _, log = program.communicate(timeout=20)
    assert program.returncode == 0
    assert "Traceback" not in log


def test_clients_that_are_stuck_hold_nothing_up(start: Start) -> None:
    """Clients that read nothing, and have more waiting than the system takes, do not keep the program."""
    program = start("--port", "0", "--sendq", "100000000", "--flood-rate", "0")
    where = address(program)
    with ExitStack() as stack:
        anna = stack.enter_context(Irc(where, "anna"))
        stuck = [
            stack.enter_context(Irc(where, f"stuck{number}", receive_buffer=4096)) for number in range(3)
        ]
        for client in stuck:
            client.ask("JOIN #a")
        for _ in range(30):
            anna.ask(*["PRIVMSG #a :" + "x" * 400] * 50)
        program.send_signal(signal.SIGINT)
        assert anna.expect("ERROR")
        _, log = program.communicate(timeout=20)
    assert program.returncode == 0
    assert "Traceback" not in log


def test_the_log_is_safe_to_read(start: Start) -> None:
    """What clients send reaches the log with nothing that a terminal would obey."""
    program = start("--port", "0", "--show-addresses")
    with Irc(address(program), "anna") as anna:
        anna.send("QUIT :\x1b[2J\u202eevil\x9b")
        anna.rest()
    program.send_signal(signal.SIGTERM)
    _, log = program.communicate(timeout=20)
    assert r"anna!anna@127.0.0.1 (127.0.0.1) left: Quit: \x1b[2J\u202eevil\x9b" in log


def test_a_reload(start: Start, tmp_path: Path) -> None:
    """SIGHUP takes up the new message of the day; where that cannot be read, the old one stays."""
    motd = tmp_path / "motd"
    motd.write_text("good morning")
    program = start("--port", "0", "--motd", str(motd))
    assert program.stderr is not None
    with Irc(address(program), "anna") as anna:
        assert "good morning" in anna.ask("MOTD")[1]
        while "serving" not in program.stderr.readline():
            pass
        motd.write_text("good evening")
        program.send_signal(signal.SIGHUP)
        eventually(lambda: "good evening" in anna.ask("MOTD")[1])
        motd.unlink()
        program.send_signal(signal.SIGHUP)
        complaint = (
            f"the settings stay as they were: --motd {motd}: cannot be read (No such file or directory): "
        )
        while complaint not in program.stderr.readline():
            pass
        assert "good evening" in anna.ask("MOTD")[1]


def test_a_long_message_of_the_day(tmp_path: Path) -> None:
    """A message of the day that would cut off whoever comes is refused."""
    (tmp_path / "motd").write_text("x" * 79 + "\n" * 1000)
    with pytest.raises(SettingsError, match="shorter"):
        Settings(motd=str(tmp_path / "motd")).check()


def test_a_hot_restart(start: Start, tmp_path: Path) -> None:
    """SIGUSR2 hands over the port and what is stored: clients are told, come again, and find all as it was."""
    program = start("--port", "0", "--data", str(tmp_path))
    where = address(program)
    assert program.stderr is not None
    with Irc(where, "anna") as anna:
        anna.ask("REGISTER * * sesame", "JOIN #a", "MODE #a +r", "TOPIC #a :about")
        program.send_signal(signal.SIGUSR2)
        while not (found := re.search(r"process (\d+) is starting", program.stderr.readline())):
            pass
        successor = int(found[1])
        try:
            assert anna.rest()[-1].endswith("(Server shutting down)")
            with Irc(where, "bob") as bob:
                assert ":irc.localhost 332 bob #a about" in bob.ask("JOIN #a")
                assert "ACCOUNT_EXISTS" in bob.ask("REGISTER anna * x")[0]
                assert program.wait(20) == 0
        finally:
            os.kill(successor, signal.SIGKILL)


def test_two_programs_in_one_folder(start: Start, tmp_path: Path) -> None:
    """A second program that is not the first one's successor is refused."""
    address(start("--port", "0", "--data", str(tmp_path)))
    second = start("--port", "0", "--data", str(tmp_path))
    out, log = second.communicate(timeout=20)
    assert (second.returncode, out) == (2, "")
    assert log.endswith("database is locked: name a folder of this server alone\n")


def test_ipv6(serve: Serve) -> None:
    """Clients come by IPv6, and their addresses can stand in any message."""
    try:
        server = serve(host="::1")
    except OSError:
        pytest.skip("::1 cannot be bound on this machine")
    assert server.banner().startswith(f"Chat listens on [::1]:{server.server_address[1]}, ")
    with Irc(server.server_address[:2], "anna") as anna:
        assert any(line.endswith(" anna anna 0::1 * :anna the tester") for line in anna.ask("WHOIS anna"))


def test_a_port_in_use(start: Start, server: ChatServer) -> None:
    """If another program has the port, one line says so, and what to do."""
    port = server.server_address[1]
    program = start("--port", str(port))
    out, log = program.communicate(timeout=20)
    assert (program.returncode, out) == (1, "")
    assert log == (
        f"chat: cannot listen on tcp://127.0.0.1:{port} (Address already in use): "
        "choose another --host, --port or --tls-port, or end the program that is there\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "70000"], "--port 70000: give from 0 to 65535"),
        (["--port", "irc"], "--port irc: give a whole number"),
        (["--name", "no name"], "--name no name: give a host name"),
        (
            ["--motd", "/nowhere"],
            "--motd /nowhere: cannot be read (No such file or directory): name a text file",
        ),
        (
            ["--motd", sys.executable],
            f"--motd {sys.executable}: holds NULs, which IRC cannot send: name a text file",
        ),
        (["--host", "no host"], "--host no host: 'no host' is no name; write letters, digits, hyphens and dots"),
        (["--bind", "tcp://[::1]:0", "--bind", "tcp://127.0.0.1:0"], "--bind tcp://127.0.0.1:0: the chat listens on one address: leave out the others"),
        (["--colour"], "--colour: there is no such setting; --help lists them"),
    ],
)  # fmt: skip
def test_wrong_settings(start: Start, arguments: list[str], complaint: str) -> None:
    """A setting that cannot be used ends the program by one line that names it, its value and the way out."""
    program = start(*arguments)
    out, log = program.communicate(timeout=20)
    assert (program.returncode, out, log) == (2, "", f"chat: {complaint}\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "two words"),
        ("network", ""),
        ("name", ":irc"),
        ("max_clients", 0),
        ("sendq", 1),
        ("topic_length", 500),
        ("ping_after", float("nan")),
    ],
)
def test_settings_have_rules(name: str, value: object) -> None:
    """What would break the protocol or the server cannot be set."""
    with pytest.raises(SettingsError, match=name.replace("_", "-")):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_closing_leaves_nothing_behind() -> None:
    """A closed server has told its clients why, has closed their connections, and takes no more."""
    with running(ChatServer(Settings(port=0, show_addresses=True))) as server:
        clients = [Irc(server.server_address, f"n{number}") for number in range(20)]
        for client in clients:
            client.ask("JOIN #a")
    assert not server.info().connections
    for client in clients:
        assert client.rest()[-1] == "ERROR :Closing link: 127.0.0.1 (Server shutting down)"
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.server_address).close()
