"""``Sink``: what becomes of records, from wherever they come. It knows neither sockets nor octets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from servers.syslog.limits import PeerLimits
from servers.syslog.outputs.writer import Writer, notice
from servers.syslog.record import Record
from servers.syslog.routes import Route, distribute

__all__ = ["Sink"]

# How long an output may take for what is left when the sink closes, in seconds: less than a service manager waits.
_LAST_WORDS = 5.0


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

    def take(self, records: Sequence[Record], empty: int = 0, *, wait: bool = False) -> None:
        """Take records, in the order in which they came; wait where an output wants so.

        Args:
            records: which have not been taken before.
            empty: datagrams that came with them, and said nothing.
            wait: until they are written.
        """
        truncated = sum([record.truncated for record in records])
        with self._guard:
            self.received += len(records)
            self.empty += empty
            self.truncated += truncated
        self._pass_on(records if self.limits is None else self.limits.admit(records), wait=wait)

    def _pass_on(self, records: Sequence[Record], *, wait: bool) -> None:
        if not self._routes:
            for writer in self.writers.values():
                writer.put(records, wait=wait)
            return
        for name, chosen in distribute(records, self._routes).items():
            self.writers[name].put(chosen, wait=wait)

    def tell(self, *, ending: bool = False) -> None:
        """Tell of what the limits have dropped; to be called now and then."""
        if self.limits is None:
            return
        notices = [notice(text, self.now()) for text in self.limits.over(ending=ending)]
        if notices:
            self._pass_on(notices, wait=False)

    def flush(self) -> None:
        """Wait until all that was taken is written."""
        for writer in self.writers.values():
            writer.flush()

    def reopen(self) -> None:
        """Have all outputs opened anew."""
        for writer in self.writers.values():
            writer.reopen()

    def close(self) -> None:
        """Write what is left, for some seconds at most, and close the outputs."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
        self.tell(ending=True)
        closers = [
            threading.Thread(target=writer.close, args=(_LAST_WORDS,)) for writer in self.writers.values()
        ]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()
