"""``Writer``: an output, the queue in front of it, and the thread that sees to both.

Whoever received records writes them to a file itself. What cannot be written so goes through the queue: to an output that
others may keep waiting, such as a pipe, and to one that fails, until it can be written again. A queue that is full does
one of two things. ``block``: whoever has more waits, in the end the programs that log, and nothing is lost. ``drop``: what
matters least is thrown away, and the output gets to read how much that was.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from servers.syslog.outputs import Output, Place
from servers.syslog.outputs.queue import Queue, size_of
from servers.syslog.record import Record

__all__ = ["Begin", "WhenFull", "Writer", "unmarked"]

_log = logging.getLogger(__name__)

Begin: TypeAlias = Callable[[str, Place], None]
"""Is told, before records are written, by the name of the output where in it they will be."""

# How long to leave an output alone that failed, in seconds: doubled each time, from the first to the second.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0


class WhenFull(Enum):
    """What to do with a record for which a queue has no room."""

    BLOCK = "block"
    DROP = "drop"


def unmarked(name: str, place: Place) -> None:
    """Take no note of where records begin."""


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
        """Records so far."""
        self._output = output
        self._now = now
        self._limit = limit
        self._when_full = when_full
        # Two conditions of one lock: who waits for room or for the end of a write is not woken by what is put.
        self._guard = threading.Lock()
        self._more = threading.Condition(self._guard)
        self._done = threading.Condition(self._guard)
        self._outputting = threading.Lock()
        """Held by whoever calls the output; taken before the guard."""
        self._queue = Queue()
        self._begun = self._begun_size = 0
        """How many records, of what size, were given to the output and are not written yet."""
        self._failing_since: float | None = None
        self._reopen = self._ending = self._closing = self._abandoned = False
        self._thread = threading.Thread(target=self._run, name=f"writing {name}", daemon=True)
        self._thread.start()

    def put(self, records: Sequence[Record], begin: Begin = unmarked) -> None:
        """Write records in this thread, or queue them; wait for room then, or make it, as the policy says."""
        if self._write_through(records, begin):
            return
        with self._guard:
            if self._when_full is WhenFull.BLOCK:
                self._done.wait_for(lambda: self.queued < self._limit or self._ending or self._abandoned)
            if self._abandoned:
                self._queue.dropped += len(records)
                return
            # When the end is near nobody waits, and what comes then is not much.
            limit = 2 * self._limit if self._ending else self._limit
            full = self.queued >= limit
            self._queue.add(records)
            if full:
                # Not for each record anew; and some for what matters most, whatever is being written.
                self._queue.drop(max(limit - limit // 8 - self._begun_size, limit // 8))
            self._more.notify_all()

    def recover(self, records: Sequence[Record], place: Place | None) -> None:
        """Put what a process that was killed had in hand.

        Args:
            records: all of it.
            place: where they begin, if it had begun to write them.
        """
        written = 0
        if place is not None:
            try:
                with self._outputting:
                    written = self._output.since(place)
            except OSError as error:
                _log.error("%s: cannot be read (%s): what was in hand may be there twice", self.name, error)
        self.put(records[written:])

    @property
    def queued(self) -> int:
        """Octets that are not written yet, nearly."""
        return self._queue.size + self._begun_size

    @property
    def dropped(self) -> int:
        """Records so far."""
        return self._queue.dropped

    def flush(self) -> bool:
        """Wait until all that was put is written, or the end is near and it cannot be; tell whether it is."""
        with self._guard:
            self._done.wait_for(
                lambda: not self.queued or self._abandoned or (self._ending and self._failing)
            )
            return not self.queued

    def reopen(self) -> None:
        """Have the output opened anew, before the next record and after the last."""
        with self._guard:
            self._reopen = True
            self._more.notify_all()

    def end(self) -> None:
        """Let nobody wait any more for an output that fails: the end is near."""
        with self._guard:
            self._ending = True
            self._done.notify_all()

    def close(self, seconds: float) -> None:
        """Write what is queued, for ``seconds`` at most, and close the output."""
        self.end()
        with self._guard:
            self._closing = True
            self._more.notify_all()
        self._thread.join(seconds)
        with self._guard:
            self._abandoned = True
            left = len(self._queue) + self._begun + self._queue.untold
            self._more.notify_all()
            self._done.notify_all()
        if left:
            _log.error("%s: gave up after %g s; not written: %d messages", self.name, seconds, left)

    # -- by whoever holds what guards the output -----------------------------------------------------------------

    def _write_through(self, records: Sequence[Record], begin: Begin) -> bool:
        """Write records in this thread; tell whether the output has taken them, or they are to be queued."""
        if not self._output.prompt:
            return False
        with self._outputting:
            # What others have put comes before.
            if self._failing or self._abandoned or (self._waits and not self._write_queue()):
                return False
            try:
                begin(self.name, self._output.place())
            except OSError:
                return False
            if not self._write(records):
                with self._guard:
                    self._begun += len(records)
                    self._begun_size += size_of(records)
            return True

    def _write_queue(self) -> bool:
        """Write what is queued, after what could not be written before; tell whether nothing is left."""
        if self._failing and not self._write(()):
            return False
        with self._guard:
            self._begun, self._begun_size = len(self._queue), self._queue.size
            records = self._queue.take(self.name, self._now())
            reopen, self._reopen = self._reopen, False
        if reopen:
            try:
                self._output.reopen()
            except OSError as error:
                _log.error("%s: cannot be opened anew (%s): going on as it is", self.name, error)
        return not records or self._write(records)

    def _write(self, records: Sequence[Record]) -> bool:
        """Write records; tell whether they are. If not, the output remembers them, and the thread sees to it."""
        try:
            self._output.write(records)
        except OSError as error:
            if not self._failing:
                _log.error("%s: cannot be written (%s): trying again until it can", self.name, error)
                with self._guard:
                    self._failing_since = time.monotonic()
                    self._more.notify_all()
                    self._done.notify_all()
            return False
        except Exception:  # a fault of the output's
            _log.exception("%s: failed; nothing more is written to it", self.name)
            self._abandon()
            return False
        if self._failing_since is not None:
            seconds = time.monotonic() - self._failing_since
            _log.warning("%s: written again, after %.1f s", self.name, seconds)
        self.written += self._begun or len(records)
        if self._begun or self._failing:
            with self._guard:
                self._failing_since = None
                self._begun = self._begun_size = 0
                self._done.notify_all()
        return True

    @property
    def _failing(self) -> bool:
        return self._failing_since is not None

    @property
    def _waits(self) -> bool:
        """Whether something is to be done before a record is written."""
        return bool(self._queue or self._reopen or self._queue.untold)

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        more, pause = self._more, _FIRST_PAUSE
        while not self._abandoned:
            with self._guard:
                more.wait_for(lambda: self._waits or self._failing or self._closing or self._abandoned)
                if self._failing:
                    more.wait_for(lambda: self._abandoned, pause)
                if self._closing and not (self._waits or self._failing):
                    break
            with self._outputting:
                written = self._write_queue()
            pause = _FIRST_PAUSE if written else min(2 * pause, _LONGEST_PAUSE)
        with self._outputting:
            self._abandon()
            try:
                self._output.close()
            except Exception:  # of its disk at the very end, such as what write(2) did not tell
                _log.exception("%s: cannot be closed", self.name)

    def _abandon(self) -> None:
        with self._guard:
            self._abandoned = True
            self._more.notify_all()
            self._done.notify_all()
