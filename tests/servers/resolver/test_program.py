"""The program: how it begins, takes up changes, and ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.resolver.message import parse, query
from servers.resolver.names import from_text
from servers.resolver.settings import Settings, ZoneFile
from tests.servers.programs import Start, starting
from tests.servers.resolver.client import PATIENCE, Running, receive, send
from tests.servers.resolver.upstreams import Upstream

ROOT = Path(__file__).parents[3]
ANY_PORT = ("--bind", "udp://127.0.0.1:0", "--bind", "tcp://127.0.0.1:0")
ZONE = "$TTL 60\n@ SOA ns h {serial} 2 3 4 30\n@ NS ns\nns A 192.0.2.{serial}\n"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the program."""
    with starting("servers.resolver") as start:
        yield start


def ports(program: subprocess.Popen[str]) -> list[int]:
    """Read where the program says that it listens."""
    assert program.stdout is not None
    return [int(found) for found in re.findall(r"://127\.0\.0\.1:(\d+)", program.stdout.readline())]


def client(port: int) -> socket.socket:
    """Return a client of the port."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(PATIENCE)
    made.connect(("127.0.0.1", port))
    return made


def ask(asker: socket.socket, name: str, number: int = 1) -> bytes:
    """Return the address that a name has."""
    asker.send(query(number, from_text(name), 1, flags=0x0100))
    message = parse(asker.recv(4096))
    assert message.id == number
    return message.answer[-1].rdatas[0] if message.answer else b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_at_once(start: Start, number: signal.Signals) -> None:
    """Told nothing but ports, it has a zone and a hosts file to show, and ends at a signal with status 0."""
    program = start(*ANY_PORT)
    udp, _ = ports(program)
    with client(udp) as asker:
        assert ask(asker, "www.demo.test.") == bytes([192, 0, 2, 80])
        assert ask(asker, "printer.home.") == bytes([192, 0, 2, 50])
    program.send_signal(number)
    _, log = program.communicate(timeout=PATIENCE)
    assert program.returncode == 0
    assert "Traceback" not in log


def test_changes_without_a_missed_query(start: Start, tmp_path: Path) -> None:
    """At SIGHUP the files are read anew while every query is answered; a file that is wrong changes nothing."""
    file = tmp_path / "zone"
    file.write_text(ZONE.format(serial=1))
    program = start(*ANY_PORT, "--zone", f"example.org={file}")
    (udp, _), count = ports(program), 0

    def until(last: int) -> None:
        nonlocal count
        while True:
            count += 1
            address = ask(asker, "ns.example.org.", count % 65536)
            assert address in {bytes([192, 0, 2, last - 1]), bytes([192, 0, 2, last])}
            if address[-1] == last:
                return

    with client(udp) as asker:
        assert ask(asker, "ns.example.org.") == bytes([192, 0, 2, 1])
        file.write_text(ZONE.format(serial=2))
        program.send_signal(signal.SIGHUP)
        until(2)
        file.write_text("$TTL 60\nnonsense\n")
        program.send_signal(signal.SIGHUP)
        assert program.stderr is not None
        for line in program.stderr:
            if "stay as they were" in line:
                assert f"{file}:2:1" in line
                break
        assert ask(asker, "ns.example.org.") == bytes([192, 0, 2, 2])
        file.write_text(ZONE.format(serial=3))
        program.send_signal(signal.SIGHUP)
        until(3)


def until_logged(program: subprocess.Popen[str], pattern: str, count: int = 1) -> list[str]:
    """Return what the pattern finds in the log, once it has found so much."""
    found = list[str]()
    assert program.stderr is not None
    while len(found) < count:
        found += re.findall(pattern, program.stderr.readline())
    return found


def test_several_processes(start: Start, tmp_path: Path) -> None:
    """Workers answer, take up changes without a missed query, are replaced when they crash, and end with the program."""
    file = tmp_path / "zone"
    file.write_text(ZONE.format(serial=1))
    program = start(*ANY_PORT, "--zone", f"example.org={file}", "--workers", "2")
    udp, tcp = ports(program)
    workers = until_logged(program, r"worker (\d+) started", 2)
    with client(udp) as first, client(udp) as second, socket.create_connection(("127.0.0.1", tcp)) as stream:
        for asker in (first, second):
            assert ask(asker, "ns.example.org.") == bytes([192, 0, 2, 1])
        os.kill(int(workers[0]), signal.SIGKILL)
        workers[0] = until_logged(program, r"worker (\d+) started")[0]
        file.write_text(ZONE.format(serial=2))
        program.send_signal(signal.SIGHUP)
        count = 1
        while {ask(each, "ns.example.org.", count % 65536)[-1] for each in (first, second)} != {2}:
            count += 1
        send(stream, query(1, from_text("ns.example.org."), 1))
        assert parse(receive(stream)).answer[0].rdatas == (bytes([192, 0, 2, 2]),)
        program.send_signal(signal.SIGTERM)
    _, log = program.communicate(timeout=PATIENCE)
    assert (program.returncode, "Traceback" in log) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--zone", "x"], "--zone x: write the zone's name, =, and its file: example.org=example.zone"),
        (
            ["--zone", "x=/nowhere"],
            "--zone x.=/nowhere: /nowhere: cannot be read (No such file or directory): name a master file",
        ),
        (
            ["--forward", "nonsense"],
            "--forward nonsense: write the address of a server, 192.0.2.1:53 or [2001:db8::1]:53",
        ),
        (
            ["--hosts", "/nowhere"],
            "--hosts: /nowhere: cannot be read (No such file or directory): name a text file",
        ),
        (
            ["--allow-recursion", "192.0.2.1/24"],
            "--allow-recursion 192.0.2.1/24: 192.0.2.1/24 has host bits set: write a network, 192.0.2.0/24, or an address",
        ),
        (["--notify", "x"], "--notify x: write the address of a server, 192.0.2.1:53 or [2001:db8::1]:53"),
        (["--payload", "100"], "--payload 100: give from 512 to 4096"),
        (["--cookie-secret", "abc"], "--cookie-secret (not shown): give 32 hexadecimal digits"),
        (["--bind", "unix:/tmp/x"], "--bind unix:/tmp/x: give one of udp, tcp, fd and systemd"),
    ],
)
def test_wrong_settings(start: Start, arguments: list[str], complaint: str) -> None:
    """A setting that cannot be used ends the program by one line that names it, its value and the way out."""
    program = start(*ANY_PORT, *arguments, "--check-config")
    out, log = program.communicate(timeout=PATIENCE)
    assert (program.returncode, out, log) == (2, "", f"resolver: {complaint}\n")


def test_one_file_for_all(start: Start, tmp_path: Path) -> None:
    """All settings may be in one file, pairs as tables."""
    (tmp_path / "zone").write_text(ZONE.format(serial=1))
    config = tmp_path / "resolver.toml"
    config.write_text(
        'bind = ["udp://127.0.0.1:0"]\nallow_recursion = ["127.0.0.1"]\nblock_answer = "nxdomain"\n'
        f'[zone]\n"example.org" = "{tmp_path / "zone"}"\n[forward]\n"corp.example" = "192.0.2.1:53"\n'
    )
    program = start("--config", str(config), "--check-config")
    assert program.communicate(timeout=PATIENCE) == ("ok\n", "")


def test_limits_of_the_cache_change(start: Start, tmp_path: Path) -> None:
    """Other limits go for what is remembered from the reload on."""
    config = tmp_path / "resolver.toml"
    with Upstream() as upstream:
        text = f'forward = ["127.0.0.1:{upstream.address[1]}"]\ncache_max_ttl = '
        config.write_text(text + "50")
        program = start(*ANY_PORT, "--config", str(config))
        with client(ports(program)[0]) as asker:

            def ttl() -> int:
                asker.send(query(1, from_text("good.example."), 1, flags=0x0100))
                return parse(asker.recv(4096)).answer[0].ttl

            assert ttl() == 50
            config.write_text(text + "5")
            program.send_signal(signal.SIGHUP)
            while ttl() > 5:
                pass


def test_changed_zones_want_a_new_serial(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A zone that has changed under its old serial number is served, and complained about."""
    with Running({"example.org.": ZONE.format(serial=1)}, folder) as resolver:
        (folder / "0.zone").write_text(ZONE.format(serial=1) + "new A 192.0.2.9\n")
        resolver.service.reload()
        assert resolver.ask("new.example.org.").answer
    assert "its serial has not" in caplog.text


def test_signed_zones(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """That a zone is signed, and is served as if it were not, is said."""
    signature = "@ RRSIG SOA 8 2 60 20300101000000 20200101000000 1 @ AAAA\n"
    with Running({"example.org.": ZONE.format(serial=1) + signature}, folder):
        assert "example.org. is signed" in caplog.text


def test_a_secondary_that_is_away_is_told_later(folder: Path) -> None:
    """A NOTIFY that is not acknowledged is sent again; one with another ID acknowledges nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as secondary:
        secondary.bind(("127.0.0.1", 0))
        secondary.settimeout(PATIENCE)
        host, port = secondary.getsockname()
        with Running({"example.org.": ZONE.format(serial=7)}, folder, notify=(f"{host}:{port}",)) as resolver:
            data, peer = secondary.recvfrom(4096)
            message = parse(data)
            assert (message.flags >> 11 & 0xF, message.questions[0][1]) == (4, 6)
            assert message.answer == (resolver.service.settings.read_zones()[from_text("example.org.")].soa,)
            wrong = bytes([data[0] ^ 1, data[1], data[2] | 0x80, *data[3:]])
            secondary.sendto(wrong, peer)
            again, _ = secondary.recvfrom(4096)
            assert parse(again).questions == message.questions


def test_settings_are_shown_as_they_are_written() -> None:
    """A zone's setting reads as it is written."""
    assert str(ZoneFile.parse("Example.org=x/y")) == "example.org.=x/y"
    assert Settings(bind=()).forward == ()
