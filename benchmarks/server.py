"""``Server``: a subject in a process of its own, on a core of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, TypeAlias

from benchmarks import usage

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.workloads import Workload

Address: TypeAlias = tuple[str, int] | str

CORES = sorted(os.sched_getaffinity(0))
ROOT = Path(__file__).parents[1]
# Whatever takes longer than this to answer has failed.
PATIENCE = 30.0


class FailedError(Exception):
    """A server or its clients did not do what they should; the message says what instead."""


@contextlib.contextmanager
def pinned(cores: list[int]) -> Iterator[None]:
    """Let whatever is started meanwhile run on those cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def read_line(process: subprocess.Popen[bytes], seconds: float = PATIENCE) -> str:
    """Return the next line that a process writes.

    Raises:
        FailedError: none comes in time.
    """
    assert process.stdout is not None
    waiting = select.poll()  # not select(), which stops at descriptor 1 023
    waiting.register(process.stdout, select.POLLIN)
    if not waiting.poll(1000 * seconds):
        raise FailedError(f"no word within {seconds:.0f} s")
    line = process.stdout.readline().decode()
    if not line:
        raise FailedError("ended too early")
    return line


class Server:
    """A subject that serves, from ``with`` until its end.

    Args:
        name: of the subject.
        workload: what it is to do.
        module: the program that runs it.

    Raises:
        FailedError: it does not start.
    """

    def __init__(self, name: str, workload: Workload, module: str = "benchmarks.subjects") -> None:
        self._name = name
        self._workload = workload
        self._module = module
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            self._errors: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            command = [sys.executable, "-m", self._module, self._name, self._workload.kind]
            if self._workload.unix:
                command.append(f"{folder}/server")
            with pinned(CORES[:1]):
                self._process = subprocess.Popen(
                    command,
                    bufsize=0,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    start_new_session=True,
                )
            stack.callback(self._end)
            try:
                found = json.loads(read_line(self._process))
            except FailedError as error:
                raise FailedError(f"{error}: {self.complaint()}") from None
            self.address: Address = found if isinstance(found, str) else (found[0], found[1])
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _end(self) -> None:
        # Its children too: a session is a process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def complaint(self) -> str:
        """Return the last line that it wrote on stderr."""
        self._errors.seek(0)
        return (self._errors.read().decode(errors="replace").splitlines() or ["it says nothing"])[-1]

    def terminate(self) -> str:
        """Send SIGTERM, and return the next line that it writes."""
        self._process.terminate()
        return read_line(self._process)

    def cpu(self) -> float:
        """Return the CPU seconds that it and its children have used."""
        return usage.cpu(self._process.pid)

    def memory(self) -> float:
        """Return the KiB that it and its children occupy."""
        return usage.memory(self._process.pid)
