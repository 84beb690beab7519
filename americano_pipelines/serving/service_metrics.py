"""Count and time requests for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST


class ServiceMetrics:
    """The figures of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "americano_api_requests", "Answered requests.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "americano_api_request_seconds",
            "Time from a request to the end of its answer.",
            ["route"],
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self._registry,
        )
        self.kept_answers = Counter(
            "americano_api_kept_answers", "Answers that were kept from an earlier request.", registry=self._registry
        )
        self.running = Gauge("americano_api_queries_running", "Queries that run.", registry=self._registry)
        self.open_files = Gauge("americano_api_open_files", "Published files that are open.", registry=self._registry)
        self.snapshot_age = Gauge(
            "americano_snapshot_age_seconds", "Age of the instant of the published file.", registry=self._registry
        )
        self.snapshot_late = Gauge(
            "americano_snapshot_late",
            "Whether the published file is older than the last scheduled sync.",
            registry=self._registry,
        )
        self.failed_checks = Gauge(
            "americano_failed_checks", "Checks of the published file that failed.", registry=self._registry
        )

    def text(self) -> bytes:
        """All figures in Prometheus's text format."""
        return generate_latest(self._registry)
