"""What /metrics tells."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "Meters"]

SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Meters:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = here = CollectorRegistry()
        ProcessCollector(registry=here)
        self._requests = Counter("filterkit_requests", "Requests answered", ["route", "status"], registry=here)
        self._seconds = Histogram(
            "filterkit_request_seconds",
            "From a request's headers to its answer",
            ["route"],
            buckets=SECONDS,
            registry=here,
        )
        self.errors = Counter("filterkit_errors", "Requests refused or failed, by code", ["code"], registry=here)
        self.articles = Counter(
            "filterkit_articles", "Articles judged: scored, blocked, failed", ["filter", "outcome"], registry=here
        )
        self.batch = Histogram(
            "filterkit_batch_articles", "Articles scored at once", ["filter"], buckets=ROWS, registry=here
        )
        self.batch_seconds = Histogram(
            "filterkit_batch_seconds", "Seconds that scoring a batch took", ["filter"], buckets=SECONDS, registry=here
        )
        self.waiting = Gauge("filterkit_queue_articles", "Articles waiting or being scored", ["filter"], registry=here)
        self.connections = Gauge("filterkit_connections", "Open connections", registry=here)
        self.held = Gauge("filterkit_held_bytes", "Bytes of the bodies that are being read or scored", registry=here)
        self.ready = Gauge("filterkit_ready", "1 when requests are welcome, 0 while loading or draining", registry=here)
        self.student = Gauge(
            "filterkit_student_info",
            "1 for the student that answers",
            ["filter", "version", "student_hash"],
            registry=here,
        )
        self.reloads = Counter(
            "filterkit_reloads", "New students: swapped in or refused", ["filter", "result"], registry=here
        )
        self.log_dropped = Gauge("filterkit_log_lines_dropped", "Lines of the log that nobody read", registry=here)
        self._known: dict[tuple[str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request and how long it took."""
        known = self._known.get((route, status))
        if known is None:  # looking labels up costs more than counting
            counter = self._requests.labels(route, str(status))
            known = self._known[route, status] = (counter.inc, self._seconds.labels(route).observe)
        known[0]()
        known[1](seconds)

    def page(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
