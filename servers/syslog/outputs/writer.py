"""``Writer``: the queue in front of an output, and the thread behind it.

An output that stands still (a disk that is full, a pipe that nobody reads) fills its queue, and then one of two things
happens. ``block``: whoever has more waits, in the end the programs that log, and nothing is lost. ``drop``: what matters
least is thrown away, and the output gets to read how much that was.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum

from servers.syslog.outputs import Output
from servers.syslog.record import NO_DATA, NOBODY, Record

__all__ = ["WhenFull", "Writer", "notice"]

_log = logging.getLogger(__name__)

# What a record takes beside its message, in octets: measured with tracemalloc.
_OVERHEAD = 700
# A flood comes in tens of messages at a time, and to wake a thread for each costs more than to write them: so records are
# gathered for a few milliseconds, in seconds, or until there are as many octets.
_GATHER, _GATHERED = 0.005, 256 * 1024
# How long to leave an output alone that failed, in seconds: doubled each time, from the first to the second.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

_SYSLOG, _WARNING = 5, 4


class WhenFull(Enum):
    """What to do with a record for which a queue has no room."""

    BLOCK = "block"
    DROP = "drop"


def notice(text: str, now: datetime) -> Record:
    """Return a record of the sink's own, for those who read what it wrote."""
    return Record(_SYSLOG, _WARNING, now, now, None, "syslog", None, None, NO_DATA, text, NOBODY)


class Writer:
    """Writes to an output, in the order in which records were put.

    Args:
        name: of the output, for the log.
        output: called by one thread at a time.
        now: tells the time, with a zone.
        limit: octets in the queue, nearly.
        when_full: what happens there.
    """

    def __init__(
        self, name: str, output: Output, now: Callable[[], datetime], *, limit: int, when_full: WhenFull
    ) -> None:
        self.name = name
        self.written = 0
        """Records so far; likewise the next."""
        self.dropped = 0
        self._output = output
        self._now = now
        self._limit = limit
        self._when_full = when_full
        # Two conditions of one lock: who waits for room or for the end of a write is not woken by what is put, and the
        # writer's thread, which takes longer to wake than a record to write, not by what somebody else has written.
        self._guard = threading.Lock()
        self._more = threading.Condition(self._guard)
        self._done = threading.Condition(self._guard)
        self._outputting = threading.Lock()
        """Held by whoever calls the output."""
        self._queue: list[Record] = []
        self._size = 0
        self._writing = 0
        """The size of what was taken from the queue and is not written yet."""
        self._untold = 0
        """Records dropped of which the output has not been told."""
        self._hurry = False
        """Whether somebody waits for all to be written."""
        self._reopen = self._closing = self._abandoned = False
        self._thread = threading.Thread(target=self._run, name=f"writing {name}", daemon=True)
        self._thread.start()

    def put(self, records: Sequence[Record], *, wait: bool = False) -> None:
        """Queue records; wait for room, or make it, as the policy says.

        Args:
            records: what is to be written.
            wait: until it is; the calling thread does that itself, rather than wake another.
        """
        size = _size(records)
        with self._guard:
            if self._size + self._writing >= self._limit and self._when_full is WhenFull.DROP:
                self._queue += records
                self._drop()
                return
            self._done.wait_for(lambda: self._size + self._writing < self._limit or self._abandoned)
            if self._abandoned:
                self.dropped += len(records)
                return
            first = not self._queue
            self._queue += records
            self._size += size
            if not wait and (first or self._size - size < _GATHERED <= self._size):
                self._more.notify_all()
        if wait:
            self._write_queue()

    @property
    def queued(self) -> int:
        """Octets that are not written yet, nearly."""
        return self._size + self._writing

    def flush(self) -> None:
        """Wait until all that was put is written, or is given up."""
        with self._guard:
            self._hurry = True
            self._more.notify_all()
            self._done.wait_for(lambda: not (self._size or self._writing) or self._abandoned)

    def reopen(self) -> None:
        """Have the output opened anew, before the next record and after the last."""
        with self._guard:
            self._reopen = True
            self._more.notify_all()

    def close(self, seconds: float) -> None:
        """Write what is queued, for ``seconds`` at most, and close the output."""
        with self._guard:
            self._closing = True
            self._more.notify_all()
        self._thread.join(seconds)
        with self._guard:
            self._abandoned = True
            left = len(self._queue)
            self._more.notify_all()
            self._done.notify_all()
        if self._thread.is_alive():
            _log.error(
                "%s: gave up after %g s; not written: %d messages and what was under way",
                self.name,
                seconds,
                left,
            )

    def _drop(self) -> None:
        """Throw away what matters least, and of that the newest, until there is room for some more."""
        # Not for each record anew; and some for what matters most, whatever is being written.
        room = max(self._limit - self._limit // 8 - self._writing, self._limit // 8)
        kept = sorted(range(len(self._queue)), key=lambda n: self._queue[n].severity)
        size = 0
        for count, n in enumerate(kept):
            size += _size(self._queue[n : n + 1])
            if size > room:
                self.dropped += len(kept) - count
                self._untold += len(kept) - count
                del kept[count:]
                break
        self._queue = [self._queue[n] for n in sorted(kept)]
        self._size = _size(self._queue)

    # -- in the writer's thread, or in that of somebody who waits ------------------------------------------------

    def _run(self) -> None:
        try:
            self._write_all()
            self._output.close()
        except Exception:  # a fault of the output's, or of its disk at the very end
            _log.exception("%s: failed; nothing more is written to it", self.name)
        finally:
            with self._guard:
                self._abandoned = True
                self._done.notify_all()

    def _write_all(self) -> None:
        """Write until the writer closes."""
        more = self._more
        while True:
            with self._guard:
                more.wait_for(lambda: self._queue or self._reopen or self._closing or self._untold)
                more.wait_for(lambda: self._size >= _GATHERED or self._hurry or self._closing, _GATHER)
                self._hurry = False
                if self._abandoned or (self._closing and not self._queue and not self._reopen):
                    return
            self._write_queue()

    def _write_queue(self) -> None:
        """Write what is queued; when it returns, all that was put before is written, or given up."""
        with self._outputting:
            with self._guard:
                records, self._queue = self._queue, []
                self._writing, self._size = self._size, 0
                untold, self._untold = self._untold, 0
                reopen, self._reopen = self._reopen, False
            if untold:
                records.append(notice(f"{untold} messages dropped: {self.name} did not keep up", self._now()))
            if reopen:
                self._open_anew()
            if records:
                self._write(records)
            with self._guard:
                self.written += len(records)
                self._writing = 0
                self._done.notify_all()

    def _open_anew(self) -> None:
        try:
            self._output.reopen()
        except OSError as error:
            _log.error("%s: cannot be opened anew (%s): going on as it is", self.name, error)

    def _write(self, records: Sequence[Record]) -> None:
        """Try until they are written, and say when they cannot be, and when they can again."""
        pause, failed = _FIRST_PAUSE, 0.0
        while not self._abandoned:
            try:
                self._output.write(records)
            except OSError as error:
                records = ()  # which it remembers
                if not failed:
                    failed = time.monotonic()
                    _log.error("%s: cannot be written (%s): trying again until it can", self.name, error)
                with self._guard:
                    self._more.wait_for(lambda: self._abandoned, pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if failed:
                _log.warning("%s: written again, after %.1f s", self.name, time.monotonic() - failed)
            return


def _size(records: Sequence[Record]) -> int:
    return _OVERHEAD * len(records) + sum([len(record.message) for record in records])
