"""The sink as a program, and what programs send to it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from framework.testing import PATIENCE

ROOT = Path(__file__).parents[3]


class Program:
    """The sink in a process of its own, with what it says."""

    def __init__(
        self, *arguments: str, listener: socket.socket | None = None, within: Sequence[str] = ()
    ) -> None:
        passed = () if listener is None else (listener.fileno(),)
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", "servers.syslog", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=passed,
        )
        assert self.process.stdout is not None
        self.banner = self.process.stdout.readline()
        self.log = ""
        if self.banner:
            assert self.process.stderr is not None
            self._errors = threading.Thread(target=self._read, daemon=True)
            self._serving = threading.Event()
            self._errors.start()
            assert self._serving.wait(PATIENCE), self.log

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line
            if "serving " in line:
                self._serving.set()

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self._errors.join(PATIENCE)
        self.close()
        return status

    def close(self) -> None:
        """Make sure that nothing is left of it."""
        self.process.terminate()  # what is killed leaves behind what it had in hand
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        if self.banner:
            self._errors.join(PATIENCE)
        self.process.stderr.close()


class Senders:
    """Processes that send numbered messages as fast as the sink takes them, and go on when it comes back.

    Each counts a message only when ``send()`` has returned, as a program that looks at the result of sendto(2) does.
    """

    def __init__(self, path: Path, count: int = 4) -> None:
        self._stop, self._go_on = os.pipe()
        self._children: list[tuple[int, int]] = []
        for name in range(count):
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                os.close(self._go_on)
                sent = 0
                with contextlib.suppress(BaseException):
                    sent = _send(path, name, self._stop)
                os.write(writer, b"%d" % sent)
                os._exit(0)
            os.close(writer)
            self._children.append((child, reader))
        os.close(self._stop)

    def stop(self) -> list[int]:
        """Return how many messages each has sent."""
        os.close(self._go_on)
        sent: list[int] = []
        for child, reader in self._children:
            os.waitpid(child, 0)
            sent.append(int(os.read(reader, 100)))
            os.close(reader)
        return sent


def _send(path: Path, name: int, stop: int) -> int:
    os.set_blocking(stop, False)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    number = 0
    connected = False
    while True:
        if number % 16 == 0 or not connected:
            try:
                if os.read(stop, 1) == b"":
                    return number
            except BlockingIOError:
                pass
        try:
            if not connected:
                sock.connect(str(path))
                connected = True
            sock.send(b"<13>sender%d: %d" % (name, number))
            number += 1
        except OSError:
            sock.close()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            connected = False
            select.select([stop], [], [], 0.001)  # the sink that starts needs the processor more


def said(texts: Iterator[str] | list[str], sender: int) -> list[int]:
    """Return the numbers of a sender's messages in lines of ``{program} {message}``."""
    prefix = f"sender{sender} "
    return [int(text.removeprefix(prefix)) for text in texts if text.startswith(prefix)]
