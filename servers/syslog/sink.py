"""``Sink``: what becomes of records, from wherever they come. It knows neither sockets nor octets."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from servers.syslog.limits import PeerLimits
from servers.syslog.outputs import Place
from servers.syslog.outputs.queue import notice
from servers.syslog.outputs.writer import Begin, Writer, unmarked
from servers.syslog.record import Record
from servers.syslog.routes import Route, distribute

__all__ = ["Sink"]

_log = logging.getLogger(__name__)


class Sink:
    """Takes records; for any number of threads.

    Args:
        writers: the outputs, by name.
        routes: which record goes to which; none: all to all.
        limits: on what each peer may say, if any.
        now: tells the time, in the zone of dates that have none.
    """

    def __init__(
        self,
        writers: Mapping[str, Writer],
        routes: Sequence[Route] = (),
        limits: PeerLimits | None = None,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self.writers = writers
        self.limits = limits
        self.now = now
        self.received = 0
        """Messages so far; likewise the next two."""
        self.empty = 0
        self.truncated = 0
        self._routes = routes
        self._guard = threading.Lock()
        self._closed = False

    def rule(self, routes: Sequence[Route], limits: PeerLimits | None) -> None:
        """Go on by other routes and limits; what the limits so far have dropped is told of."""
        self.tell(ending=True)
        self._routes, self.limits = routes, limits

    def take(self, records: Sequence[Record], empty: int = 0, begin: Begin = unmarked) -> None:
        """Take records, in the order in which they came; wait where an output wants so.

        Args:
            records: which have not been taken before.
            empty: datagrams that came with them, and said nothing.
            begin: is told where in an output they begin.
        """
        truncated = sum([record.truncated for record in records])
        with self._guard:
            self.received += len(records)
            self.empty += empty
            self.truncated += truncated
        self._pass_on(records if self.limits is None else self.limits.admit(records), begin)

    def _pass_on(self, records: Sequence[Record], begin: Begin = unmarked) -> None:
        for writer, chosen in self._chosen(records):
            writer.put(chosen, begin)

    def _chosen(self, records: Sequence[Record]) -> Iterable[tuple[Writer, Sequence[Record]]]:
        if not self._routes:
            return [(writer, records) for writer in self.writers.values()]
        return [(self.writers[name], chosen) for name, chosen in distribute(records, self._routes).items()]

    def recover(self, records: Sequence[Record], place: Callable[[str], Place | None]) -> None:
        """Take what a process had in hand that was killed, and write what of it was not written.

        Args:
            records: which have passed the limits.
            place: tells where the output of a name had begun to write them.
        """
        for writer, chosen in self._chosen(records):
            writer.recover(chosen, place(writer.name))
        self.flush()

    def tell(self, *, ending: bool = False) -> None:
        """Tell of what the limits have dropped; to be called now and then."""
        if self.limits is None:
            return
        notices = [notice(text, self.now()) for text in self.limits.over(ending=ending)]
        if notices:
            self._pass_on(notices)

    def flush(self) -> bool:
        """Wait until all that was taken is written, or the end is near and it cannot be; tell whether it is."""
        written = [writer.flush() for writer in self.writers.values()]
        return all(written)

    def reopen(self) -> None:
        """Have all outputs opened anew."""
        for writer in self.writers.values():
            writer.reopen()

    def end(self) -> None:
        """Let nobody wait any more for outputs that fail: the end is near."""
        for writer in self.writers.values():
            writer.end()

    def close(self, seconds: float) -> None:
        """Write what is left, for ``seconds`` at most, and close the outputs."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
        self.tell(ending=True)
        closers = [threading.Thread(target=writer.close, args=(seconds,)) for writer in self.writers.values()]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()
        _log.info(
            "%d messages, %d of them cut; %d datagrams that said nothing",
            self.received,
            self.truncated,
            self.empty,
        )
