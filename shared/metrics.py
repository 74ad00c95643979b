"""Metrics for Prometheus: what the framework tells as events, what a service counts itself, and how the process fares.

``Metrics`` has a registry of its own and no globals. Whatever costs something is either an event that happens anyway or
is looked up when Prometheus asks. A service's own numbers come from any collector of prometheus-client: best one that
looks them up likewise, in ``collect()``.

Names follow https://prometheus.io/docs/practices/naming/: ``framework_connections_opened_total{server="chat"}``.
Events of ``PreforkMixIn``'s and ``ForkingMixIn``'s other processes stay in those; the parent's are counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from framework import CloseReason, Observer, ServerState, ServiceMixIn
from framework.events import (
    AcceptFailed,
    ActionsFailed,
    ConnectionClosed,
    ConnectionOpened,
    DatagramTruncated,
    DrainEnded,
    HandlerFailed,
    HandshakeFailed,
    HubHeld,
    Overloaded,
    Recovered,
    Rejected,
    RejectReason,
    Saturated,
    WorkerExited,
    WorkerExitReason,
    WorkerStarted,
)

__all__ = ["Metrics"]

# From a request to a session of a day; few, since each is a line per server.
_DURATIONS = (0.01, 0.1, 1, 10, 60, 600, 3600, 86400)


class Metrics:
    """What one process tells Prometheus.

    Args:
        collectors: a service's own.
    """

    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._counts = _Counts(self.registry)
        self._servers: list[tuple[str, ServiceMixIn[Any, Any]]] = []
        self.registry.register(_States(self._servers))
        for each in collectors:
            self.registry.register(each)

    @property
    def servers(self) -> Iterable[tuple[str, ServiceMixIn[Any, Any]]]:
        """The servers that are observed, by their names."""
        return tuple(self._servers)

    def observe(self, name: str, server: ServiceMixIn[Any, Any]) -> None:
        """Count what happens to a server; ``name`` is its label ``server``."""
        self._servers.append((name, server))
        server.observe(_Observer(self._counts, name))


class _Counts:
    """The metrics that events move."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"framework_{name}", about, ("server", *labels), registry=registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(f"framework_{name}", about, ("server",), registry=registry)

        self.opened = counter("connections_opened", "Connections accepted.")
        self.closed = counter("connections_closed", "Connections ended, by why.", "reason")
        self.open = gauge("connections_open", "Connections open now.")
        self.seconds = Histogram(
            "framework_connection_duration_seconds",
            "How long connections lasted.",
            ("server",),
            buckets=_DURATIONS,
            registry=registry,
        )
        self.rejected = counter(
            "connections_rejected", "Connections closed without a handler, by why.", "reason"
        )
        self.handler_failures = counter(
            "handler_failures", "Handlers that raised, by no fault of their client."
        )
        self.actions_failures = counter(
            "service_actions_failures", "Times the loop's own actions began to fail."
        )
        self.handshake_failures = counter("handshake_failures", "Clients that never came to a first request.")
        self.accept_failures = counter("accept_failures", "Times the system could not accept any more.")
        self.overloads = counter("overloads", "Times the cap on connections was reached.")
        self.overloaded = gauge("overloaded", "Whether clients wait because of the cap on connections.")
        self.saturations = counter("saturations", "Times every worker of the pool was busy.")
        self.truncated = counter("datagrams_truncated", "Datagrams that lost their end.")
        self.hub_held = counter("hub_held", "Times a handler held the hub for too long.")
        self.drained = counter("connections_drained", "Connections that a drain ended, by how.", "outcome")
        self.workers_started = counter("workers_started", "Worker processes started.")
        self.workers_exited = counter("workers_exited", "Worker processes ended, by why.", "reason")


class _Observer(Observer):
    """Counts the events of one server."""

    def __init__(self, counts: _Counts, name: str) -> None:
        # Looked up once, since looking up a label costs more than counting.
        self._opened = counts.opened.labels(name)
        self._closed = {reason: counts.closed.labels(name, reason.value) for reason in CloseReason}
        self._open = counts.open.labels(name)
        self._seconds = counts.seconds.labels(name)
        self._rejected = {reason: counts.rejected.labels(name, reason.value) for reason in RejectReason}
        self._handler_failures = counts.handler_failures.labels(name)
        self._actions_failures = counts.actions_failures.labels(name)
        self._handshake_failures = counts.handshake_failures.labels(name)
        self._accept_failures = counts.accept_failures.labels(name)
        self._overloads = counts.overloads.labels(name)
        self._overloaded = counts.overloaded.labels(name)
        self._saturations = counts.saturations.labels(name)
        self._truncated = counts.truncated.labels(name)
        self._hub_held = counts.hub_held.labels(name)
        self._drained = {
            how: counts.drained.labels(name, how) for how in ("completed", "forced", "abandoned")
        }
        self._workers_started = counts.workers_started.labels(name)
        self._workers_exited = {
            why: counts.workers_exited.labels(name, why.value) for why in WorkerExitReason
        }

    def connection_opened(self, event: ConnectionOpened) -> None:
        """Count it."""
        self._opened.inc()
        self._open.inc()

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Count it, and how long it lasted."""
        self._closed[event.reason].inc()
        self._open.dec()
        self._seconds.observe(event.seconds)

    def rejected(self, event: Rejected) -> None:
        """Count it."""
        self._rejected[event.reason].inc()

    def handler_failed(self, event: HandlerFailed) -> None:
        """Count it."""
        self._handler_failures.inc()

    def actions_failed(self, event: ActionsFailed) -> None:
        """Count it."""
        self._actions_failures.inc()

    def handshake_failed(self, event: HandshakeFailed) -> None:
        """Count it."""
        self._handshake_failures.inc()

    def accept_failed(self, event: AcceptFailed) -> None:
        """Count it."""
        self._accept_failures.inc()

    def datagram_truncated(self, event: DatagramTruncated) -> None:
        """Count it."""
        self._truncated.inc()

    def hub_held(self, event: HubHeld) -> None:
        """Count it."""
        self._hub_held.inc()

    def overloaded(self, event: Overloaded) -> None:
        """Count it, and show that it lasts."""
        self._overloads.inc()
        self._overloaded.set(1)

    def recovered(self, event: Recovered) -> None:
        """Show that it is over."""
        self._overloaded.set(0)

    def saturated(self, event: Saturated) -> None:
        """Count it."""
        self._saturations.inc()

    def drain_ended(self, event: DrainEnded) -> None:
        """Count what became of the connections."""
        self._drained["completed"].inc(event.completed)
        self._drained["forced"].inc(event.forced)
        self._drained["abandoned"].inc(event.abandoned)

    def worker_started(self, event: WorkerStarted) -> None:
        """Count it."""
        self._workers_started.inc()

    def worker_exited(self, event: WorkerExited) -> None:
        """Count it."""
        self._workers_exited[event.reason].inc()


class _States(Collector):
    """What is looked up when it is asked for."""

    def __init__(self, servers: Iterable[tuple[str, ServiceMixIn[Any, Any]]]) -> None:
        self._servers = servers

    def collect(self) -> Iterator[Metric]:
        """Return each server's state, and how long ago its loop turned."""
        states = GaugeMetricFamily(
            "framework_state", "Whether the server is in that state.", labels=("server", "state")
        )
        turns = GaugeMetricFamily(
            "framework_last_turn_age_seconds", "Since the loop was last seen to turn.", labels=("server",)
        )
        for name, server in self._servers:
            for state in ServerState:
                states.add_metric((name, state.value), float(server.state is state))
            if server.last_turn:
                turns.add_metric((name,), time.monotonic() - server.last_turn)
        yield states
        yield turns
