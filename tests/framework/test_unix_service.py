"""Unix sockets as a service has them: who may connect, whose the path is, and who is at the other end."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from framework import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler, unix_service
from framework.addresses import AddressError, at
from framework.service import ServiceMixIn, ThreadingTCPService, UnixStreamService
from framework.threads import ThreadingMixIn
from framework.unix import UnixDatagramServer, UnixStreamServer
from framework.unix_service import PeerCredentials, UnixPeer
from tests.framework.spec import PATIENCE, serving

ME = PeerCredentials(os.getpid(), os.geteuid(), os.getegid())

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


class WhoAmI(StreamRequestHandler):
    """Tells a client who it is."""

    def handle(self) -> None:
        """Answer by the credentials."""
        self.wfile.write(f"{self.client_address!r}".encode())


class DatagramWhoAmI(DatagramRequestHandler):
    """Tells a sender who it is."""

    def handle(self) -> None:
        """Answer by the credentials."""
        self.wfile.write(f"{self.client_address!r}".encode())


class UnixDatagramService(ServiceMixIn, UnixDatagramServer):
    """A datagram server as a service."""


class Telling(ServiceMixIn, ThreadingMixIn, UnixStreamServer):
    """A stream service that knows its peers."""

    peer_credentials = True


class DatagramTelling(ServiceMixIn, UnixDatagramServer):
    """A datagram service that knows its peers."""

    peer_credentials = True


def mode_of(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def leave_stale(path: Path, kind: int = socket.SOCK_STREAM) -> None:
    """Leave a socket behind as a killed server does."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(str(path))


# -- mode and owner ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [UnixStreamService, UnixDatagramService])
def test_only_the_owner_may_connect_by_default(service: Any, folder: Path) -> None:
    """A service's socket has mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        with service(str(folder / "a.sock"), Echo):
            assert mode_of(folder / "a.sock") == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", ["0600", "0660", "0666", "0070", "0777"])
def test_the_mode_is_as_asked(mode: str, folder: Path) -> None:
    """The mode of the URL is the mode of the socket, although the umask would take some of it."""
    before = os.umask(0o077)
    try:
        with UnixStreamService(at(f"unix://{folder}/a.sock?mode={mode}"), Echo):
            assert mode_of(folder / "a.sock") == int(mode, 8)
    finally:
        os.umask(before)


def test_the_mode_is_never_wider_than_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file appears, it has no more permissions than it will have; nobody else's umask is touched."""
    seen: list[int] = []
    before = os.umask(0)
    chmod = Path.chmod

    def look(path: Path, mode: int) -> None:
        seen.append(mode_of(path))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", look)
    monkeypatch.setattr(os, "umask", None)
    try:
        with UnixStreamService(at(f"unix://{folder}/a.sock?mode=0660"), Echo):
            assert seen == [0o600]
    finally:
        monkeypatch.undo()
        os.umask(before)


@needs_root
def test_owner_and_group_are_as_asked(folder: Path) -> None:
    """Names and numbers of users and groups are both known, and the file is theirs before others may connect."""
    with UnixStreamService(at(f"unix://{folder}/a.sock?owner=nobody&group=12345&mode=0660"), Echo):
        found = (folder / "a.sock").stat()
        assert (found.st_uid, found.st_gid) == (65534, 12345)
        assert mode_of(folder / "a.sock") == 0o660


@pytest.mark.parametrize("option", ["owner", "group"])
def test_an_unknown_owner_leaves_nothing_behind(option: str, folder: Path) -> None:
    """An owner or a group that the system does not know is named, before there is a file."""
    with pytest.raises(AddressError, match=f"{option}.*no-such-name"):
        UnixStreamService(at(f"unix://{folder}/a.sock?{option}=no-such-name"), Echo)
    assert list(folder.iterdir()) == []


def test_what_fails_half_way_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that could not be given its owner is removed again."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(PermissionError):
        UnixStreamService(at(f"unix://{folder}/a.sock?group=1"), Echo)
    assert list(folder.iterdir()) == []


# -- whose the path is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("service", [UnixStreamService, UnixDatagramService])
def test_a_stale_socket_is_replaced(service: Any, kind: int, folder: Path) -> None:
    """A path where nobody answers is taken over, whatever kind of socket it was."""
    leave_stale(folder / "a.sock", kind)
    with service(str(folder / "a.sock"), Echo) as server:
        assert server.server_address == str(folder / "a.sock")


@pytest.mark.parametrize("service", [UnixStreamService, UnixDatagramService])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_live_listener_is_never_stolen(service: Any, kind: int, folder: Path) -> None:
    """A path where somebody listens is left alone, of whatever kind (python/cpython #121252)."""
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(folder / "a.sock"))
        if kind == socket.SOCK_STREAM:
            other.listen()
        before = (folder / "a.sock").stat().st_ino
        with pytest.raises(OSError, match="another server listens") as caught:
            service(str(folder / "a.sock"), Echo)
        assert caught.value.errno == errno.EADDRINUSE
        assert (folder / "a.sock").stat().st_ino == before


def test_a_listener_with_a_full_backlog_is_alive(folder: Path) -> None:
    """A server that is too busy to take another connection is not taken for dead."""
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(str(folder / "a.sock"))
        other.listen(0)
        waiting.connect(str(folder / "a.sock"))
        with pytest.raises(OSError, match="another server listens"):
            UnixStreamService(str(folder / "a.sock"), Echo)


@pytest.mark.parametrize("thing", ["file", "link", "folder"])
def test_what_is_no_socket_is_never_removed(thing: str, folder: Path) -> None:
    """A file, a directory, even a link to a stale socket, is left alone."""
    path = folder / "a.sock"
    if thing == "file":
        path.write_text("precious")
    elif thing == "link":
        leave_stale(folder / "b.sock")
        path.symlink_to(folder / "b.sock")
    else:
        path.mkdir()
    with pytest.raises(OSError, match="no socket"):
        UnixStreamService(str(path), Echo)
    assert path.exists()


def test_of_two_starters_one_wins(folder: Path) -> None:
    """Many who find the same stale socket at once take turns: one replaces it, the others see that one live."""
    leave_stale(folder / "a.sock")
    start = threading.Barrier(8)
    won: list[UnixStreamService] = []
    lost: list[OSError] = []

    def starter() -> None:
        start.wait()
        try:
            won.append(UnixStreamService(str(folder / "a.sock"), Echo))
        except OSError as error:
            lost.append(error)

    threads = [threading.Thread(target=starter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (len(won), len(lost)) == (1, 7)
    with serving(won[0]), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "a.sock"))
        client.sendall(b"alive\n")
        assert client.recv(99) == b"alive\n"


def test_a_lock_that_nobody_gives_back_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that somebody keeps locked ends the start with an error, not with a wait for ever."""
    monkeypatch.setattr(unix_service, "_LOCK_SECONDS", 0.0)
    holder = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock"):
            UnixStreamService(str(folder / "a.sock"), Echo)
    finally:
        os.close(holder)


def test_close_removes_the_path(folder: Path) -> None:
    """A service takes its path with it, also one that was given relative to a directory since left."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        server = UnixStreamService(at("unix:a.sock"), Echo)
        os.chdir("/")
        assert (folder / "a.sock").is_socket()
        server.server_close()
        assert list(folder.iterdir()) == []
    finally:
        os.chdir(before)


def test_close_leaves_the_path_to_who_took_it(folder: Path) -> None:
    """A path where another server listens by now is not removed."""
    with UnixStreamService(str(folder / "a.sock"), Echo), socket.socket(socket.AF_UNIX) as other:
        (folder / "a.sock").unlink()
        other.bind(str(folder / "a.sock"))
    assert (folder / "a.sock").is_socket()


def test_close_in_a_forked_child_leaves_the_path(folder: Path) -> None:
    """A child that closes its copy of the socket does not take the path from its parent."""
    with UnixStreamService(str(folder / "a.sock"), Echo) as server:
        child = os.fork()
        if not child:
            server.server_close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert (folder / "a.sock").is_socket()
    assert not (folder / "a.sock").exists()


def test_an_abstract_name_is_bound(folder: Path) -> None:
    """A name in the abstract namespace needs no file, and is refused while another has it."""
    name = f"{folder}/abstract"
    with UnixStreamService(at(f"unix:@{name}"), Echo) as server:
        assert server.server_address == f"\0{name}".encode()
        with serving(server), socket.socket(socket.AF_UNIX) as client:
            client.connect(f"\0{name}")
            client.sendall(b"hi\n")
            assert client.recv(99) == b"hi\n"
            with pytest.raises(OSError, match="in use"):
                UnixStreamService(at(f"unix:@{name}"), Echo)
    assert list(folder.iterdir()) == []


def test_a_tcp_service_listens_on_a_path_as_well(folder: Path) -> None:
    """The URL says which family, not the class: an operator may move a service from a port to a path."""
    server = ThreadingTCPService(at(f"unix://{folder}/a.sock"), Echo)
    with serving(server), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "a.sock"))
        client.sendall(b"hi\n")
        assert client.recv(99) == b"hi\n"


def test_the_letter_is_left_alone(folder: Path) -> None:
    """The original's class keeps the umask's mode, leaves its path behind, and does not look for a stale one."""
    before = os.umask(0o022)
    try:
        with UnixStreamServer(str(folder / "a.sock"), Echo):
            assert mode_of(folder / "a.sock") == 0o755
    finally:
        os.umask(before)
    with pytest.raises(OSError, match="in use"):
        UnixStreamServer(str(folder / "a.sock"), Echo)


# -- who is there --------------------------------------------------------------------------------------------------


def test_a_stream_peer_is_known(folder: Path) -> None:
    """The address of a client has its process, user and group."""
    server = Telling(str(folder / "a.sock"), WhoAmI)
    with serving(server), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(folder / "a.sock"))
        assert client.recv(999) == f"<'' pid {ME.pid} uid {ME.uid} gid {ME.gid}>".encode()


def test_a_datagram_peer_is_known(folder: Path) -> None:
    """The sender of a datagram is known by each of them, and is replied to at its path."""
    server = DatagramTelling(str(folder / "a.sock"), DatagramWhoAmI)
    with serving(server), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.bind(str(folder / "client.sock"))
        client.sendto(b"?", str(folder / "a.sock"))
        path = str(folder / "client.sock")
        assert client.recv(999) == f"<{path!r} pid {ME.pid} uid {ME.uid} gid {ME.gid}>".encode()


def test_an_abstract_datagram_peer_is_replied_to(folder: Path) -> None:
    """A sender with an abstract name is replied to as well."""
    server = DatagramTelling(str(folder / "a.sock"), DatagramWhoAmI)
    with serving(server), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.bind(f"\0{folder}/client")
        client.sendto(b"?", str(folder / "a.sock"))
        assert b"pid %d " % ME.pid in client.recv(999)


def test_an_unbound_datagram_peer_is_known(folder: Path) -> None:
    """A sender without an address has credentials all the same, and gets no reply."""
    seen: list[Any] = []

    class Look(BaseRequestHandler):
        def handle(self) -> None:
            seen.append((self.request[0], self.client_address))
            server.shutdown()

    server = DatagramTelling(str(folder / "a.sock"), Look)
    with server, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"x" * 70000, str(folder / "a.sock"))
        server.serve_forever()
    ((data, address),) = seen
    assert (len(data), address, address.credentials) == (65535, "", ME)


def test_who_may_not_is_turned_away(folder: Path) -> None:
    """``verify_request()`` can tell by the credentials who is to be served."""

    class Private(Telling):
        def verify_request(self, request: Any, client_address: UnixPeer) -> bool:
            return client_address.credentials.pid != os.getpid()

    server = Private(at(f"unix://{folder}/a.sock?mode=0666"), WhoAmI)
    ask = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(folder / 'a.sock')!r}); print(s.recv(99))"
    with serving(server):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(folder / "a.sock"))
            assert client.recv(99) == b""
        said = subprocess.run([sys.executable, "-c", ask], capture_output=True, timeout=PATIENCE, check=True)
        assert b"uid %d" % ME.uid in said.stdout


def test_descriptors_that_a_peer_sends_are_not_taken(folder: Path) -> None:
    """A datagram with descriptors in it leaves none of them open in the server."""
    seen: list[int] = []

    class Count(BaseRequestHandler):
        def handle(self) -> None:
            seen.append(len(list(Path("/proc/self/fd").iterdir())))
            if len(seen) == 2:
                server.shutdown()

    server = DatagramTelling(str(folder / "a.sock"), Count)
    with server, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(str(folder / "a.sock"))
        client.send(b"none")
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
        client.sendmsg([b"three"], [rights])
        server.serve_forever()
    assert seen[0] == seen[1]


def test_credentials_are_asked_of_unix_sockets_only() -> None:
    """A connection over TCP has none, and says so."""
    with socket.socket() as sock, pytest.raises(OSError, match="Unix"):
        PeerCredentials.of(sock)
