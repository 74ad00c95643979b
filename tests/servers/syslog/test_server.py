import array
import contextlib
import os
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from framework import at
from framework.testing import PATIENCE, bounded, eventually
from servers.syslog.limits import PeerLimits
from servers.syslog.record import Peer
from servers.syslog.routes import Route
from servers.syslog.server import DatagramSinkServer
from tests.servers.syslog.conftest import Running

EVERY = pytest.mark.parametrize("peeks", [False, True])


def me() -> Peer:
    """Return who the kernel says this process is."""
    return Peer(os.getpid(), os.geteuid(), os.getegid())


@EVERY
def test_datagrams(run: Running, folder: Path, peeks: bool) -> None:
    """Datagrams are taken in order, each with its sender's credentials, whatever it claims."""
    server = run.serve(f"unixgram:{folder}/log", peeks=peeks)
    client = run.client(server)
    for number in range(200):
        client.send(b"<86>sshd[1]: %d" % number)
    eventually(lambda: len(run.output.records) == 200)
    assert run.output.messages == [str(number) for number in range(200)]
    assert {(record.peer, record.procid) for record in run.output.records} == {(me(), "1")}


@EVERY
def test_empty_datagrams(run: Running, folder: Path, peeks: bool) -> None:
    """An empty datagram says nothing, ends nothing, and is counted."""
    client = run.client(run.serve(f"unixgram:{folder}/log", peeks=peeks))
    for octets in (b"", b"one", b"", b"", b"two", b""):
        client.send(octets)
    eventually(lambda: run.sink.empty == 4 and len(run.output.records) == 2)
    assert run.output.messages == ["one", "two"]


@EVERY
def test_long_datagrams(run: Running, folder: Path, peeks: bool) -> None:
    """What is longer than the limit is cut, and says so; what follows it is not touched."""
    client = run.client(run.serve(f"unixgram:{folder}/log", peeks=peeks, size=1024))
    for octets in (b"<13>" + b"x" * 5000, b"<13>" + b"y" * 1020, b"<13>" + b"z" * 1021, b"<13>end"):
        client.send(octets)
    eventually(lambda: len(run.output.records) == 4)
    assert [(record.message, record.truncated) for record in run.output.records] == [
        ("x" * 1020, True),
        ("y" * 1020, False),
        ("z" * 1020, True),
        ("end", False),
    ]
    assert run.sink.truncated == 2


def test_the_longest_datagram(run: Running, folder: Path) -> None:
    """Whatever the kernel lets a program send is taken as a whole."""
    client = run.client(run.serve(f"unixgram:{folder}/log"))
    size = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - 32
    octets = b"<13>" + b"x" * (size - 4)
    client.send(octets)
    eventually(lambda: run.output.records != [])
    assert len(run.output.records[0].message) == size - 4
    assert not run.output.records[0].truncated


def test_descriptors_are_not_taken(run: Running, folder: Path) -> None:
    """Descriptors that a sender passes are closed, rather than fill this process's table."""
    client = run.client(run.serve(f"unixgram:{folder}/log"))
    before = {each.name for each in Path("/proc/self/fd").iterdir()}
    with Path("/dev/null").open("rb") as null:
        for number in range(50):
            passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()] * 4))
            client.sendmsg([b"%d" % number], [passed])
    eventually(lambda: len(run.output.records) == 50)
    assert {each.name for each in Path("/proc/self/fd").iterdir()} <= before
    assert run.output.records[0].peer == me()


def test_a_forged_identity(run: Running, folder: Path) -> None:
    """A program that says it is sshd of root is shown as who it is."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder.chmod(0o755)
    server = run.serve(f"unixgram:{folder}/log?mode=0666")
    child = os.fork()
    if not child:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(server.server_address)
            client.send(b"<86>Nov 22 15:22:59 sshd[1]: Accepted password for root")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    eventually(lambda: run.output.records != [])
    (record,) = run.output.records
    assert (record.program, record.procid, record.peer) == ("sshd", "1", Peer(child, 65534, 65534))


def test_udp(run: Running) -> None:
    """Over UDP, the peer is a host."""
    client = run.client(run.serve("udp://127.0.0.1:0"))
    client.send(b"<13>one")
    client.send(b"")
    client.send(b"<13>two")
    eventually(lambda: len(run.output.records) == 2)
    assert run.output.messages == ["one", "two"]
    assert {record.peer for record in run.output.records} == {Peer(address="127.0.0.1")}
    assert run.sink.empty == 1


def test_udp_of_both_families(run: Running) -> None:
    """On a socket for both families, a peer of IPv4 has an address of IPv4."""
    server = run.serve("udp://[::]:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"four", ("127.0.0.1", server.server_address[1]))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.sendto(b"six", ("::1", server.server_address[1]))
    eventually(lambda: len(run.output.records) == 2)
    assert {record.peer.address for record in run.output.records} == {"127.0.0.1", "::1"}


def test_tcp(run: Running) -> None:
    """Over TCP, messages come in frames of both kinds, and the last one needs no end."""
    client = run.client(run.serve("tcp://127.0.0.1:0"))
    client.sendall(b"<13>one\n10 <13>t\nwo!\n\n<13>three")
    client.close()
    eventually(lambda: len(run.output.records) == 3)
    assert run.output.messages == ["one", "t\nwo!", "three"]
    assert run.output.records[0].peer == Peer(address="127.0.0.1")


def test_a_drain_takes_what_has_come(run: Running) -> None:
    """What a host has sent over TCP before the server drains is taken, in whole frames and without an end."""
    server = run.serve("tcp://127.0.0.1:0")
    client = run.client(server)
    client.sendall(b"<13>first\n")
    eventually(lambda: run.output.messages == ["first"])
    client.sendall(b"".join(b"<13>%d\n" % number for number in range(20_000)) + b"<13>end")
    server.drain(PATIENCE)
    run.sink.flush()
    assert run.output.messages == ["first", *[str(number) for number in range(20_000)], "end"]


def test_limits_of_hosts() -> None:
    """A host that floods over TCP is told of while nobody sends."""
    with ExitStack() as stack:
        run = Running(stack, limits=PeerLimits(0.001, 2, "pid"))
        client = run.client(run.serve("tcp://127.0.0.1:0"))
        client.sendall(b"<13>m\n" * 10)
        eventually(lambda: run.output.messages == ["m", "m", "8 messages dropped from host 127.0.0.1"])


def test_unix_streams(run: Running, folder: Path) -> None:
    """Over a Unix stream, the peer is who connected."""
    client = run.client(run.serve(f"unix:{folder}/log"))
    client.sendall(b"<13>one\n")
    eventually(lambda: run.output.messages == ["one"])
    assert run.output.records[0].peer == me()


def test_many_senders_at_once(run: Running, folder: Path) -> None:
    """Nothing is lost, doubled or put out of order between processes that send as fast as they can."""
    server = run.serve(f"unixgram:{folder}/log")
    children = []
    for name in range(4):
        child = os.fork()
        if not child:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            client.connect(server.server_address)
            for number in range(2000):
                client.send(b"<13>%d: %d" % (name, number))
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    eventually(lambda: len(run.output.records) == 8000)
    for name in range(4):
        said = [record.message for record in run.output.records if record.program == str(name)]
        assert said == [str(number) for number in range(2000)]


@EVERY
def test_closing_takes_what_was_sent(run: Running, folder: Path, peeks: bool) -> None:
    """What the kernel holds when the server ends is taken; who sends later is told at once; the path is gone."""
    server = DatagramSinkServer(at(f"unixgram:{folder}/log"), run.sink, 4096, peeks=peeks)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(server.server_address)
        client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while client.send(b"<13>%d" % sent):
                sent += 1
        waiting = threading.Thread(target=_send_blocking, args=(server.server_address,))
        waiting.start()
        server.server_close()
        with pytest.raises((BrokenPipeError, ConnectionRefusedError)):
            client.send(b"<13>late")
        bounded(waiting.join, PATIENCE)
    run.sink.flush()
    assert sent > 5
    assert run.output.messages[:sent] == [str(number) for number in range(sent)]
    assert not (folder / "log").exists()


def _send_blocking(address: Any) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        try:
            client.connect(address)
            client.send(b"<13>waiting")
        except OSError:
            pass  # what the sink refuses, the sender knows of


def test_a_killed_sink_that_peeked(run: Running, folder: Path) -> None:
    """With durability by peeking, what was passed on and not written is received anew by whoever starts next."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listener.bind(str(folder / "log"))
        client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        client.connect(listener.getsockname())
        for octets in (b"", b"one", b"", b"two"):
            client.send(octets)
        first = DatagramSinkServer(at(f"fd://{os.dup(listener.fileno())}"), run.sink, 4096, peeks=True)
        peeked, _ = first.get_request()
        assert [datagram.octets for datagram in peeked] == [b"", b"one", b"", b"two"]
        first.socket.close()  # as SIGKILL does, with nothing said
        second = run.serve(f"fd://{os.dup(listener.fileno())}", peeks=True)
        eventually(lambda: run.output.messages == ["one", "two"])
        client.send(b"three")
        eventually(lambda: run.output.messages == ["one", "two", "three"])
        assert second.socket.bound


def test_a_socket_that_others_hold(run: Running, folder: Path) -> None:
    """On a socket that was handed over nothing is refused at the end: whoever comes next takes it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "log"))
        server = DatagramSinkServer(at(f"fd://{os.dup(listener.fileno())}"), run.sink, 4096)
        server.server_close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(listener.getsockname())
            client.send(b"for the next")
        assert listener.recv(100) == b"for the next"


def test_a_second_instance_is_refused(run: Running, folder: Path) -> None:
    """A live socket is not stolen, and a dead one is in nobody's way."""
    server = run.serve(f"unixgram:{folder}/log")
    with pytest.raises(OSError, match="another server listens there"):
        run.serve(f"unixgram:{folder}/log")
    run.client(server).send(b"still here")
    eventually(lambda: run.output.messages == ["still here"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(folder / "dead"))
    run.client(run.serve(f"unixgram:{folder}/dead")).send(b"alive")
    eventually(lambda: run.output.messages == ["still here", "alive"])


def test_limits_and_routes(folder: Path) -> None:
    """A flood is limited at the sink, and told of in the log; what no route wants goes nowhere."""
    with ExitStack() as stack:
        routes = (Route((), programs=frozenset({"noise"}), final=True), Route(("memory",)))
        run = Running(stack, routes, PeerLimits(0.001, 3, "pid"))
        client = run.client(run.serve(f"unixgram:{folder}/log"))
        for number in range(5):
            client.send(b"<15>flood: %d" % number)
        client.send(b"<10>flood: critical")
        client.send(b"<10>noise: critical")
        eventually(lambda: run.sink.received == 7 and len(run.output.messages) == 4)
        run.sink.close(PATIENCE)
        assert run.output.messages == [
            "0",
            "1",
            "2",
            "critical",
            f"2 messages dropped from pid {os.getpid()}",
        ]
        assert run.output.records[-1].program == "syslog"


def test_a_reload_reopens(run: Running, folder: Path) -> None:
    """SIGHUP, which becomes reload(), opens the outputs anew."""
    run.serve(f"unixgram:{folder}/log").reload()
    eventually(lambda: run.output.reopened == 1)
