"""Keep the state of the pipeline, collected in the background by a process of its own: Dagster alone takes seconds."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.record_worker import RecordWorker

_FRESH_SECONDS = 60.0


@dataclass(frozen=True)
class PipelineAnswer:
    """What was collected last.

    Attributes:
        at: when, UTC.
        state: as `americano status --json` gives it; None where it could not be collected.
        problem: why not.
    """

    at: datetime
    state: dict[str, Any] | None
    problem: str | None = None


class PipelineView:
    """The last answer, collected again on the first read after a minute."""

    def __init__(self, worker: RecordWorker) -> None:
        self._worker = worker
        self._answer: PipelineAnswer | None = None
        self._collected_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def latest(self) -> PipelineAnswer | None:
        """The last answer, None before the first; where it is old, another is on its way."""
        if self._task is None and time.monotonic() - self._collected_at > _FRESH_SECONDS:
            self._task = asyncio.create_task(self._collect())
        return self._answer

    async def close(self) -> None:
        """End what is being collected."""
        if self._task is not None:
            task = self._task
            task.cancel()
            await asyncio.wait({task})

    async def _collect(self) -> None:
        try:
            self._answer = PipelineAnswer(datetime.now(UTC), await self._worker.pipeline())
        except Problem as error:
            self._answer = PipelineAnswer(datetime.now(UTC), None, error.detail)
        finally:
            self._collected_at, self._task = time.monotonic(), None
