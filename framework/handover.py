"""Sockets that come from another process, and go to one.

Three may have opened the socket of a service before it: systemd (``systemd:name``), whoever started the program
(``fd://3``), and the program itself in its earlier life, when it restarts without closing its doors. The last
passes each socket with the address that it was asked for, in one variable of the environment; whoever asks for
the same address is given that socket instead of a new one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import threading
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from framework.addresses import (
    AddressError,
    DescriptorEndpoint,
    Endpoint,
    InetEndpoint,
    SystemdEndpoint,
    UnixEndpoint,
)
from framework.listeners import InetListener, Listener
from framework.systemd import passed_sockets
from framework.unix_service import Claim, UnixListener

__all__ = ["Inheritance", "Successor", "adopt", "endpoint_of", "inheritance"]

_log = logging.getLogger("framework")

_VARIABLE = "FRAMEWORK_HANDOVER"
# How long a successor that is told to end may take for it, in seconds: it has served nobody yet.
_LAST_WORDS = 2.0

# Held while a successor is started, and by every fork(2): who starts a program waits for the end of a pipe, and a
# child that is forked meanwhile has a copy of it for as long as it lives. By one thread again, in a signal handler.
_birth = threading.RLock()
os.register_at_fork(before=_birth.acquire, after_in_parent=_birth.release, after_in_child=_birth.release)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A socket that waits to be asked for."""

    descriptor: int
    claim: tuple[str, int, int] | None = None


class Inheritance:
    """What this process was started with.

    Args:
        environ: where it is told; the variables are taken away, so that no child believes in them.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._entries: dict[str, list[_Entry]] = {}
        self._ready: int | None = None
        self._claimed: list[tuple[UnixListener, Claim]] = []
        for passed in passed_sockets(environ):
            self._keep(str(SystemdEndpoint(passed.name)), _Entry(passed.descriptor))
        text = environ.pop(_VARIABLE, None)
        if text is not None:
            told = json.loads(text)
            self._ready = int(told["ready"])
            os.set_inheritable(self._ready, False)
            for each in told["sockets"]:
                claim = (
                    (str(each["path"]), int(each["device"]), int(each["inode"])) if "path" in each else None
                )
                os.set_inheritable(int(each["fd"]), False)
                self._keep(str(each["key"]), _Entry(int(each["fd"]), claim))

    def _keep(self, key: str, entry: _Entry) -> None:
        self._entries.setdefault(key, []).append(entry)

    @property
    def has_predecessor(self) -> bool:
        """Whether this program takes over from its earlier life, which serves until ``ready()``, and then drains."""
        return self._ready is not None

    def take(self, endpoint: Endpoint) -> Listener | None:
        """Return the socket for ``endpoint``, or ``None`` if it is to be bound.

        Raises:
            AddressError: it names a socket that was not passed, or is none to listen on.
        """
        entries = self._entries.get(endpoint.key)
        if entries:
            entry = entries.pop(0)
        elif isinstance(endpoint, DescriptorEndpoint):
            entry = _Entry(endpoint.descriptor)
            for others in self._entries.values():  # it may have a name as well
                others[:] = [other for other in others if other.descriptor != entry.descriptor]
        elif isinstance(endpoint, SystemdEndpoint):
            raise self._not_passed(endpoint)
        else:
            return None
        listener = _listener(entry.descriptor, endpoint)
        if entry.claim is not None and isinstance(listener, UnixListener):
            # Only once this program serves: if it does not come to that, the predecessor goes on at the path.
            self._claimed.append((listener, Claim(*entry.claim, os.getpid())))
        return listener

    def kind(self, endpoint: Endpoint) -> int:
        """Return whether ``endpoint`` is one for ``SOCK_STREAM`` or for ``SOCK_DGRAM``.

        A socket that was passed is looked at, and left to be taken.

        Raises:
            AddressError: it names a socket that was not passed, or is none.
        """
        if isinstance(endpoint, InetEndpoint | UnixEndpoint):
            return socket.SOCK_DGRAM if endpoint.datagrams else socket.SOCK_STREAM
        if entries := self._entries.get(endpoint.key):
            descriptor = entries[0].descriptor
        elif isinstance(endpoint, DescriptorEndpoint):
            descriptor = endpoint.descriptor
        else:
            raise self._not_passed(endpoint)
        try:
            with socket.socket(fileno=os.dup(descriptor)) as sock:
                return sock.type
        except OSError as error:
            raise AddressError("descriptor", f"{descriptor} is no socket ({error.strerror})") from error

    def _not_passed(self, endpoint: Endpoint) -> AddressError:
        passed = ", ".join(key for key, left in self._entries.items() if left and key.startswith("systemd:"))
        fix = f"left are {passed}" if passed else "start it by a .socket unit with that FileDescriptorName="
        name = str(endpoint).partition(":")[2]
        return AddressError("name", f"systemd passed no (more) socket called {name!r}; {fix}")

    def ready(self) -> None:
        """Tell the predecessor, if there is one, that it may go; close what nobody asked for."""
        for key, entries in self._entries.items():
            for entry in entries:
                _log.warning("no server of this program listens on %s, which it was started with", key)
                os.close(entry.descriptor)
        self._entries.clear()
        if self._ready is not None:
            with contextlib.suppress(BrokenPipeError):  # it has gone already
                os.write(self._ready, b"\n")
            os.close(self._ready)
            self._ready = None
        for listener, claim in self._claimed:
            listener.claim = claim
        self._claimed.clear()


@cache
def inheritance() -> Inheritance:
    """Return what this process was started with."""
    return Inheritance()


def _listener(descriptor: int, endpoint: Endpoint) -> Listener:
    """Make a listener of a socket that was handed over."""
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise AddressError("descriptor", f"{descriptor} is no socket ({error.strerror})") from error
    listener = _kind(sock).of(sock, endpoint)
    listener.bound = True
    listener.set_inheritable(False)
    return listener


def _kind(sock: socket.socket) -> type[Listener]:
    if sock.family == socket.AF_UNIX:
        return UnixListener
    return InetListener if sock.family == socket.AF_INET6 else Listener


def adopt(sock: socket.socket, endpoint: Endpoint) -> Listener:
    """Return the listener for ``endpoint``: one that was handed over, otherwise ``sock``, to be bound.

    Raises:
        AddressError: one was to be handed over and was not, or it is not of the kind of ``sock``.
    """
    listener = inheritance().take(endpoint)
    if listener is None:
        return _kind(sock).of(sock, endpoint)
    problem = None
    if listener.type != sock.type:
        problem = f"it is a {listener.type.name} socket, and the server needs {sock.type.name}"
    else:
        with contextlib.suppress(OSError):
            listener.getpeername()
            problem = "it is connected to a peer; of a socket unit, that takes Accept=no"
    if problem is not None:
        listener.close()
        raise AddressError("socket", f"{problem} (in {str(endpoint)!r})")
    sock.close()
    return listener


def endpoint_of(sock: socket.socket, address: Any) -> Endpoint | None:
    """Return as an endpoint what a program gave in the form of the family, or ``None`` for other families."""
    datagrams = sock.type == socket.SOCK_DGRAM
    # A host that no URL can say, such as ``127.1``: bind(2) may still know it.
    with contextlib.suppress(AddressError):
        if sock.family == socket.AF_UNIX and isinstance(address, str | bytes) and address:
            return UnixEndpoint(os.fsdecode(address), datagrams)
        if sock.family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple):
            every = "::" if sock.family == socket.AF_INET6 else "0.0.0.0"
            host, port = cast("tuple[str, int]", address[:2])
            return InetEndpoint(host or every, port, datagrams)
    return None


class Successor:
    """The program started anew, which has been passed the listening sockets and has not said yet that it serves.

    Args:
        command: what to start.
        listeners: what to pass.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], listeners: Sequence[Listener]) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            told = {"ready": writer, "sockets": [_told(listener) for listener in listeners]}
            # Watched by the process id that systemd knows, which will not be this child's.
            environ = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
            with _birth:
                self._process = subprocess.Popen(  # noqa: S603 -- the program itself
                    command,
                    pass_fds=[writer, *(listener.fileno() for listener in listeners)],
                    env={**environ, _VARIABLE: json.dumps(told)},
                )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._reader = reader

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the descriptor that turns readable when it serves, and when it never will."""
        return self._reader

    def serves(self) -> bool | None:
        """Tell whether it serves; ``None``: not yet."""
        try:
            return bool(os.read(self._reader, 1))
        except BlockingIOError:
            return None

    def let_go(self) -> None:
        """Let it live on without this process."""
        os.close(self._reader)
        # It outlives this process, which has nothing to wait for: Popen would complain of that at its end.
        self._process.returncode = 0

    def end(self) -> int:
        """End it unless that has happened, and return its exit status as ``subprocess`` has it."""
        os.close(self._reader)
        self._process.terminate()
        try:
            return self._process.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _told(listener: Listener) -> dict[str, object]:
    """Return what the successor must know of a listener."""
    assert listener.endpoint is not None  # noqa: S101 -- every listener is made for one
    told: dict[str, object] = {"key": listener.endpoint.key, "fd": listener.fileno()}
    if isinstance(listener, UnixListener) and listener.claim is not None:
        claim = listener.claim
        told |= {"path": claim.path, "device": claim.device, "inode": claim.inode}
    return told
