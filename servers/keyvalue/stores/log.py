"""``LogStore``: an append-only log in a folder, and snapshots of it.

1. A commit is one write and, with ``fsync=always``, one fdatasync(2) for all effects of all clients since the last one.
2. Room is taken before a command runs. So a full disk refuses commands, and hardly ever breaks a commit: if a write finds
   no room all the same, what it was for is cut off again, and memory is made anew from what is on disk.
3. A sync that fails is the end: the kernel may have dropped the pages. Nobody was told of what it was for, and the next
   start knows what was.
4. A snapshot is made by another process, out of the files that are not written any more: the server only begins a new
   log. It would be the same if it were made twice, or after a restart.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from servers.keyvalue.protocol import CommandError
from servers.keyvalue.stores import Apply
from servers.keyvalue.stores.files import Folder
from servers.keyvalue.stores.records import Header, body_of

__all__ = ["FSYNC", "LogStore"]

_log = logging.getLogger(__name__)

FSYNC = ("always", "everysec", "no")

# Octets taken in advance: writing into them costs half as much as growing the file each time.
_CHUNK = 8 * 1024 * 1024
# What an effect takes besides its words, and a record besides its effects, at most.
_PER_WORD, _PER_EFFECT = 16, 256
# When a log has grown to its snapshot's size, but not below this: auto-aof-rewrite-percentage and -min-size of redis.
_REWRITE = 64 * 1024 * 1024
_EVERY = 1.0
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_SPACE = "No space left on device"
# Writes that found no room, of which is known what they were for: that is asked for at once.
_LOSSES = 100
_ROOT = Path(__file__).parents[3]


class LogStore:
    """The store of ``log:FOLDER``.

    Args:
        path: the folder.
        fsync: ``always``: a commit is on disk; ``everysec``: within a second; ``no``: when the system sees fit.
        clock: tells the time in seconds since the epoch.

    Raises:
        StoreError: the folder cannot be used.
    """

    durable = True

    def __init__(self, path: Path, fsync: str = "always", clock: Callable[[], float] = time.time) -> None:
        self.folder = Folder(path)
        self.full = False
        self.saved = clock()
        self.save_worked = True
        self.changes_at_save = 0
        self._fsync = fsync
        self._clock = clock
        self._effects: deque[tuple[int, Sequence[bytes]]] = deque()
        self.appended = self.committed = 0
        self._lost: deque[tuple[range, str]] = deque(maxlen=_LOSSES)  # and why
        self._ahead = False
        self._writing = threading.Lock()
        self._descriptor = -1
        self._number = 0
        self._header = Header.new("log", 1)
        self._end = self._allocated = self._room = 0
        self._sequence = 1
        self._synced = 0
        self._compaction: subprocess.Popen[bytes] | None = None
        self._snapshot_size = 0
        self._logged = 0  # octets in all logs since the last snapshot
        self._stopped = threading.Event()
        self._syncer: threading.Thread | None = None
        self._error: OSError | None = None

    @property
    def saving(self) -> bool:
        """Whether another process makes a snapshot."""
        return self._compaction is not None

    @property
    def ahead(self) -> bool:
        """Whether what is in memory is ahead of the disk for good, so that it has to be made anew by ``reload()``."""
        return self._ahead

    def reload(self, apply: Apply) -> None:
        """Bring back what is kept, and go on."""
        for database, effect in self.folder.effects():
            apply(database, effect)
        self._ahead = False
        self.committed = self._lost[-1][0].stop - 1

    def load(self, apply: Apply) -> None:
        """Bring back what was kept, and begin to keep more.

        Raises:
            StoreTakenError: another program has the folder.
            StoreError, DamagedError: its files cannot be used as they are.
        """
        self.folder.lock()
        self.folder.sweep()
        for database, effect in self.folder.effects():
            apply(database, effect)
        if self.folder.end is None:
            self._begin(1)
        else:
            file, torn = self.folder.end
            if torn:
                _log.warning(
                    "%s: cutting %d octets at %d that were never finished, nor acknowledged",
                    file.path,
                    torn,
                    file.end,
                )
            self._number = self.folder.numbers("log")[-1]
            self._header, self._sequence, self._end = file.header, file.sequence, file.end
            self._descriptor = os.open(file.path, os.O_RDWR | os.O_CLOEXEC)
            os.ftruncate(self._descriptor, file.end)
            os.fsync(self._descriptor)
            self._synced = self._sequence - 1
            self._allocated = self._end
        snapshot, logs = self.folder.current()
        self._snapshot_size = self.folder.snapshot(snapshot).stat().st_size if snapshot else 0
        self._logged = sum(self.folder.log(each).stat().st_size for each in logs)
        if self._fsync == "everysec":
            self._syncer = threading.Thread(target=self._sync_now_and_then, name="sync", daemon=True)
            self._syncer.start()

    # -- writing -----------------------------------------------------------------------------------------------

    def reserve(self, request: Sequence[bytes]) -> None:
        """Take room for an effect of this size."""
        size = sum(map(len, request)) + _PER_WORD * len(request) + _PER_EFFECT
        self._room -= size
        if self._room < 0:
            self._grow(size)

    def _grow(self, size: int) -> None:
        reason = _NO_SPACE
        with self._writing:
            for wanted in () if self._ahead else (max(_CHUNK, size - self._room), size - self._room):
                try:
                    os.posix_fallocate(self._descriptor, self._allocated, wanted)
                except OSError as error:
                    if error.errno not in _NO_ROOM:
                        raise
                    reason = error.strerror or reason
                else:
                    self._allocated += wanted
                    self._room += wanted
                    if self.full:
                        self.full = False
                        _log.warning("%s: there is room again", self.folder.path)
                    return
        self._room += size
        raise self._refuse(reason)

    def _refuse(self, reason: str) -> CommandError:
        if not self.full:
            self.full = True
            _log.error("%s: no room for more (%s): commands that write are refused", self.folder.path, reason)
        return _misconf(reason)

    def append(self, database: int, effect: Sequence[bytes]) -> None:
        """Take in an effect."""
        self._effects.append((database, effect))
        self.appended += 1

    def commit(self) -> None:
        """Write what was appended, and have it on disk if that is wanted.

        Whoever comes while another commits waits, and finds that the next commit is for all who have waited.
        """
        wanted = self.appended
        with self._writing:
            if self.committed < wanted and not self._ahead:
                self._commit()

    def refusal(self, mark: int, /) -> CommandError | None:
        """Return what to say if a mark was among what a write found no room for."""
        return next((_misconf(reason) for lost, reason in self._lost if mark in lost), None)

    def _commit(self) -> None:
        if self._error is not None:
            raise self._error
        effects = [self._effects.popleft() for _ in range(len(self._effects))]
        # Counted here: another thread may be about to count what it has just put there.
        upto = self.committed + len(effects)
        try:
            try:
                self._write(self._header.record(self._sequence, self._synced, body_of(effects)))
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                reason = error.strerror or _NO_SPACE
                self._take_back(upto, reason)
                raise self._refuse(reason) from error
            if self._fsync == "always":
                os.fdatasync(self._descriptor)
                self._synced = self._sequence - 1
        except OSError as error:
            self._error = error
            _log.critical(
                "%s: %s: the server ends, since what is in memory is ahead of the disk",
                self.folder.path,
                error,
            )
            raise
        self.committed = upto

    def _take_back(self, upto: int, reason: str) -> None:
        """Cut off what was written of a record, and give up what it was for."""
        os.ftruncate(self._descriptor, self._end)
        self._allocated, self._room = self._end, 0
        self._lost.append((range(self.committed + 1, upto + 1), reason))
        self._ahead = True

    def _write(self, record: bytes) -> None:
        with memoryview(record) as view:
            done = 0
            while done < len(record):
                done += os.pwrite(self._descriptor, view[done:], self._end + done)
        self._end += len(record)
        self._allocated = max(self._allocated, self._end)
        self._logged += len(record)
        self._sequence += 1
        # Commands reserve more than they turn out to need.
        if not self._effects:
            self._room = self._allocated - self._end

    def _sync_now_and_then(self) -> None:
        while not self._stopped.wait(_EVERY):
            with self._writing:
                written, descriptor = self._sequence - 1, os.dup(self._descriptor)
            try:
                # Without the lock: commits go on meanwhile.
                os.fdatasync(descriptor)
                self._synced = max(self._synced, written)
            except OSError as error:
                self._error = error
                _log.critical("%s: %s: the server ends", self.folder.path, error)
                return  # tick() will tell
            finally:
                os.close(descriptor)

    # -- snapshots -----------------------------------------------------------------------------------------------

    def save(self, changes: int) -> None:
        """Begin a new log, and have another process make a snapshot of what was before it."""
        if self._compaction is not None:
            return
        self.commit()
        with self._writing:
            os.ftruncate(self._descriptor, self._end)
            os.fsync(self._descriptor)
            self._synced = self._sequence - 1
            os.close(self._descriptor)
            self._begin(self._number + 1)
        self.changes_at_save = changes
        command = [
            sys.executable,
            "-m",
            "servers.keyvalue",
            "compact",
            str(self.folder.path.resolve()),
            str(self._number),
        ]
        self._compaction = subprocess.Popen(  # noqa: S603 -- this very program
            command, cwd=_ROOT, stdin=subprocess.DEVNULL, preexec_fn=None, start_new_session=True
        )

    def _begin(self, number: int) -> None:
        """Begin a log."""
        self._header = Header.new("log", self._sequence)
        self._descriptor = self.folder.create(self.folder.log(number), self._header)
        self._number = number
        self._end = self._allocated = Header.SIZE
        self._room = 0

    def tick(self) -> None:
        """See whether a snapshot is ready, or due.

        Raises:
            OSError: the disk has failed outside of any commit.
        """
        if self._error is not None:
            raise self._error
        if self._compaction is None:
            if self._logged > max(_REWRITE, self._snapshot_size):
                self.save(self.changes_at_save)
            return
        status = self._compaction.poll()
        if status is None:
            return
        self._compaction = None
        self.save_worked = status == 0
        self._logged = self._end
        if status != 0:
            _log.error("%s: no snapshot was made (status %d): the logs are kept", self.folder.path, status)
            return
        self.saved = self._clock()
        self._snapshot_size = self.folder.snapshot(self._number).stat().st_size
        self.folder.forget_before(self._number)

    def close(self) -> None:
        """Commit, and give the room back that was not needed."""
        self._stopped.set()
        if self._syncer is not None:
            self._syncer.join()
        if self._compaction is not None:
            self._compaction.terminate()
            self._compaction.wait()
        if self._descriptor >= 0 and self._error is None:
            self.commit()
            with contextlib.suppress(OSError):  # what is needed is on disk already
                os.ftruncate(self._descriptor, self._end)
            os.fsync(self._descriptor)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self.folder.close()


def _misconf(reason: str) -> CommandError:
    return CommandError(f"MISCONF Errors writing to the AOF file: {reason}")
