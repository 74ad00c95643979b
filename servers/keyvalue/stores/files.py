"""The folder of a log: which files there are, which of them count, and reading them in their order.

``00000007.snapshot`` holds all that happened before ``00000007.log`` begins. So what counts is the last snapshot, and the
logs from its number on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from servers.keyvalue.protocol import Request
from servers.keyvalue.stores.records import DamagedError, File, Header, effects_of

__all__ = ["Folder", "StoreError", "StoreTakenError"]

_log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{8})\.(log|snapshot)")


class StoreError(Exception):
    """A store cannot be opened; the message says what to do."""


class StoreTakenError(StoreError):
    """Another program has the store."""


class Folder:
    """The files of a store.

    Args:
        path: where; made if it is not there.

    Raises:
        StoreError: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            # Not the folder itself: that is locked by whoever binds a Unix socket in it.
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"{path} cannot be used ({error.strerror}): name a folder to write to"
            ) from error

    def lock(self) -> None:
        """Keep every other program out for as long as this one runs (flock(2)).

        Raises:
            StoreTakenError: another one is in.
        """
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreTakenError(
                f"{self.path} is in use by another server: stop it, or name another folder"
            ) from None

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._descriptor)
        os.close(self._lock)

    def sync(self) -> None:
        """Have names that were made, changed or removed on disk."""
        os.fsync(self._descriptor)

    def log(self, number: int) -> Path:
        """Return the path of a log."""
        return self.path / f"{number:08}.log"

    def snapshot(self, number: int) -> Path:
        """Return the path of a snapshot."""
        return self.path / f"{number:08}.snapshot"

    def numbers(self, kind: str) -> list[int]:
        """Return the numbers of the files of a kind, in order."""
        found = (_NAME.fullmatch(each.name) for each in self.path.iterdir())
        return sorted(int(match[1]) for match in found if match is not None and match[2] == kind)

    def current(self, before: int | None = None) -> tuple[int, list[int]]:
        """Return the number of the last snapshot, 0 if there is none, and those of the logs that go on from it.

        Args:
            before: look at earlier files only.

        Raises:
            StoreError: one is missing.
        """
        snapshots = [each for each in self.numbers("snapshot") if before is None or each <= before]
        last = snapshots[-1] if snapshots else 0
        logs = [each for each in self.numbers("log") if each >= last and (before is None or each < before)]
        wanted = list(range(max(last, 1), max(last, 1) + len(logs)))
        if logs != wanted or (last and not logs and before is None):
            missing = next((each for each in wanted if each not in logs), max(last, 1))
            raise StoreError(
                f"{self.log(missing)} is missing: bring it back from where the folder was copied to"
            )
        return last, logs

    def effects(self, before: int | None = None) -> Iterator[tuple[int, Request]]:
        """Yield all effects, in order. Once exhausted, ``end`` tells of the last log.

        Raises:
            DamagedError: some cannot be read.
            StoreError: a file is missing.
        """
        snapshot, logs = self.current(before)
        sequence = 1
        if snapshot:
            file = self._open(self.snapshot(snapshot))
            sequence = file.header.sequence
            ended = False
            for record in file.records():
                body = file.body(record)
                ended = not body
                yield from effects_of(body)
            if not ended:
                raise DamagedError(file.path, file.end, None, "a snapshot ends with a record that says so")
        for number in logs:
            file = self._open(self.log(number))
            if file.header.sequence != sequence:
                raise DamagedError(
                    file.path, 0, None, f"it begins with record {file.header.sequence}, not {sequence}"
                )
            for record in file.records():
                yield from effects_of(file.body(record))
            sequence = file.sequence
            torn = file.torn
            if torn and number != logs[-1]:
                raise DamagedError(
                    file.path, file.end, None, "there is a later log, so this one was whole once"
                )
            self.end = file, torn

    end: tuple[File, int] | None = None
    """The last log that was read, and how many octets at its end were never finished."""

    @staticmethod
    def _open(path: Path) -> File:
        return File(str(path), path.read_bytes())

    def create(self, path: Path, header: Header) -> int:
        """Make a file that is there whole or not at all, and return its descriptor, open for writing."""
        temporary = path.with_name(path.name + ".tmp")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.write(descriptor, header.pack())
        os.fsync(descriptor)
        temporary.rename(path)
        self.sync()
        return descriptor

    def forget_before(self, number: int) -> None:
        """Remove the files that a snapshot has made superfluous."""
        for kind, path_of in (("log", self.log), ("snapshot", self.snapshot)):
            for each in self.numbers(kind):
                if each < number:
                    path_of(each).unlink()
        self.sync()

    def sweep(self) -> None:
        """Remove what was begun and never finished."""
        for each in self.path.glob("*.tmp*"):
            _log.warning("removing %s, which was never finished", each)
            each.unlink()
