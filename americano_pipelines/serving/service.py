"""Hold what all requests share: settings, open files, slots for queries, kept answers, keys, figures."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from americano_pipelines.serving.analysis_trigger import AnalysisTrigger
from americano_pipelines.serving.answer_cache import BoundedCache, KeptAnswer
from americano_pipelines.serving.authentication import Authentication
from americano_pipelines.serving.background_value import BackgroundValue
from americano_pipelines.serving.pages.chart_worker import ChartWorker
from americano_pipelines.serving.pages.pipeline_view import PipelineAnswer, read_pipeline
from americano_pipelines.serving.parsed_requests import ParsedRequests
from americano_pipelines.serving.problem_details import busy
from americano_pipelines.serving.published_pool import OpenSnapshot, PublishedPool
from americano_pipelines.serving.record_listing import RecordListing
from americano_pipelines.serving.record_worker import RecordWorker
from americano_pipelines.serving.service_metrics import ServiceMetrics
from americano_pipelines.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SLOTS_PER_CORE = 2
_WAIT_SECONDS = 1.0
_LOOK_SECONDS = 5.0
# Reading either takes a process and three seconds of a processor, because Dagster has to be imported.
_PIPELINE_SECONDS, _RUN_FIGURES_SECONDS = 60.0, 300.0
_CACHE_BYTES = 32 << 20


class Service:
    """What all requests share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pool = PublishedPool(settings)
        self.cache = BoundedCache[KeptAnswer](_CACHE_BYTES)
        self.files = BoundedCache[bytes](_CACHE_BYTES)
        self.parsed_requests = ParsedRequests()
        self.authentication = Authentication(settings)
        self.metrics = ServiceMetrics()
        self.worker = RecordWorker()
        self.trigger = AnalysisTrigger(settings)
        self.recorded = RecordListing(settings)
        self.charts = ChartWorker()
        # A worker of its own, so that no reader of a record waits for it.
        self.pipeline = BackgroundValue[PipelineAnswer](partial(read_pipeline, RecordWorker()), _PIPELINE_SECONDS)
        self._run_figures = BackgroundValue[dict[str, Any]](self.worker.run_figures, _RUN_FIGURES_SECONDS)
        slots = SLOTS_PER_CORE * (os.cpu_count() or 1)
        self._slots = asyncio.Semaphore(slots)
        self.threads = ThreadPoolExecutor(slots, thread_name_prefix="query")
        self._openers = ThreadPoolExecutor(1, thread_name_prefix="open")

    def run_figures(self) -> dict[str, Any]:
        """The figures of Dagster's runs as they were read last, by name; empty as long as there are none."""
        return (
            (self._run_figures.latest() or {}) if (self.settings.paths.dagster_home / "dagster.yaml").exists() else {}
        )

    async def close_background(self) -> None:
        """End what is read in the background."""
        for value in (self.pipeline, self._run_figures):
            await value.close()

    async def lease(self, snapshot_id: str | None = None) -> OpenSnapshot:
        """Open a published file for a request, which ends the use by `pool.release`; raises as the pool does."""
        snapshot = self.pool.lease_quickly() if snapshot_id is None else None
        if snapshot is None:
            loop = asyncio.get_running_loop()
            snapshot = await loop.run_in_executor(self._openers, self.pool.lease, snapshot_id)
        return snapshot

    @asynccontextmanager
    async def slot(self) -> "AsyncIterator[None]":
        """Hold one of the slots for queries for the block.

        Raises:
            Problem: 503, all are taken for longer than a second.
        """
        if self._slots.locked():
            try:
                await asyncio.wait_for(self._slots.acquire(), _WAIT_SECONDS)
            except TimeoutError:
                raise busy("as many queries run as this machine can carry; try again in a second") from None
        else:
            await self._slots.acquire()  # at once, without the task and the timer that a wait takes
        self.metrics.running.inc()
        try:
            yield
        finally:
            self.metrics.running.dec()
            self._slots.release()

    async def look_after_files(self) -> None:
        """Close files that were replaced or purged, also without requests, until it is cancelled."""
        loop = asyncio.get_running_loop()
        closed_before = 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await loop.run_in_executor(self._openers, self.pool.follow_link)
            # A purged file must not live on in kept answers.
            if self.pool.closed > closed_before:
                closed_before = self.pool.closed
                self.cache.clear()
                self.files.clear()

    def close(self) -> None:
        """End all threads and close all files."""
        self.threads.shutdown(wait=True)
        self._openers.shutdown(wait=True)
        self.trigger.close()
        self.pool.close()
        self.charts.end()
