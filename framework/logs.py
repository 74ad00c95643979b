"""Logging as one observer among others."""

from __future__ import annotations

import logging

from framework.events import (
    AcceptFailed,
    ActionsFailed,
    ConnectionClosed,
    ConnectionOpened,
    DatagramTruncated,
    DrainBegan,
    DrainEnded,
    HandlerFailed,
    HandshakeFailed,
    HubHeld,
    Overloaded,
    Recovered,
    Rejected,
    Saturated,
    WorkerExited,
    WorkerExitReason,
    WorkerStarted,
)
from framework.observers import Observer

__all__ = ["ConnectionLoggingObserver", "LoggingObserver"]

_log = logging.getLogger("framework")


class LoggingObserver(Observer):
    """Writes what an operator should see to a logger.

    Args:
        logger: where to.
    """

    def __init__(self, logger: logging.Logger = _log) -> None:
        self._logger = logger

    def rejected(self, event: Rejected) -> None:
        """Log at INFO."""
        self._logger.info("refused %r (%s)", event.address, event.reason.value)

    def handler_failed(self, event: HandlerFailed) -> None:
        """Log at ERROR, with the traceback."""
        self._logger.error("serving %r failed", event.address, exc_info=event.error)

    def handshake_failed(self, event: HandshakeFailed) -> None:
        """Log at INFO, without a traceback: any stranger can bring this about."""
        self._logger.info("no handshake with %r: %s", event.address, event.error)

    def actions_failed(self, event: ActionsFailed) -> None:
        """Log at ERROR, with the traceback."""
        self._logger.error("service_actions() failed", exc_info=event.error)

    def accept_failed(self, event: AcceptFailed) -> None:
        """Log at ERROR; what is a fault of the program's, with its traceback."""
        fault = None if isinstance(event.error, OSError) else event.error
        self._logger.error("cannot accept for now: %s", event.error, exc_info=fault)

    def datagram_truncated(self, event: DatagramTruncated) -> None:
        """Log at WARNING."""
        self._logger.warning("a datagram from %r was cut to %d octets", event.address, event.kept)

    def hub_held(self, event: HubHeld) -> None:
        """Log at WARNING."""
        self._logger.warning("the hub is held for %.3f s by %s", event.seconds, event.where)

    def overloaded(self, event: Overloaded) -> None:
        """Log at WARNING."""
        self._logger.warning("%d connections are open: further clients wait", event.open)

    def recovered(self, event: Recovered) -> None:
        """Log at INFO."""
        self._logger.info("accepting again, %d connections are open", event.open)

    def saturated(self, event: Saturated) -> None:
        """Log at WARNING."""
        self._logger.warning("all %d workers are busy: clients wait", event.workers)

    def drain_began(self, event: DrainBegan) -> None:
        """Log at INFO."""
        self._logger.info("draining %d connections for up to %g s", event.open, event.seconds)

    def drain_ended(self, event: DrainEnded) -> None:
        """Log at INFO, or at WARNING when a handler was left behind."""
        level = logging.WARNING if event.abandoned else logging.INFO
        counts = event.completed, event.forced, event.abandoned
        self._logger.log(level, "drained: %d completed, %d forced, %d abandoned", *counts)

    def worker_started(self, event: WorkerStarted) -> None:
        """Log at INFO."""
        self._logger.info("worker %d started", event.pid)

    def worker_exited(self, event: WorkerExited) -> None:
        """Log at INFO, or at ERROR when it failed."""
        failed = event.reason in {WorkerExitReason.CRASHED, WorkerExitReason.HUNG}
        how = f", status {event.status}" if event.status else ""
        level = logging.ERROR if failed else logging.INFO
        self._logger.log(
            level, "worker %d %s after %.1f s%s", event.pid, event.reason.value, event.seconds, how
        )


class ConnectionLoggingObserver(LoggingObserver):
    """Writes what each client does, too; a class of its own since that costs something for each."""

    def connection_opened(self, event: ConnectionOpened) -> None:
        """Log at DEBUG."""
        self._logger.debug("connection %d from %r, %d open", event.number, event.address, event.open)

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Log at DEBUG."""
        self._logger.debug(
            "connection %d closed (%s) after %.3f s, %d open",
            event.number,
            event.reason.value,
            event.seconds,
            event.open,
        )
