"""The program that ``serve()`` runs in, as its operator and its service manager see it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.framework.load import Target
from tests.framework.spec import PATIENCE

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("activation_program.py")


class Program:
    """The program under test, with this test as its service manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore:This process:DeprecationWarning",
            "NOTIFY_SOCKET": str(folder / "notify.sock"),
        }
        self.log = (folder / "log").open("w+")
        os.mkfifo(folder / "pipe")
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.settimeout(PATIENCE)
        self.manager.bind(self.environ["NOTIFY_SOCKET"])
        self.process: subprocess.Popen[str]
        self.main = 0
        self.heard: list[str] = []

    def start(self, *before: str, **options: Any) -> None:
        """Start it, and wait until it says that it serves."""
        command = [*before, sys.executable, str(PROGRAM), str(self.folder)]
        self.process = subprocess.Popen(
            command, env=self.environ, stdout=subprocess.PIPE, stderr=self.log, text=True, **options
        )
        self.main = self.process.pid
        self.hear("READY=1")

    def hear(self, word: str) -> str:
        """Wait until the manager is told ``word``; return the whole of it."""
        while True:
            try:
                said = self.manager.recv(9999).decode()
            except TimeoutError:
                raise AssertionError(f"{word} was not heard after {self.heard}; {self.told()}") from None
            self.heard.append(said)
            if word in said:
                return said

    def told(self) -> str:
        """Return its log."""
        return (self.folder / "log").read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process that is the service now."""
        os.kill(self.main, number)

    def release(self) -> None:
        """Let a handler that hangs go on."""
        (self.folder / "pipe").write_bytes(b"released\n")

    def make(self, flag: str) -> None:
        """Have it, or its next life, do something wrong."""
        (self.folder / flag).touch()

    @property
    def targets(self) -> list[Target]:
        """Where it listens: TCP, Unix stream, UDP, Unix datagram; and what else it was asked to serve."""
        told = json.loads((self.folder / "addresses").read_text())
        return [
            Target(tuple(address) if isinstance(address, list) else address, kind) for address, kind in told
        ]

    def connect(self, place: int = 0) -> socket.socket:
        """Connect to one of its servers."""
        return self.targets[place].connect()

    def wait(self) -> int:
        """Wait for the end of the process that was started, and return its status."""
        status = self.process.wait(PATIENCE)
        print(self.told())  # shown when the test fails
        return status

    def restart(self) -> None:
        """Restart it, and wait until its predecessor has gone."""
        before = self.main
        self.signal(signal.SIGUSR2)
        told = self.hear("MAINPID=")
        self.main = int(told.partition("MAINPID=")[2].split()[0])
        ended(before)

    def close(self) -> None:
        """End it, whatever became of it."""
        for pid in {self.main, self.process.pid} - {0}:
            with contextlib.suppress(ProcessLookupError):
                if pid != self.process.pid or self.process.poll() is None:
                    os.kill(pid, signal.SIGKILL)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()
        self.manager.close()
        self.log.close()


def ended(pid: int) -> None:
    """Wait until a process has ended, whoever's child it is."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            assert select.select([handle], [], [], PATIENCE)[0]
        finally:
            os.close(handle)
