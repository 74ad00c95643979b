"""What systemd and a service say to each other: sockets that are passed, and how the service is doing.

Written from sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3); needs neither systemd nor its library.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Notifier", "PassedSocket", "passed_sockets"]

_log = logging.getLogger("framework")

# SD_LISTEN_FDS_START of sd_listen_fds(3): after the standard three.
FIRST: Final = 3
# More would be a mistake: it is the default of RLIMIT_NOFILE's soft limit.
_MOST = 1024
# How long a manager that does not read may hold the service up, in seconds.
_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """A descriptor that systemd opened for the service."""

    descriptor: int
    name: str
    """Its ``FileDescriptorName=``, by default the name of the socket unit; ``unknown`` from very old managers."""


def passed_sockets(environ: MutableMapping[str, str] = os.environ) -> tuple[PassedSocket, ...]:
    """Return what systemd passed to this very process, close it on exec, and take the variables away.

    A second call returns nothing, and neither does one in a child that inherited the variables.

    Raises:
        ValueError: the variables contradict themselves.
        OSError: a descriptor is not open.
    """
    variables = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
    process, count, names, _ = (environ.pop(variable, None) for variable in variables)
    if process is None or count is None:
        return ()
    if not process.isdecimal() or not count.isdecimal() or int(count) > _MOST:
        raise ValueError(
            f"LISTEN_PID={process} and LISTEN_FDS={count} are no process and number of descriptors"
        )
    if int(process) != os.getpid():
        return ()
    called = ["unknown"] * int(count) if names is None else names.split(":")
    if len(called) != int(count):
        raise ValueError(f"LISTEN_FDNAMES={names} has {len(called)} names for {count} descriptors")
    passed = tuple(PassedSocket(FIRST + place, name) for place, name in enumerate(called))
    for each in passed:
        os.set_inheritable(each.descriptor, False)
    return passed


class Notifier:
    """Tells the service manager how the service is doing; without one it does nothing.

    The variables stay as they are, for a program that takes over from this one.

    Args:
        environ: where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are.

    Raises:
        ValueError: one of them is not what the manual pages say.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        where = environ.get("NOTIFY_SOCKET", "")
        if where and where[0] not in "/@":
            raise ValueError(f"NOTIFY_SOCKET={where} is neither a path nor an abstract name")
        self._address = "\0" + where[1:] if where.startswith("@") else where
        self.watchdog_interval = _watchdog_interval(environ)
        """Seconds between two signs of life: half of what the manager waits for one. ``None``: it wants none."""

    @property
    def enabled(self) -> bool:
        """Whether there is a manager to tell."""
        return bool(self._address)

    def ready(self, status: str = "", *, main_process: int | None = None) -> None:
        """Tell that the service has started, or has reloaded.

        Args:
            status: a line for ``systemctl status``.
            main_process: the process that is the service from now on, if it is not this one any more.
        """
        self.notify("READY=1", _status(status), f"MAINPID={main_process}" if main_process else "")

    def reloading(self) -> None:
        """Tell that the service reads its settings anew; ``ready()`` ends that."""
        # Type=notify-reload tells by the time whether this answers its signal or an earlier one.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.notify("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str = "") -> None:
        """Tell that the service is about to end."""
        self.notify("STOPPING=1", _status(status))

    def status(self, status: str) -> None:
        """Give a line for ``systemctl status``."""
        self.notify(_status(status))

    def watchdog(self) -> None:
        """Give a sign of life."""
        self.notify("WATCHDOG=1")

    def notify(self, *assignments: str) -> None:
        """Send assignments as sd_notify(3) lists them; empty ones are left out.

        A manager that cannot be reached is logged about, and no reason to stop serving.

        Raises:
            ValueError: one has a line break, which would begin another.
        """
        assignments = tuple(each for each in assignments if each)
        if any("\n" in each for each in assignments):
            raise ValueError("an assignment has a line break")
        if not self._address or not assignments:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_PATIENCE)
                sock.connect(self._address)
                sock.sendall("\n".join(assignments).encode())
        except OSError as error:
            _log.warning("cannot tell the service manager %s: %s", assignments[0], error)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}" if text else ""


def _watchdog_interval(environ: MutableMapping[str, str]) -> float | None:
    microseconds = environ.get("WATCHDOG_USEC")
    process = environ.get("WATCHDOG_PID", str(os.getpid()))
    if microseconds is None or process != str(os.getpid()):
        return None
    if not microseconds.isdecimal() or not int(microseconds):
        raise ValueError(f"WATCHDOG_USEC={microseconds} is no number of microseconds")
    return int(microseconds) / 2_000_000
