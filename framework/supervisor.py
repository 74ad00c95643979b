"""``Supervisor``: keeps a number of worker processes running. Knows nothing of servers.

Every process is the parent's own child until ``waitpid()`` here, so a process id is never somebody else's.
"""

from __future__ import annotations

import logging
import math
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from framework._loop import Loop, Waker
from framework.events import WorkerExited, WorkerExitReason, WorkerStarted
from framework.lifecycle import DrainResult
from framework.worker_process import GO_ON, PAUSE, SETTLE, Worker, flush, reset_signals

__all__ = ["Supervisor"]

_log = logging.getLogger("framework")

# A worker that ends this soon after its start is failing; one that lasted is replaced without delay.
_STABLE = 10.0
# Before a failing worker's replacement: systemd's RestartSec, doubled each time. The cap is how late it is
# noticed that what every worker fails on is there again; a fork each ten seconds costs nothing.
_DELAY, _LONGEST_DELAY = 0.1, 10.0


@dataclass(slots=True)
class _Slot:
    """The place of one worker among the others, in which one comes after the other."""

    number: int
    worker: Worker | None = None
    successor: Worker | None = None
    """Takes over when it is ready."""
    leaving: Worker | None = None
    """Has been taken over from."""
    renew: WorkerExitReason | None = None
    """Why the worker is to be replaced, if it is."""
    failures: int = 0
    """In a row."""
    not_before: float = 0.0
    """When the next one may be started."""


class Supervisor(Loop):
    """A loop whose turns look after workers; it reports no file as readable, and leaves none behind.

    Args:
        selector: where it waits.
        waker: what ends a wait early.
        count: workers at a time.
        run: what a worker does; runs in the new process, which ends when it returns or raises.
        happened: called for each start and each exit with the class of an event, and what one is made of.
        heartbeat_timeout: seconds between two beats of a worker before it is killed; ``None``: for ever.
        drain_timeout: seconds for the requests of a worker that is replaced, and of all when the loop ends.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        waker: Waker | None,
        *,
        count: int,
        run: Callable[[Worker], None],
        happened: Callable[..., None],
        heartbeat_timeout: float | None,
        drain_timeout: float,
    ) -> None:
        super().__init__(selector, waker)
        self._run = run
        self._happened = happened
        self._heartbeat_timeout = heartbeat_timeout
        self._drain_timeout = drain_timeout
        self._thread = threading.current_thread()
        self._slots = [_Slot(number) for number in range(count)]
        self._workers: dict[int, Worker] = {}
        self._last_turn = time.monotonic()
        # Orders from other threads, looked at in the next turn.
        self._paused = False
        self._renew_all = False
        self._stop_within: float | None = None
        self._cut_at = math.inf
        self._stopped = threading.Event()
        self._completed = self._forced = 0

    @property
    def workers(self) -> list[Worker]:
        """Those that run, also while one of them takes over from another."""
        return list(self._workers.values())

    @property
    def open(self) -> int:
        """Connections open in all workers, by their last beats."""
        return sum(worker.open for worker in self.workers)

    # -- what others may ask, in any thread --------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Let the workers take no more requests for now, or take them again."""
        self._paused = paused
        self.wake()

    def renew(self) -> None:
        """Replace all workers, one after the other."""
        self._renew_all = True
        self.wake()

    def stop(self, seconds: float) -> DrainResult:
        """Let all workers leave within ``seconds`` and some grace, and start no more; return when none is left."""
        if self._stop_within is None:
            self._stop_within = seconds
        elif seconds < self._stop_within:
            # They drain already and hear no more, so this is the end of it.
            self._cut_at = min(self._cut_at, time.monotonic() + seconds)
        self.wake()
        if threading.current_thread() is self._thread:
            while not self._stopped.is_set():
                self.wait(None)
        else:
            self._stopped.wait()
        return DrainResult(self._completed, self._forced, 0)

    # -- the loop ----------------------------------------------------------------------------------------------

    def watch(self, file: object) -> None:
        """Leave ``file`` to the workers."""

    def unwatch(self, file: object) -> None:
        """Do nothing: it is not watched."""

    def wait(self, timeout: float | None) -> bool:
        """Look after the workers, then wait until there is something to see, for ``timeout`` at most."""
        due = self._turn(time.monotonic())
        if not self._stopped.is_set():
            super().wait(due if timeout is None else timeout if due is None else min(due, timeout))
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop(self._drain_timeout)
        finally:
            # An impatient interrupt: nobody stays behind all the same.
            for worker in list(self._workers.values()):
                worker.kill()
                self._collect(worker, wait=True)
            self._stopped.set()
            super().__exit__(kind, error, trace)

    # -- one turn ----------------------------------------------------------------------------------------------

    def _turn(self, now: float) -> float | None:
        """See to everything that is due, and return the seconds until the next thing will be."""
        # A parent that did not run itself, in a frozen container for one, cannot say that its workers hang.
        stalled = self._heartbeat_timeout is not None and now - self._last_turn > self._heartbeat_timeout / 2
        self._last_turn = now
        for worker in list(self._workers.values()):
            self._look_after(worker, now, stalled)
        if self._stop_within is not None:
            self._stop_all(self._stop_within)
        else:
            if self._renew_all:
                self._renew_all = False
                for slot in self._slots:
                    slot.renew = WorkerExitReason.RESTARTED
            self._fill(now)
            self._renew_one(now)
        dues = [worker.deadline for worker in self._workers.values() if worker.deadline is not None]
        if self._stop_within is None:
            dues += [slot.not_before for slot in self._slots if slot.not_before > now]
        if self._heartbeat_timeout is not None and self._workers:
            dues.append(now + self._heartbeat_timeout / 4)
        return max(min(dues) - now, 0) if dues else None

    def _look_after(self, worker: Worker, now: float, stalled: bool) -> None:
        gone = worker.hung_up()
        if gone:
            # It has ended, or is on the brink of it; or a handler closed what was not its own, and then nothing
            # is left to lead it by. Either way it can be waited for.
            worker.kill()
        if self._collect(worker, wait=gone):
            return
        if worker.paused != self._paused:
            worker.paused = self._paused
            worker.order(PAUSE if self._paused else GO_ON)
        if worker.spent and worker.reason is None:
            slot = self._slots[worker.slot]
            slot.renew = slot.renew or WorkerExitReason.SPENT
        if worker.beats != worker.seen or stalled:
            worker.seen = worker.beats
            worker.seen_at = now
        if worker.deadline is not None:
            if now >= worker.deadline:
                worker.kill()
        elif self._heartbeat_timeout is not None and now - worker.seen_at > self._heartbeat_timeout:
            worker.reason = WorkerExitReason.HUNG
            worker.deadline = now
            worker.kill()

    def _collect(self, worker: Worker, *, wait: bool) -> bool:
        """Collect a worker that has ended; tell whether it has."""
        status: int | None
        try:
            pid, status = os.waitpid(worker.pid, 0 if wait else os.WNOHANG)
        except ChildProcessError:
            # The program collected it itself, or ignores SIGCHLD (wait(2)).
            pid, status = worker.pid, None
        if pid:
            self._ended(worker, None if status is None else os.waitstatus_to_exitcode(status))
        return bool(pid)

    def _ended(self, worker: Worker, status: int | None) -> None:
        now = time.monotonic()
        del self._workers[worker.pid]
        self._selector.unregister(worker.channel)
        worker.channel.close()
        if self._stop_within is not None:
            self._completed += worker.completed
            self._forced += worker.forced
        reason = worker.reason or (WorkerExitReason.CRASHED if status else WorkerExitReason.LEFT)
        slot = self._slots[worker.slot]
        if slot.leaving is worker:
            slot.leaving = None
        elif slot.successor is worker:
            slot.successor = None
        else:
            # Whoever was to take over does so now.
            slot.worker, slot.successor = slot.successor, None
            slot.renew = None
        if worker.reason in {None, WorkerExitReason.HUNG}:
            slot.failures = slot.failures + 1 if now - worker.started < _STABLE else 0
            slot.not_before = now + _delay(slot.failures)
        self._happened(WorkerExited, worker.pid, reason, status, now - worker.started)

    def _stop_all(self, seconds: float) -> None:
        for worker in self._workers.values():
            if worker.reason is not WorkerExitReason.STOPPED:
                # One that leaves already is not interrupted in that.
                settle = 0 if worker.deadline is None else SETTLE
                worker.leave(WorkerExitReason.STOPPED, settle, seconds)
            worker.deadline = min(worker.deadline or math.inf, self._cut_at)
        if not self._workers:
            self._stopped.set()

    def _fill(self, now: float) -> None:
        for slot in self._slots:
            if slot.worker is None and now >= slot.not_before:
                slot.worker = self._start(slot)

    def _renew_one(self, now: float) -> None:
        """Go on with the replacement that is under way, or begin with the next: one worker at a time."""
        under_way = (slot for slot in self._slots if slot.successor or slot.leaving)
        asked_for = (slot for slot in self._slots if slot.renew and slot.worker)
        slot = next(under_way, None) or next(asked_for, None)
        if slot is None or slot.leaving is not None:
            return
        if slot.successor is None:
            if now >= slot.not_before:
                slot.successor = self._start(slot)
        elif slot.successor.ready and slot.worker is not None and slot.renew is not None:
            slot.leaving, slot.worker, slot.successor = slot.worker, slot.successor, None
            slot.leaving.leave(slot.renew, SETTLE, self._drain_timeout)
            slot.renew = None

    # -- the birth of a worker ---------------------------------------------------------------------------------

    def _start(self, slot: _Slot) -> Worker | None:
        """Fork a worker; ``None`` when the system cannot now."""
        flush()  # or both processes write what is in the buffers
        ours, theirs = None, None
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            worker = Worker(slot.number, ours)
            # Or what the program installed for a signal could run in a process it was not meant for.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                worker.pid = os.fork()
                if worker.pid == 0:
                    self._become(worker, theirs, mask)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except OSError as error:
            _log.error("cannot start a worker: %s", error)
            if ours is not None:
                ours.close()
            slot.failures += 1
            slot.not_before = time.monotonic() + _delay(slot.failures)
            return None
        finally:
            if theirs is not None:
                theirs.close()
        self._workers[worker.pid] = worker
        self._selector.register(ours, selectors.EVENT_READ)
        worker.paused = self._paused
        if worker.paused:
            worker.order(PAUSE)
        self._happened(WorkerStarted, worker.pid, slot.number)
        return worker

    def _become(self, worker: Worker, channel: socket.socket, mask: set[int]) -> None:
        """Be the worker: runs in the new process, never returns, and leaves what is the parent's alone."""
        status = 1
        try:
            # The parent's ends of all lines, or its death would go unnoticed. Its waker is left alone: the
            # lock of that may have been held when we were forked.
            worker.channel.close()
            for other in self._workers.values():
                other.channel.close()
            self._selector.close()
            worker.channel = channel
            worker.pid = os.getpid()
            reset_signals(worker)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._run(worker)
            status = 0
        except BaseException:
            _log.exception("a worker failed")
        finally:
            try:
                flush()
            finally:
                os._exit(status)


def _delay(failures: int) -> float:
    """Return how long to wait after so many failures in a row, in seconds."""
    return min(_DELAY * 2 ** (failures - 1), _LONGEST_DELAY) if failures else 0.0
