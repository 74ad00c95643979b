"""``serve()``: several services in one process, from start to exit status, by the signals that operators send.

=========  =====================================================================================================
SIGTERM    Suspend all, then drain all at once, each for as long as the one that takes longest, and end. A second
SIGINT     one, of either kind, cuts off what still runs.
SIGHUP     Call ``reload()`` on every server.
SIGUSR2    Start the program anew with the listening sockets handed over. Once it serves, drain and end; if it
           does not come to that, go on as before, and say so.
=========  =====================================================================================================

Each server's loop has a thread of its own; the main thread waits for signals. The service manager is told of every
step (sd_notify(3)), and is given signs of life for as long as every loop turns.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from framework._signals import Signals
from framework.handover import Successor, inheritance
from framework.lifecycle import ServerState, ServerStateError
from framework.listeners import Listener
from framework.service import ServiceMixIn
from framework.systemd import Notifier

__all__ = ["serve"]

_log = logging.getLogger("framework")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
_ENDING = {signal.SIGTERM, signal.SIGINT}

# How long a successor may take to serve. systemd gives a service 90 s (DefaultTimeoutStartSec=), and this must say
# what became of it before that is over.
_START_SECONDS = 60.0
# A loop turns twice a second when nothing happens; twice as long without a turn, and it hangs.
_HANGING = 1.0
# What a server gets to close after its drain is over, in seconds: the handlers that were cut have one to notice.
_CLOSING = 3.0


def serve(*servers: ServiceMixIn[Any, Any], command: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it, and close the servers.

    Args:
        servers: bound already, of whatever kinds.
        command: what SIGUSR2 starts; by default what this program was started by.

    Returns:
        The exit status: 0 after a drain, also where requests were cut at its end; 1 if a server's loop failed, or
        could not be ended; 128 and the number of the signal that forced the end.

    Raises:
        ValueError: no server is given, or the service manager's variables make no sense.
        RuntimeError: it is called on another thread than the main one, which alone hears signals.
    """
    if not servers:
        raise ValueError("serve() was given no server; give it at least one")
    if threading.current_thread() is not threading.main_thread():
        fix = "call it on the main thread, or serve_forever() here"
        raise RuntimeError(f"serve() hears signals, which only the main thread can; {fix}")
    notifier = Notifier()
    with Signals(_SIGNALS) as signals:
        chosen = [sys.executable, *sys.orig_argv[1:]] if command is None else list(command)
        return _Services(servers, signals, notifier, chosen).run()


class _Member:
    """A server, and the threads that run and end it."""

    def __init__(self, server: ServiceMixIn[Any, Any], signals: Signals) -> None:
        self.server = server
        self.running = True
        """Whether the loop has not ended yet."""
        self.failed = False
        self.ended = False
        """Whether ``end()`` is over."""
        self._signals = signals

    def __str__(self) -> str:
        listener = self.server.socket
        where = listener.endpoint if isinstance(listener, Listener) else self.server.server_address
        return f"{type(self.server).__name__} on {where}"

    def hangs(self, seconds: float) -> bool:
        """Tell whether the loop has not turned for so long."""
        return self.running and time.monotonic() - self.server.last_turn > seconds

    def start(self) -> bool:
        """Start the loop; return once it serves, or has failed to, and which."""
        self._begin(self._serve, "serving")
        while not self.server.wait_for_state(ServerState.SERVING, timeout=0.1):
            if not self.running:
                return False
        return True

    def suspend(self) -> None:
        """Take no more requests."""
        with contextlib.suppress(ServerStateError):  # its loop has ended
            self.server.suspend()

    def end(self, seconds: float) -> None:
        """Drain for ``seconds`` and close, in a thread."""
        self._begin(lambda: self._stop(seconds), "ending")

    def force(self) -> None:
        """Cut what still runs, in a thread."""
        self._begin(lambda: self._drain(0), "cutting")

    def _begin(self, what: Callable[[], None], name: str) -> None:
        # A daemon: neither a loop that hangs in a handler nor the wait for it may keep the program from ending.
        threading.Thread(target=what, name=f"{name} {self}", daemon=True).start()

    def _drain(self, seconds: float) -> None:
        # ServerStateError: its loop has ended, and server_close() sees to what is left.
        with contextlib.suppress(ServerStateError):
            if self.server.drain(seconds).abandoned:
                self.server.drain_timeout = 0  # which would only wait for the same again

    def _serve(self) -> None:
        try:
            self.server.serve_forever()
        except BaseException:
            self.failed = True
            _log.exception("%s failed", self)
        finally:
            self.running = False
            self._signals.wake()

    def _stop(self, seconds: float) -> None:
        try:
            self._drain(seconds)
            self.server.shutdown()
            self.server.server_close()
        except Exception:
            self.failed = True
            _log.exception("closing %s failed", self)
        finally:
            self.ended = True
            self._signals.wake()


class _Services:
    """What ``serve()`` does, step by step."""

    def __init__(
        self,
        servers: Sequence[ServiceMixIn[Any, Any]],
        signals: Signals,
        notifier: Notifier,
        command: Sequence[str],
    ) -> None:
        self._members = [_Member(server, signals) for server in servers]
        self._signals = signals
        self._notifier = notifier
        self._command = command
        self._successor: Successor | None = None
        self._successor_deadline = 0.0
        self._handed_over = False
        self._next_sign = 0.0

    def run(self) -> int:
        """Serve from start to end."""
        started = [member.start() for member in self._members]
        if all(started):
            inheritance().ready()
            self._notifier.ready(self._summary())
            _log.info("serving %s", ", ".join(map(str, self._members)))
            self._until_the_end()
        return self._end()

    def _summary(self) -> str:
        return f"Serving {', '.join(map(str, self._members))}"

    # -- while serving -----------------------------------------------------------------------------------------

    def _until_the_end(self) -> None:
        """Return when the servers are to end, or one of them has failed, or all have ended."""
        while True:
            for number in self._wait():
                if number in _ENDING:
                    _log.info("%s: draining", number.name)
                    return
                if number is signal.SIGHUP:
                    self._reload()
                else:
                    self._restart()
            if self._successor is not None and self._succeeded(self._successor):
                return
            if any(member.failed for member in self._members):
                return
            if not any(member.running for member in self._members):
                return

    def _wait(self, deadline: float = math.inf) -> list[signal.Signals]:
        """Wait until something happens, giving signs of life on time."""
        files = [] if self._successor is None else [self._successor]
        if files:
            deadline = min(deadline, self._successor_deadline)
        deadline = min(deadline, self._sign())
        return self._signals.wait(
            None if deadline == math.inf else max(deadline - time.monotonic(), 0), *files
        )

    def _sign(self) -> float:
        """Give a sign of life if one is due, and return when the next is."""
        interval = self._notifier.watchdog_interval
        if interval is None:
            return math.inf
        now = time.monotonic()
        if now >= self._next_sign:
            if any(member.hangs(max(interval, _HANGING)) for member in self._members):
                self._next_sign = now + min(interval, _HANGING)  # as soon as it turns again
            else:
                self._next_sign = now + interval
                self._notifier.watchdog()
        return self._next_sign

    def _reload(self) -> None:
        self._notifier.reloading()
        for member in self._members:
            try:
                member.server.reload()
            except Exception:
                _log.exception("reloading %s failed: it goes on as it was", member)
        self._notifier.ready(self._summary())

    # -- restarting --------------------------------------------------------------------------------------------

    def _restart(self) -> None:
        if self._successor is not None:
            _log.warning("SIGUSR2: process %d is starting already", self._successor.pid)
            return
        self._notifier.reloading()
        try:
            self._successor = Successor(self._command, self._listeners())
        except OSError as error:
            self._go_on(f"cannot start {self._command[0]} ({error.strerror})")
            return
        self._successor_deadline = time.monotonic() + _START_SECONDS
        _log.info("SIGUSR2: process %d is starting", self._successor.pid)

    def _listeners(self) -> list[Listener]:
        servers = [member.server for member in self._members if member.running]
        sockets = [sock for server in servers for sock in server.listening()]
        return [each for each in sockets if isinstance(each, Listener)]

    def _succeeded(self, successor: Successor) -> bool:
        """Look after the successor; tell whether it serves."""
        serves = successor.serves()
        if serves is None and time.monotonic() < self._successor_deadline:
            return False
        self._successor = None
        if serves:
            self._handed_over = True
            for listener in self._listeners():
                listener.pass_on()
            _log.info("process %d serves: draining", successor.pid)
            self._notifier.ready(f"Process {successor.pid} serves", main_process=successor.pid)
            successor.let_go()
            return True
        status = successor.end()
        self._go_on(f"process {successor.pid} did not come to serve (exit status {status})")
        return False

    def _go_on(self, why: str) -> None:
        _log.error("%s: this one goes on serving", why)
        self._notifier.ready(f"Restart failed, {why}; still serving")

    # -- ending ------------------------------------------------------------------------------------------------

    def _end(self) -> int:
        """Drain and close; return the exit status."""
        if not self._handed_over:
            # After a hand-over the service is another process, and does not stop.
            self._notifier.stopping("Draining")
            if self._successor is not None:
                self._successor.end()
                self._successor = None
        # All first: a client that one server turns away must not be let in by the next.
        for member in self._members:
            member.suspend()
        seconds = max(member.server.drain_timeout for member in self._members)
        for member in self._members:
            member.end(seconds)
        forced = self._wait_for_the_end(time.monotonic() + seconds + _CLOSING)
        failed = False
        for member in self._members:
            failed |= member.failed or not member.ended
            if not member.ended:
                _log.error("%s did not end: it is left as it is", member)
                member.server.socket.close()
        return forced or int(failed)

    def _wait_for_the_end(self, deadline: float) -> int:
        """Wait until all have ended; return 128 and the number of the signal that forced them, if one did."""
        forced = 0
        while not all(member.ended for member in self._members) and time.monotonic() < deadline:
            for number in self._wait(deadline):
                if number in _ENDING and not forced:
                    _log.warning("%s again: cutting what still runs", number.name)
                    forced = 128 + number
                    deadline = time.monotonic() + _CLOSING
                    for member in self._members:
                        member.force()
        return forced
