"""Count and time requests for Prometheus."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_RUN_FIGURES = {
    "failed": ("failed_runs", "Dagster runs that failed in the last 7 days."),
    "unfinished": ("unfinished_runs", "Dagster runs that have not ended."),
    "sync_failed": ("sync_failed", "Whether the last sync that ended failed."),
    "sync_succeeded_at": ("sync_success_timestamp_seconds", "When the last good sync ended."),
}


class ServiceMetrics:
    """The figures of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # memory, processor, open files
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
        self._of_runs = {
            name: Gauge(f"americano_{metric}", description, registry=self._registry)
            for name, (metric, description) in _RUN_FIGURES.items()
        }

    def set_run_figures(self, figures: Mapping[str, Any]) -> None:
        """Set the figures of Dagster's runs; those that are missing or None are NaN."""
        for name, gauge in self._of_runs.items():
            value = figures.get(name)
            gauge.set(float("nan") if value is None else value)

    def text(self) -> bytes:
        """All figures in Prometheus's text format."""
        return generate_latest(self._registry)
