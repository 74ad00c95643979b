"""``SinkMetrics``: what the sink tells Prometheus, looked up when it asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from servers.syslog.sink import Sink

__all__ = ["SinkMetrics"]


class SinkMetrics(Collector):
    """Collects from a sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def collect(self) -> Iterator[Metric]:
        """Return what has come, what has gone where, and what has not."""
        sink = self._sink
        yield CounterMetricFamily("syslog_received", "Messages received.", sink.received)
        yield CounterMetricFamily("syslog_empty", "Datagrams that said nothing.", sink.empty)
        yield CounterMetricFamily("syslog_truncated", "Messages that lost their end.", sink.truncated)
        limited = 0 if sink.limits is None else sink.limits.dropped
        yield CounterMetricFamily("syslog_limited", "Messages dropped by the limit on their peer.", limited)
        written = CounterMetricFamily("syslog_written", "Messages written.", labels=["output"])
        dropped = CounterMetricFamily(
            "syslog_dropped", "Messages dropped as a queue was full.", labels=["output"]
        )
        queued = GaugeMetricFamily(
            "syslog_queue_octets", "Octets that wait to be written.", labels=["output"]
        )
        for name, writer in sink.writers.items():
            written.add_metric([name], writer.written)
            dropped.add_metric([name], writer.dropped)
            queued.add_metric([name], writer.queued)
        yield from (written, dropped, queued)
