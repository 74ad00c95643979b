"""What programs log with the clients they have, beside rsyslogd and syslog-ng given the same."""

import json
import logging
import logging.handlers
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from framework.testing import PATIENCE, eventually
from servers.syslog.outputs.forward import ForwardOutput, connector
from servers.syslog.outputs.spool import Spool
from tests.real_clients.syslog_sinks import Collector, Ours, Rsyslog, Stored, SyslogNg
from tests.servers.syslog.conftest import folder, record

__all__ = ["folder"]

Send = Callable[[Path], None]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be ended at the end."""
    with ExitStack() as stack:
        yield stack


def beside(
    stack: ExitStack, folder: Path, send: Send, count: int
) -> tuple[list[Stored], list[Stored], list[Stored]]:
    """Let all three sinks have the same; return what each has stored: ours, rsyslogd's and syslog-ng's."""
    found: list[list[Stored]] = []
    for kind in (Ours, Rsyslog, SyslogNg):
        place = folder / kind.__name__
        place.mkdir()
        sink = kind(place)
        stack.callback(sink.close)
        send(sink.socket)
        found.append(sink.stored(count))
    ours, rsyslog, syslog_ng = found
    return ours, rsyslog, syslog_ng


def need(program: str) -> str:
    """Return where a program is."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def logger(*arguments: str, text: str | None = None) -> Send:
    """Return a sender: the program logger, with these arguments."""
    program = need("logger")

    def send(path: Path) -> None:
        subprocess.run([program, "-u", str(path), *arguments], input=text, text=True, check=True, timeout=20)

    return send


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-t", "tag", "plain"], Stored("user", "notice", "tag", "", "plain")),
        (["-t", "tag", "-p", "local3.crit", "--id=7654321", "m"], Stored("local3", "crit", "tag", "7654321", "m")),
        (["-t", "tag", "--rfc3164", "m"], Stored("user", "notice", "tag", "", "m")),
        (["-t", "tag", "--rfc5424", "--msgid", "ID47", "m"], Stored("user", "notice", "tag", "", "m")),
        (["-t", "tag", "--rfc5424", "--sd-id", "a@1", "--sd-param", 'b="c"', "m"], Stored("user", "notice", "tag", "", "m")),
        (["-t", "tag", "--prio-prefix", "<11>m"], Stored("user", "err", "tag", "", "m")),
        (["-t", "tag", "grüß dich"], Stored("user", "notice", "tag", "", "grüß dich")),
        (["-t", "tag", "-p", "kern.emerg", "m"], Stored("user", "emerg", "tag", "", "m")),
        (["-t", "tag", "--size", "8000", "x" * 7000], Stored("user", "notice", "tag", "", "x" * 7000)),
    ],
)  # fmt: skip
def test_logger(stack: ExitStack, folder: Path, arguments: list[str], expected: Stored) -> None:
    """What logger(1) sends in each of its ways is stored as it was meant; of the text, the daemons agree."""
    text = arguments.pop() + "\n" if "--prio-prefix" in arguments else None
    ours, *others = beside(stack, folder, logger(*arguments, text=text), 1)
    assert ours == [expected]
    for stored in others:
        assert stored[0].message.endswith(expected.message)
        assert stored[0].severity == expected.severity


def test_logger_with_lines(stack: ExitStack, folder: Path) -> None:
    """Of lines on its standard input, logger(1) makes a message each."""
    ours, rsyslog, syslog_ng = beside(stack, folder, logger("-t", "tag", text="one\ntwo\nthree\n"), 3)
    assert [each.message for each in ours] == ["one", "two", "three"]
    assert (
        [each.message.strip() for each in rsyslog]
        == [each.message for each in syslog_ng]
        == ["one", "two", "three"]
    )


def test_logger_over_networks(stack: ExitStack, folder: Path) -> None:
    """Over UDP, and over TCP with either framing, logger(1) says the same as to a local socket."""
    ports = [_free_port(kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    place = folder / "ours"
    place.mkdir()
    sink = Ours(place, "--bind", f"udp://127.0.0.1:{ports[0]}", "--bind", f"tcp://127.0.0.1:{ports[1]}")
    stack.callback(sink.close)
    program = need("logger")
    for number, how in enumerate((["-d"], ["-T"], ["-T", "--octet-count"])):
        port = ports[0] if how == ["-d"] else ports[1]
        command = [program, *how, "-n", "127.0.0.1", "-P", str(port), "-t", "tag", f"message {number}"]
        subprocess.run(command, check=True, timeout=20)
        assert sink.stored(number + 1)[number] == Stored("user", "notice", "tag", "", f"message {number}")


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_syslog_of_the_c_library(stack: ExitStack, folder: Path) -> None:
    """A program that logs by syslog(3) finds the sink at /dev/log, and is stored with its process and message."""
    compiler, unshare = need("cc"), need("unshare")
    program = folder / "client"
    subprocess.run(
        [compiler, "-o", str(program), str(Path(__file__).with_name("syslog_client.c"))], check=True
    )
    # A /dev of its own, since this machine's is for others.
    namespace = [unshare, "--mount", "sh", "-c"]
    mount = "mount -t tmpfs none /dev"
    if subprocess.run([*namespace, mount], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no mount namespace can be had here")

    def send(path: Path) -> None:
        subprocess.run([*namespace, f"{mount} && ln -s {path} /dev/log && {program}"], check=True, timeout=20)

    ours, rsyslog, syslog_ng = beside(stack, folder, send, 2)
    disk, lines = ours
    assert disk == Stored("daemon", "warning", "cprogram", disk.procid, "disk sda is 93% full")
    assert disk.procid.isdecimal()
    assert lines == Stored("authpriv", "info", "plain", "", r"two\nlines")
    found = [json.loads(line) for line in (folder / "Ours" / "json").read_text().splitlines()]
    assert str(found[0]["pid"]) == found[0]["procid"]
    assert found[1]["message"] == "two\nlines"
    assert rsyslog[0].message.strip() == syslog_ng[0].message == disk.message


@pytest.mark.parametrize("ident", ["", "app: ", "app[7]: "])
def test_syslog_handler(stack: ExitStack, folder: Path, ident: str) -> None:
    """What Python's SysLogHandler sends, with a NUL at its end and no time, is stored as it was meant."""

    def send(path: Path) -> None:
        handler = logging.handlers.SysLogHandler(str(path), logging.handlers.SysLogHandler.LOG_LOCAL1)
        handler.ident = ident
        handler.handle(
            logging.LogRecord("name", logging.ERROR, __file__, 1, "it failed: grüß dich", None, None)
        )
        handler.close()

    ours, rsyslog, _ = beside(stack, folder, send, 1)
    program, procid = {"": ("", ""), "app: ": ("app", ""), "app[7]: ": ("app", "7")}[ident]
    assert ours == [Stored("local1", "err", program, procid, "it failed: grüß dich")]
    assert rsyslog[0].severity == "err"


def test_a_library_for_rfc_5424(stack: ExitStack, folder: Path) -> None:
    """What a library for RFC 5424 sends, with structured data and a BOM, is stored in all its parts."""
    library: Any = pytest.importorskip("rfc5424logging", reason="rfc5424-logging-handler is not installed")

    def send(path: Path) -> None:
        handler = library.Rfc5424SysLogHandler(address=str(path), appname="app", procid=7, msg_as_utf8=True)
        log = logging.getLogger(f"rfc5424 {path}")
        log.propagate = False
        log.addHandler(handler)
        adapter = library.Rfc5424SysLogAdapter(log, {})
        data = {"id@1": {"quoted": 'a "b" \\ ]', "plain": "c"}}
        adapter.warning("grüß dich", extra={"structured_data": data, "msgid": "ID47"})
        handler.close()

    ours, rsyslog, syslog_ng = beside(stack, folder, send, 1)
    assert ours == [Stored("user", "warning", "app", "7", "grüß dich")]
    (found,) = [json.loads(line) for line in (folder / "Ours" / "json").read_text().splitlines()]
    assert found["msgid"] == "ID47"
    assert found["structured_data"] == {"id@1": {"quoted": 'a "b" \\ ]', "plain": "c"}}
    assert syslog_ng == ours
    assert rsyslog[0].message.removeprefix("\ufeff") == "grüß dich"


# What nobody should send, and everybody can; and what is to be made of it.
HOSTILE = [
    (b"<>panic", Stored("user", "notice", "", "", "<>panic")),
    (b"<192>panic", Stored("user", "notice", "", "", "<192>panic")),
    (b"no priority", Stored("user", "notice", "", "", "no priority")),
    (b"<13>tag: one\ntwo: Accepted", Stored("user", "notice", "tag", "", r"one\ntwo: Accepted")),
    (b"<13>tag: \x1b[2J\r\x00.", Stored("user", "notice", "tag", "", r"\x1b[2J\r\x00.")),
    (b"<13>tag: gr\xfc\xdf", Stored("user", "notice", "tag", "", r"gr\xfc\xdf")),
    ("<13>tag: \u202egnp.exe".encode(), Stored("user", "notice", "tag", "", r"\u202egnp.exe")),
    (b'<13>1 - h a - - [x y="]"] text', Stored("user", "notice", "", "", r'1 - h a - - [x y="]"] text')),
    (b"<13>1 2026-11-22T15:22:60Z h a - - - text", Stored("user", "notice", "", "", "1 2026-11-22T15:22:60Z h a - - - text")),
    (b"<13>tag: " + b"x" * 100_000, Stored("user", "notice", "tag", "", "x" * 100_000)),
]  # fmt: skip


def test_hostile_datagrams(stack: ExitStack, folder: Path) -> None:
    """What is broken is stored as a whole, in one line, harmless and no alarm; -s shows what the daemons make of it."""

    def send(path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(str(path))
            for octets, _ in HOSTILE:
                client.send(octets)

    ours, rsyslog, syslog_ng = beside(stack, folder, send, len(HOSTILE))
    assert ours == [expected for _, expected in HOSTILE]
    for name, stored in (
        ("sent", [octets for octets, _ in HOSTILE]),
        ("ours", ours),
        ("rsyslogd", rsyslog),
        ("syslog-ng", syslog_ng),
    ):
        print(f"\n{name}:", *[f"    {str(each)[:150]}" for each in stored], sep="\n")


@pytest.mark.parametrize("tls", [False, True])
def test_rsyslogd_forwards_to_us(stack: ExitStack, folder: Path, tls: bool) -> None:
    """A host with rsyslogd sends on what it gets, over TCP or TLS with counted frames, and we know that host by name."""
    need("rsyslogd")
    port = _free_port(socket.SOCK_STREAM)
    place = folder / "ours"
    place.mkdir()
    where, driver, mode = ["--bind", f"tcp://127.0.0.1:{port}"], "", ""
    if tls:
        authority, certificate, key = certificates(folder)
        where = ["--bind-tls", where[1], "--certificate", str(certificate), "--key", str(key)]
        driver = f'DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{authority}"'
        mode = 'StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"'
    sink = Ours(place, *where)
    stack.callback(sink.close)
    relay = folder / "relay"
    relay.mkdir()
    (folder / "conf").write_text(f"""
        global(workDirectory="{relay}" localHostname="relay.example" {driver})
        module(load="imuxsock" SysSock.Use="off")
        input(type="imuxsock" Socket="{relay}/log.sock")
        action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted"
               template="RSYSLOG_SyslogProtocol23Format" {mode})
    """)
    command = ["rsyslogd", "-n", "-f", str(folder / "conf"), "-i", str(folder / "pid")]
    process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
    stack.callback(process.terminate)
    eventually((relay / "log.sock").exists)
    logger("-t", "tag", "-p", "auth.err", "by way of a relay")(relay / "log.sock")
    assert sink.stored(1)[0].message.strip() == "by way of a relay"
    objects = place / "json"
    eventually(lambda: "\n" in objects.read_text())
    found = json.loads(objects.read_text().splitlines()[0])
    assert (found["hostname"], found["peer"], found["severity"]) == ("relay.example", "127.0.0.1", "err")


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Make an authority and a certificate for localhost; return the files of these and of the key."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    files = (folder / "authority", folder / "certificate", folder / "key")
    authority.cert_pem.write_to_path(str(files[0]))
    certificate.cert_chain_pems[0].write_to_path(str(files[1]))
    certificate.private_key_pem.write_to_path(str(files[2]))
    return files


def _forward(folder: Path, port: int, **more: object) -> ForwardOutput:
    connect = connector("localhost", port, more.get("tls"))  # type: ignore[arg-type]
    return ForwardOutput("collector", connect, Spool(folder / "spool", 1 << 26), "here", settle=1)


def test_a_collector_that_dies_and_returns(stack: ExitStack, folder: Path) -> None:
    """What is forwarded to an rsyslogd that is killed twice under load arrives; what came twice is known."""
    need("rsyslogd")
    place = folder / "collector"
    place.mkdir()
    collector = Collector(place, _free_port(socket.SOCK_STREAM))
    stack.callback(collector.close)
    output = _forward(folder, collector.port)
    stopped = threading.Event()
    sent = 0

    def feed() -> None:
        nonlocal sent
        while not stopped.wait(0.002):
            output.write([record(f"tag[7]: message {number}") for number in range(sent, sent + 20)])
            sent += 20

    feeding = threading.Thread(target=feed)
    feeding.start()
    for round_ in range(2):
        eventually(lambda more=round_: len(collector.lines()) > 2000 * (1 + more))  # type: ignore[misc]
        collector.kill()
        collector.run()
    eventually(lambda: len(collector.lines()) > 6000)
    stopped.set()
    feeding.join(PATIENCE)
    last = f"message {sent - 1}".encode()
    eventually(lambda: any(line.endswith(last) for line in collector.lines()[-100:]))
    output.close()
    arrived = [int(line.rpartition(b" ")[2]) for line in collector.lines() if line.count(b"|") == 3]
    assert set(range(sent)) <= set(arrived)
    assert len(arrived) - len(set(arrived)) <= output.repeated


def test_forwarding_over_tls(stack: ExitStack, folder: Path) -> None:
    """An rsyslogd that takes TLS gets what is forwarded, and by its close says that it has read all of it."""
    need("rsyslogd")
    files = certificates(folder)
    place = folder / "collector"
    place.mkdir()
    collector = Collector(place, _free_port(socket.SOCK_STREAM), files)
    stack.callback(collector.close)
    import ssl

    output = _forward(folder, collector.port, tls=ssl.create_default_context(cafile=str(files[0])))
    output.write([record(f"tag[7]: grüß dich {number}") for number in range(1000)])
    eventually(lambda: len(collector.lines()) == 1000)
    output.close()
    assert collector.lines()[-1].decode() == "here|tag|7|\ufeffgrüß dich 999"
