"""Read the state of the pipeline for a page, in a process of its own: importing Dagster alone takes seconds."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.record_worker import RecordWorker


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


async def read_pipeline(worker: RecordWorker) -> PipelineAnswer:
    """Collect the state of the pipeline, or say why it cannot be."""
    try:
        return PipelineAnswer(datetime.now(UTC), await worker.pipeline())
    except Problem as error:
        return PipelineAnswer(datetime.now(UTC), None, error.detail)
