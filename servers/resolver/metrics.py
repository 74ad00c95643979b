"""What the resolver tells Prometheus: looked up when it is asked for, so that no query pays for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from servers.resolver.records import Rcode

if TYPE_CHECKING:
    from servers.resolver.service import Service

__all__ = ["ResolverCollector"]


class ResolverCollector(Collector):
    """The numbers of one service.

    Args:
        service: whose.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Return the numbers."""
        service = self._service
        yield _counter("datagrams_received", "Datagrams that came.", service.datagrams)
        yield _counter("datagrams_unsent", "Answers that the system did not take.", service.unsent)
        made = CounterMetricFamily(
            "resolver_answers_made", "Answers not from memory, by code.", labels=("rcode",)
        )
        for code, count in sorted(service.answers.items()):
            made.add_metric((Rcode(code).name if code in set(Rcode) else str(code),), count)
        yield made
        yield _gauge("cache_entries", "Answers in the cache.", service.cached())
        yield _gauge("waiting", "Questions that wait for an upstream server.", service.waiting())
        serials = GaugeMetricFamily("resolver_zone_serial", "Serial number of the zone.", labels=("zone",))
        for name, serial in service.serials():
            serials.add_metric((name,), serial)
        yield serials
        now = time.monotonic()
        up = GaugeMetricFamily("resolver_upstream_up", "Whether the server is asked.", labels=("address",))
        trip = GaugeMetricFamily(
            "resolver_upstream_trip_seconds", "What an answer takes.", labels=("address",)
        )
        for each in service.upstreams():
            label = ("{}:{}".format(*each.address),)
            up.add_metric(label, float(not each.rests(now)))
            if each.trip is not None:
                trip.add_metric(label, each.trip)
        yield up
        yield trip


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"resolver_{name}", about, value)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"resolver_{name}", about, value)
