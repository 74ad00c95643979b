import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from framework.testing import eventually
from tests.servers.syslog.program import ROOT, Program, Senders, said

Start = Callable[..., Program]
SHORT = ["--format", "{program} {message}"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the program."""
    with ExitStack() as stack:

        def run(
            *arguments: str, listener: socket.socket | None = None, within: Sequence[str] = ()
        ) -> Program:
            program = Program(*arguments, listener=listener, within=within)
            stack.callback(program.close)
            return program

        yield run


def send(path: Path, *messages: bytes) -> None:
    """Send datagrams."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(str(path))
        for message in messages:
            client.send(message)


def lines(*paths: Path) -> list[str]:
    """Return the lines of files."""
    return [line for path in paths if path.exists() for line in path.read_text().splitlines()]


def test_from_start_to_end(start: Start, folder: Path) -> None:
    """The program says how to be talked to, writes what it gets, and ends with 0 and nothing left behind."""
    bind, log = f"unixgram:{folder}/log.sock", folder / "log"
    program = start("--bind", bind, "--text", str(log), "--json", str(folder / "json"), *SHORT)
    assert program.banner == f"The log sink listens on {bind}. Say something by one of\n"
    send(folder / "log.sock", b"<13>one: hello", b"<13>two: \x1b[2J")
    eventually(lambda: len(lines(log)) == 2)
    assert program.end() == 0
    assert lines(log) == ["one hello", r"two \x1b[2J"]
    found = [json.loads(line) for line in lines(folder / "json")]
    assert [each["message"] for each in found] == ["hello", "\x1b[2J"]
    assert found[0]["pid"] == os.getpid()
    assert not (folder / "log.sock").exists()
    assert "Traceback" not in program.log


@pytest.mark.parametrize("kind", ["text", "json"])
def test_standard_output(start: Start, folder: Path, kind: str) -> None:
    """Asked for, standard output has records and nothing else."""
    path = folder / "log.sock"
    program = subprocess.Popen(
        [sys.executable, "-m", "servers.syslog", "--bind", f"unixgram:{path}", "--stdout", kind, *SHORT],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        eventually(path.exists)
        send(path, b"<13>one: hello")
        assert program.stdout is not None
        line = program.stdout.readline()
        program.terminate()
        rest, _ = program.communicate(timeout=20)
    assert rest == ""
    assert line == "one hello\n" if kind == "text" else json.loads(line)["program"] == "one"


def test_sigterm_and_restart_lose_nothing(start: Start, folder: Path) -> None:
    """Under load, what a sender got through is written, over three restarts, once and in order."""
    arguments = ["--bind", f"unixgram:{folder}/log.sock", "--text", str(folder / "log"), *SHORT]
    program = start(*arguments)
    senders = Senders(folder / "log.sock")
    for round_ in range(3):
        eventually(lambda more=round_: len(lines(folder / "log")) > 1000 * (1 + more))  # type: ignore[misc]
        assert program.end() == 0
        program = start(*arguments)
    sent = senders.stop()
    assert program.end() == 0
    found = lines(folder / "log")
    for sender, count in enumerate(sent):
        assert said(found, sender) == list(range(count))
    assert sum(sent) > 3000


def test_sighup_and_rotation_lose_nothing(start: Start, folder: Path) -> None:
    """Under load, a file is renamed and the program told so, as logrotate(8) does: nothing is lost or doubled."""
    log = folder / "log"
    program = start("--bind", f"unixgram:{folder}/log.sock", "--text", str(log), *SHORT)
    senders = Senders(folder / "log.sock")
    for number in range(5):
        eventually(lambda: len(lines(log)) > 500)
        log.rename(folder / f"log.{number}")
        program.tell(signal.SIGHUP)
        eventually(log.exists)
    sent = senders.stop()
    assert program.end() == 0
    found = lines(*(folder / f"log.{number}" for number in range(5)), log)
    for sender, count in enumerate(sent):
        assert said(found, sender) == list(range(count))


def test_a_stopped_sink_loses_nothing(start: Start, folder: Path) -> None:
    """While the program stands still, senders wait; nothing is lost when it goes on."""
    log = folder / "log"
    program = start("--bind", f"unixgram:{folder}/log.sock", "--text", str(log), *SHORT)
    senders = Senders(folder / "log.sock")
    for round_ in range(3):
        eventually(lambda more=round_: len(lines(log)) > 500 * (1 + more))  # type: ignore[misc]
        program.tell(signal.SIGSTOP)
        stat = Path(f"/proc/{program.process.pid}/stat")
        eventually(lambda file=stat: file.read_text().rpartition(")")[2].split()[0] == "T")  # type: ignore[misc]
        program.tell(signal.SIGCONT)
    sent = senders.stop()
    assert program.end() == 0
    found = lines(log)
    for sender, count in enumerate(sent):
        assert said(found, sender) == list(range(count))


@pytest.mark.parametrize(("more", "lost", "doubled"), [((), 1, 0), (("--durability", "peek"), 0, 64)])
def test_sigkill_with_the_socket_held(
    start: Start, folder: Path, more: tuple[str, ...], lost: int, doubled: int
) -> None:
    """Where somebody else holds the socket, a killed sink costs the record in hand, or by peeking none at all."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listener.bind(str(folder / "log.sock"))
        log = folder / "log"
        arguments = ["--bind", f"fd://{listener.fileno()}", "--text", str(log), *SHORT, *more]
        program = start(*arguments, listener=listener)
        senders = Senders(folder / "log.sock")
        for round_ in range(3):
            eventually(lambda more=round_: len(lines(log)) > 1000 * (1 + more))  # type: ignore[misc]
            program.end(signal.SIGKILL)
            program = start(*arguments, listener=listener)
        eventually(lambda: len(lines(log)) > 4000)
        sent = senders.stop()
        eventually(
            lambda: all(count - 1 in said(lines(log), n)[-70:] for n, count in enumerate(sent) if count)
        )
        assert program.end() == 0
    found = lines(log)
    said_once = [set(said(found, sender)) for sender in range(len(sent))]
    assert sum(count - len(once) for count, once in zip(sent, said_once, strict=True)) <= 3 * lost
    assert len(found) - sum(map(len, said_once)) <= 3 * doubled


@pytest.fixture
def small_disk(folder: Path) -> list[str]:
    """Return what runs a program that sees a disk of 64 KiB, of which half is taken, in a folder of this name."""
    (folder / "disk").mkdir()
    script = f'mount -t tmpfs -o size=64k none {folder}/disk && head -c 32k /dev/zero > {folder}/disk/taken && exec "$@"'
    within = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*within, "true"], check=False).returncode:
        pytest.skip("no mount namespace can be had here")
    return within


def test_a_full_disk(start: Start, folder: Path, small_disk: list[str]) -> None:
    """On a full disk the sink takes what comes, says so, and goes on when there is room: each message is there once."""
    arguments = ["--bind", f"unixgram:{folder}/log.sock", *SHORT]
    program = start(*arguments, "--text", f"{folder}/disk/log", within=small_disk)
    disk = Path(f"/proc/{program.process.pid}/root{folder}/disk")
    messages = [f"one {number:0100}" for number in range(600)]
    send(folder / "log.sock", *(f"<13>{message.replace(' ', ': ')}".encode() for message in messages))
    eventually(lambda: "cannot be written ([Errno 28] No space left on device" in program.log)
    full = lines(disk / "log")
    assert full == messages[: len(full)]
    assert 200 < len(full) < 400
    (disk / "taken").unlink()
    eventually(lambda: "written again, after" in program.log)
    eventually(lambda: len(lines(disk / "log")) >= 550)  # as much as there is room for
    assert lines(disk / "log") == messages[: len(lines(disk / "log"))]


def test_the_end_on_a_full_disk(start: Start, folder: Path, small_disk: list[str]) -> None:
    """Where the disk is full and programs wait, SIGTERM ends the sink all the same, and it says what was lost."""
    arguments = ["--bind", f"unixgram:{folder}/log.sock", "--text", f"{folder}/disk/log", *SHORT]
    program = start(*arguments, "--queue", "65536", "--drain-timeout", "0.5", within=small_disk)
    senders = Senders(folder / "log.sock")
    eventually(lambda: "cannot be written" in program.log)
    began = time.monotonic()
    assert program.end() == 0
    assert time.monotonic() - began > 0.5
    sent = senders.stop()
    (lost,) = re.findall(r"text: gave up after 0.5 s; not written: (\d+) messages", program.log)
    assert 0 < int(lost) < sum(sent)


def test_a_second_instance(start: Start, folder: Path) -> None:
    """A second instance ends with a line that says why, and the first goes on, its files untouched."""
    arguments = ["--bind", f"unixgram:{folder}/log.sock", "--text", str(folder / "log"), *SHORT]
    start(*arguments)
    second = start(*arguments)
    assert (second.process.wait(), second.banner) == (1, "")
    assert second.process.stderr is not None
    assert "another server listens there; stop it, or choose another path" in second.process.stderr.read()
    send(folder / "log.sock", b"<13>one: hello")
    eventually(lambda: lines(folder / "log") == ["one hello"])


def test_routes(start: Start, folder: Path) -> None:
    """A file of settings makes outputs, and says what goes where."""
    (folder / "syslog.toml").write_text(f"""
        bind = ["unixgram:{folder}/log.sock"]
        text = "{folder}/rest"
        format = "{{message}}"
        [[files]]
        name = "auth"
        file = "{folder}/auth"
        format = "{{message}}"
        [[routes]]
        facility = ["auth", "authpriv"]
        to = ["auth"]
        final = true
        [[routes]]
        to = ["text"]
    """)
    program = start("--config", str(folder / "syslog.toml"))
    send(folder / "log.sock", b"<38>sshd: in", b"<13>cron: rest", b"<86>su: in too")
    assert program.end() == 0
    assert lines(folder / "auth") == ["in", "in too"]
    assert lines(folder / "rest") == ["rest"]


def test_sighup_and_routes(start: Start, folder: Path) -> None:
    """On SIGHUP the routes are read anew; of what only a new start can change, and of what is wrong, the log speaks."""
    config = folder / "syslog.toml"

    def write(route: str, more: str = "") -> None:
        config.write_text(
            f'bind = ["unixgram:{folder}/log.sock"]\ntext = "{folder}/text"\njson = "{folder}/json"\n'
            f'format = "{{message}}"\n{more}\n[[routes]]\nto = ["{route}"]\n'
        )

    write("text")
    program = start("--config", str(config))
    send(folder / "log.sock", b"<13>one")
    eventually(lambda: lines(folder / "text") == ["one"])
    write("json", "queue = 1000000")
    program.tell(signal.SIGHUP)
    eventually(lambda: "these settings change when the server is started anew: queue" in program.log)
    # The log speaks of it before it is so.
    program.tell(signal.SIGHUP)
    eventually(lambda: program.log.count("queue") == 2)
    send(folder / "log.sock", b"<13>two")
    eventually(lambda: [json.loads(line)["message"] for line in lines(folder / "json")] == ["two"])
    write("nowhere")
    program.tell(signal.SIGHUP)
    eventually(lambda: "the settings stay as they were" in program.log)
    send(folder / "log.sock", b"<13>three")
    assert program.end() == 0
    assert lines(folder / "text") == ["one"]
    assert json.loads(lines(folder / "json")[-1])["message"] == "three"


def test_a_stream_that_was_handed_over(start: Start, folder: Path) -> None:
    """A socket of somebody else's may be for connections: it is served as what it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = start(
            *("--bind", f"fd://{listener.fileno()}", "--text", str(folder / "log"), *SHORT), listener=listener
        )
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"<13>one: hello\n15 <13>two: hello!")
        eventually(lambda: lines(folder / "log") == ["one hello", "two hello!"])
        assert program.end() == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--format", "{x}"], "--format {x}: '{x}' is no template"),
        (["--bind-tls", "tcp://[::1]:0"], "cannot be used (No such file or directory): name files in PEM"),
        (["--zone", "Mars"], "--zone Mars: give a name of the IANA's, such as Europe/Berlin"),
        (["--forward", "http://a:1"], "--forward http://a:1: give tcp://host:port or tls://host:port"),
        (["--text", "/nowhere/log"], "--text /nowhere/log: cannot be opened (No such file or directory)"),
        (["--database", "/dev/null"], "--database /dev/null: cannot be opened"),
        (["--routes", '{"to": ["text"]}'], "text: name outputs that there are: none so far"),
        (["--routes", '{"to": [], "pattern": "("}'], "give a regular expression of Python"),
        (["--routes", '{"to": [], "severity": "bad"}'], "give one of emerg, alert, crit"),
        (["--files", '{"name": "text", "file": "x"}'], "text: call it something else"),
    ],
)
def test_wrong_settings(start: Start, folder: Path, arguments: list[str], complaint: str) -> None:
    """A setting that cannot be used ends the program by a line that names it and the way out."""
    program = start("--bind", f"unixgram:{folder}/log.sock", *arguments)
    assert program.process.stderr is not None
    assert complaint in program.process.stderr.read()
    assert (program.process.wait(), program.banner) == (2, "")
    assert not (folder / "log.sock").exists()


def test_metrics(start: Start, folder: Path) -> None:
    """Prometheus is told what came and what was written."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start(
        *("--bind", f"unixgram:{folder}/log.sock", "--text", str(folder / "log"), *SHORT),
        *("--metrics", f"127.0.0.1:{port}"),
    )
    send(folder / "log.sock", b"<13>one: hello", b"")
    eventually(lambda: lines(folder / "log") == ["one hello"])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    assert "\nsyslog_received_total 1.0\n" in text
    assert "\nsyslog_empty_total 1.0\n" in text
    assert '\nsyslog_written_total{output="text"} 1.0\n' in text
