import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from framework.testing import eventually
from tests.shared.conftest import Write

ROOT = Path(__file__).parents[2]

# A server of two listeners, whose own setting can change while it runs.
PROGRAM = """
import sys, threading
from dataclasses import dataclass
from prometheus_client import Counter
from framework import StreamRequestHandler, ThreadingTCPService
from shared.run import Program, listen, main
from shared.settings import ServerSettings, SettingsError, endpoint, setting
from shared.sources import reread

@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings):
    "Greets."
    bind: tuple[str, ...] = setting(("tcp://127.0.0.1:0",), "where", endpoint("tcp"))
    greeting: str = setting("hello", "first")
    def check(self):
        if self.greeting == "rude":
            raise SettingsError("greeting", self.greeting, "be polite")

GREETED = Counter("test_greeted", "Clients.", registry=None)

class Handler(StreamRequestHandler):
    def handle(self):
        GREETED.inc()
        self.wfile.write(self.server.settings.greeting.encode() + b"\\n")
        if self.server.settings.greeting == "stuck":
            threading.Event().wait()
        for line in self.rfile:
            self.wfile.write(line)

class Server(ThreadingTCPService):
    def __init__(self, where, settings):
        self.settings = settings
        super().__init__(where, Handler)
    def reload(self):
        super().reload()
        self.settings = reread(self.settings, "greeting")

def program(settings):
    servers = listen(settings.bind, lambda where: Server(where, settings))
    return Program(servers, " ".join(str(server.server_address[1]) for server in servers), [GREETED])

sys.exit(main("test", Settings, program))
"""


class Run:
    """The program, running."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []

    def ports(self) -> list[int]:
        """Read the banner."""
        assert self.process.stdout is not None
        return [int(port) for port in self.process.stdout.readline().split()]

    def says(self, pattern: str) -> re.Match[str]:
        """Read the log up to a line that matches."""
        assert self.process.stderr is not None
        while line := self.process.stderr.readline():
            self.log.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern} is not in {self.log}")

    def end(self) -> tuple[int, str]:
        """Return its status, and what it has printed since."""
        out, log = self.process.communicate(timeout=20)
        return self.process.returncode, out + log


Start = Callable[..., Run]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the program."""
    with ExitStack() as stack:

        def run(*arguments: str, **environment: str) -> Run:
            made = Run(*arguments, **environment)
            stack.enter_context(made.process)
            stack.callback(made.process.kill)
            return made

        yield run


def greeting(port: int) -> str:
    """What the server says first."""
    with socket.create_connection(("127.0.0.1", port), 20) as client, client.makefile() as file:
        return file.readline()


def ask(port: int, path: str) -> tuple[int, str]:
    """Ask the status server."""
    client = HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("GET", path)
    reply = client.getresponse()
    body = reply.read().decode()
    client.close()
    return reply.status, body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_from_start_to_end(start: Start, number: signal.Signals) -> None:
    """It prints its banner, serves on every address, and ends by a signal with status 0."""
    run = start("--bind", "tcp://127.0.0.1:0", "--bind", "tcp://127.0.0.1:0")
    ports = run.ports()
    assert len(ports) == 2
    assert [greeting(port) for port in ports] == ["hello\n"] * 2
    run.process.send_signal(number)
    status, printed = run.end()
    assert status == 0
    assert "Traceback" not in printed


def test_a_second_signal_cuts_off(start: Start) -> None:
    """Whoever does not want to wait for the drain says so again, and the status tells."""
    run = start("--drain-timeout", "600", "--greeting", "stuck")
    (port,) = run.ports()
    with socket.create_connection(("127.0.0.1", port), 20) as client, client.makefile() as file:
        assert file.readline() == "stuck\n"
        run.says("serving")
        run.process.send_signal(signal.SIGTERM)
        run.says("draining 1 connections for up to 600 s")
        run.process.send_signal(signal.SIGTERM)
        assert run.end()[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "said"),
    [
        ([], {}, 0, "ok\n"),
        (["--greeting", "rude"], {}, 2, "test: --greeting rude: be polite\n"),
        ([], {"TEST_GREETING": "rude"}, 2, "test: TEST_GREETING=rude (environment): be polite\n"),
        (["--prot=1"], {}, 2, "test: --prot: there is no such setting; --help lists them\n"),
        (["--log-level", "\x1b[2J"], {}, 2, "test: --log-level \\x1b[2J: give one of debug, info, warning, error\n"),
    ],
)  # fmt: skip
def test_check_config(
    start: Start, arguments: list[str], environment: dict[str, str], status: int, said: str
) -> None:
    """--check-config says whether a start would get as far as to its addresses, and touches none."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        run = start("--check-config", "--bind", where, *arguments, **environment)
        assert run.end() == (status, said)


def test_an_error_in_what_only_the_world_can_tell_has_its_origin(start: Start, write: Write) -> None:
    """What a start refuses after all was read still names the file in which it was set."""
    path = write('greeting = "rude"')
    assert start("--config", path).end() == (2, f"test: greeting = rude ({path}): be polite\n")


@pytest.mark.parametrize("setting", ["bind", "metrics"])
def test_an_address_that_cannot_be_had(start: Start, setting: str) -> None:
    """A port in use ends the program with status 1 and one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        run = start(f"--{setting}", f"tcp://{place}" if setting == "bind" else place)
        status, said = run.end()
    assert status == 1
    assert said == (
        f"test: cannot listen on tcp://{place} (Address already in use): "
        f"choose another --{setting}, or end the program that is there\n"
    )


def test_a_host_that_has_no_address(start: Start) -> None:
    """A name that nobody knows ends the program in the same way."""
    status, said = start("--bind", "tcp://nobody.invalid:1").end()
    assert status == 1
    assert said.startswith(
        "test: cannot listen on tcp://nobody.invalid:1 (host: nobody.invalid has no address here"
    )
    assert said.count("\n") == 1


def test_reload(start: Start, write: Write) -> None:
    """SIGHUP takes up what the file says now, refuses what is wrong with one line, and goes on as before."""
    path = write('greeting = "hello"')
    run = start("--config", path)
    (port,) = run.ports()
    run.says("serving")
    assert greeting(port) == "hello\n"
    write('greeting = "good day"\nlog_level = "debug"')
    run.process.send_signal(signal.SIGHUP)
    run.says("WARNING shared.sources: these settings change when the server is started anew: log_level")
    eventually(lambda: greeting(port) == "good day\n")
    write('greeting = "rude"')
    run.process.send_signal(signal.SIGHUP)
    run.says("ERROR shared.sources: the settings stay as they were: greeting = rude .*: be polite")
    assert greeting(port) == "good day\n"
    run.process.send_signal(signal.SIGTERM)
    status, printed = run.end()
    assert status == 0
    assert "Traceback" not in printed


def test_metrics_and_logs_in_json(start: Start) -> None:
    """The status server says where it is, counts, is ready until the drain, and the log is JSON throughout."""
    run = start("--metrics", "127.0.0.1:0", "--log-format", "json")
    (port,) = run.ports()
    status_port = int(run.says(r"metrics are at http://127.0.0.1:(\d+)/metrics")[1])
    run.says("serving")
    with socket.create_connection(("127.0.0.1", port), 20) as client, client.makefile() as file:
        assert file.readline() == "hello\n"
        assert ask(status_port, "/readyz") == (200, "ok\n")
        text = ask(status_port, "/metrics")[1]
        assert 'framework_connections_opened_total{server="test"} 1.0' in text
        assert "test_greeted_total 1.0" in text
    run.process.send_signal(signal.SIGTERM)
    status, printed = run.end()
    assert status == 0
    lines = [*run.log, *printed.splitlines()]
    assert {"ts", "level", "logger", "message"} == {key for line in lines for key in json.loads(line)}


def test_restart_with_metrics(start: Start) -> None:
    """SIGUSR2 hands over the status server's port with the others: the successor serves both."""
    run = start("--metrics", "127.0.0.1:0")
    (port,) = run.ports()
    status_port = int(run.says(r"metrics are at http://127.0.0.1:(\d+)/metrics")[1])
    run.says("serving")
    assert greeting(port) == "hello\n"
    run.process.send_signal(signal.SIGUSR2)
    successor = int(run.says(r"process (\d+) serves: draining")[1])
    try:
        assert run.process.wait(20) == 0
        assert greeting(port) == "hello\n"
        assert ask(status_port, "/readyz") == (200, "ok\n")
        assert "test_greeted_total 1.0" in ask(status_port, "/metrics")[1]
    finally:
        os.kill(successor, signal.SIGTERM)
    run.end()
