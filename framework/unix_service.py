"""``UnixListener``: a Unix socket as a service should have it, and ``PeerCredentials``: who is at the other end.

Two starters, one path. Each holds a lock on the directory from its first look until it listens, so they come one
after the other; and what a starter can find there is one of four:

1. nothing: it binds;
2. something that is no socket: it leaves it alone and fails;
3. a socket where somebody answers, or may: it leaves it alone and fails;
4. a socket where connect(2) is refused, so that nobody listens: it removes it and binds.

The directory is locked, not a file beside the socket: flock(2) takes it, and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import socket
import stat
import struct
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from framework.addresses import AddressError, UnixEndpoint
from framework.listeners import Listener

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Claim", "PeerCredentials", "UnixListener", "UnixPeer"]

# Nobody but the owner, as waitress has it: whoever wants more says so.
_MODE = 0o600
# Whoever holds a directory's lock longer than this, in seconds, is not just starting.
_LOCK_SECONDS = 5.0
_LOCK_RETRY = 0.01
# struct ucred of unix(7): pid_t, uid_t, gid_t.
_UCRED = struct.Struct("iII")
# Exactly what they take in a message: were there more room, a peer could leave open descriptors in this process.
_ROOM = socket.CMSG_SPACE(_UCRED.size)


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """Who is at the other end of a Unix socket, by the word of the kernel (unix(7))."""

    pid: int
    """The process that connected or sent; 0 if it is not visible from here. It may have ended meanwhile."""
    uid: int
    """Its effective user, or another that it has the privilege to name."""
    gid: int
    """Its effective group, likewise."""

    @classmethod
    def of(cls, connection: socket.socket) -> Self:
        """Return who called connect(2) for this connection.

        Raises:
            OSError: it is no connection over a Unix socket.
        """
        if connection.family != socket.AF_UNIX:
            raise OSError(errno.EOPNOTSUPP, "only the peers of Unix sockets have credentials")
        return cls(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


class UnixPeer(str):
    """The address of a peer, which is ``''`` for most, and who it is."""

    __slots__ = ("credentials",)

    credentials: PeerCredentials

    def __new__(cls, address: str | bytes | None, credentials: PeerCredentials) -> Self:
        """Make one of what the socket module says of a peer."""
        self = super().__new__(cls, os.fsdecode(address or ""))
        self.credentials = credentials
        return self

    def __repr__(self) -> str:
        who = self.credentials
        return f"<{str(self)!r} pid {who.pid} uid {who.uid} gid {who.gid}>"


@dataclass(frozen=True, slots=True)
class Claim:
    """The file that bind(2) made, by which it is told from one that another server made in its place since."""

    path: str
    """Absolute, should the program change its directory."""
    device: int
    inode: int
    process: int
    """Whose it is: a forked child that closes its copy of the socket must not remove the file."""

    def remove(self) -> None:
        """Remove the file if it is still the one.

        Call it while the socket is open: only that keeps the number of the inode from being given to another.
        """
        if self.process != os.getpid():
            return
        # What is gone, or cannot be locked or removed, stays: a stale file is found out by the next starter.
        with contextlib.suppress(OSError), _locked(self.path):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                Path(self.path).unlink()


class UnixListener(Listener):
    """A listener on a path or an abstract name."""

    claim: Claim | None = None
    """The file to remove when it closes."""

    def bind(self, address: Any, /) -> None:
        """Bind with the mode and the owner of the endpoint, in the place of a stale socket if there is one.

        A stream socket listens from here on; before that, it would look stale to another starter.

        Raises:
            OSError: somebody listens there, or it cannot be found out, or something else is in the way.
            AddressError: there is no such owner or group.
        """
        endpoint = self.endpoint
        if self.bound or not isinstance(endpoint, UnixEndpoint) or endpoint.abstract:
            super().bind(address)
            return
        path = os.path.abspath(endpoint.path)  # noqa: PTH100 -- resolve() would follow links
        user, group = _user(endpoint.owner), _group(endpoint.group)
        mode = _MODE if endpoint.mode is None else endpoint.mode
        with _locked(path):
            self._make_room(path)
            # The file gets the socket's own mode, without what umask(2) takes: this narrows from the first moment
            # on, and touches no umask, which all threads share.
            os.fchmod(self.fileno(), mode & _MODE)
            super().bind(address)
            made = os.lstat(path)
            self.claim = Claim(path, made.st_dev, made.st_ino, os.getpid())
            try:
                if user != -1 or group != -1:
                    os.chown(path, user, group, follow_symlinks=False)
                if stat.S_IMODE(made.st_mode) != mode:
                    Path(path).chmod(mode)
                if self.type == socket.SOCK_STREAM:
                    self.listen()
            except BaseException:
                Path(path).unlink()
                self.claim = None
                raise

    def _make_room(self, path: str) -> None:
        """Remove a stale socket; raise if anything else is there."""
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError(errno.EADDRINUSE, "there is something that is no socket; move it away", path)
        with socket.socket(socket.AF_UNIX, self.type) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()
                return
            except FileNotFoundError:
                return
            except PermissionError as error:
                reason = "a socket is there that may not be connected to, so it may be in use"
                raise OSError(errno.EADDRINUSE, reason, path) from error
            except OSError:
                # EAGAIN: its backlog is full. EPROTOTYPE: it is of the other kind. Either way somebody has it.
                pass
        raise OSError(errno.EADDRINUSE, "another server listens there; stop it, or choose another path", path)

    def pass_on(self) -> None:
        """Leave the file to the successor, too."""
        super().pass_on()
        self.claim = None

    def close(self) -> None:
        """Remove the file if it is still ours, then close."""
        claim, self.claim = self.claim, None
        if claim is not None and self.fileno() >= 0:
            claim.remove()
        super().close()

    def tell_credentials(self) -> None:
        """Give the address of each peer as a ``UnixPeer`` from now on."""
        self.__class__ = _TellingListener  # pyright: ignore[reportAttributeAccessIssue] # which is a subclass
        if self.type == socket.SOCK_DGRAM:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


class _TellingListener(UnixListener):
    """A listener that tells who is there; a class of its own, since asking costs each request."""

    def peer(self, connection: socket.socket, address: Any) -> Any:
        """Return the address of whoever was accepted, and who it is."""
        return UnixPeer(address, PeerCredentials.of(connection))

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive, as ``socket.recvfrom()``."""
        data, ancillary, _, address = super().recvmsg(bufsize, _ROOM, flags)
        return data, _sender(address, ancillary)

    def recvfrom_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive, as ``socket.recvfrom_into()``."""
        with memoryview(buffer) as view:
            length, ancillary, _, address = super().recvmsg_into([view[: nbytes or None]], _ROOM, flags)
        return length, _sender(address, ancillary)


def _sender(address: Any, ancillary: Iterable[tuple[int, int, bytes]]) -> UnixPeer:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return UnixPeer(address, PeerCredentials(*_UCRED.unpack(data)))
    raise OSError(errno.EPROTO, "a datagram came without credentials")


@contextlib.contextmanager
def _locked(path: str) -> Generator[None]:
    """Keep other starters away from ``path``, waiting for the one who is at it."""
    directory = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    reason = f"somebody has held the lock of its directory for {_LOCK_SECONDS:g} s"
                    raise OSError(errno.EADDRINUSE, reason, path) from None
                time.sleep(_LOCK_RETRY)
        yield
    finally:
        os.close(directory)


def _user(name: str | None) -> int:
    if name is None or name.isdecimal():
        return -1 if name is None else int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise AddressError("owner", f"there is no user {name!r} here; write one of /etc/passwd") from None


def _group(name: str | None) -> int:
    if name is None or name.isdecimal():
        return -1 if name is None else int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise AddressError("group", f"there is no group {name!r} here; write one of /etc/group") from None
