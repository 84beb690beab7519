"""Keep the figures of Dagster's runs for the metrics, read again in the background, at most every five minutes."""

import asyncio
import time
from typing import Any

from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.record_worker import RecordWorker
from americano_pipelines.settings import Settings

# Reading them takes a process and three seconds of a processor, because Dagster has to be imported.
_READ_AGAIN_SECONDS = 300.0


class RunFiguresReader:
    """The figures as they were read last."""

    def __init__(self, settings: Settings, worker: RecordWorker) -> None:
        self._configuration = settings.dagster_dir / "dagster.yaml"
        self._worker = worker
        self._figures: dict[str, Any] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    def latest(self) -> dict[str, Any]:
        """The figures, by name; empty as long as there are none. Old ones are read again in the background."""
        is_old = time.monotonic() - self._read_at > _READ_AGAIN_SECONDS
        if is_old and (self._reading is None or self._reading.done()) and self._configuration.exists():
            self._read_at = time.monotonic()
            self._reading = asyncio.create_task(self._read())
        return self._figures

    async def close(self) -> None:
        """End what is being read."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read(self) -> None:
        try:
            self._figures = await self._worker.run_figures() or {}
        except Problem:
            self._figures = {}  # unknown is better than what was true an hour ago
