"""How long ``shutdown()`` of an idle server takes."""

import threading
import time

from benchmarks.report import Table
from benchmarks.server import FailedError
from benchmarks.subjects import SUBJECTS, Subject
from benchmarks.subjects.job import Job


def measure(rounds: int, only: list[str] | None = None) -> Table:
    """Shut each server down, at moments spread evenly over the original's poll interval."""
    table = Table("shutdown", "shutdown() of an idle server", ("ms",))
    for number in range(rounds):
        for subject in SUBJECTS:
            if subject.module not in {"letter", "service"} or not subject.can("line", 0):
                continue
            if only and subject.name not in only:
                continue
            table.rows.setdefault(subject.name, [])
            if reason := subject.missing():
                table.notes[subject.name] = reason
            else:
                idle = 0.5 * (number + 0.5) / rounds
                try:
                    table.rows[subject.name].append({"ms": 1000 * once(subject, idle)})
                except FailedError as error:
                    table.notes[subject.name] = f"round {number + 1} failed: {error}"
    return table


def once(subject: Subject, idle: float) -> float:
    """Return the seconds that it took after that many seconds of idling.

    Raises:
        FailedError: it did not serve any more by then.
    """
    with subject.load().make(subject.name, Job("line")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        time.sleep(idle)
        if not thread.is_alive():
            raise FailedError("it does not serve")
        begin = time.perf_counter()
        server.shutdown()
        seconds = time.perf_counter() - begin
        thread.join()
    return seconds
