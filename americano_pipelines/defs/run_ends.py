"""Describe how a Dagster run or a step ended, and find runs whose end MLflow or the app may not show yet."""

from collections.abc import Sequence

import dagster as dg

from americano_pipelines import errors
from americano_pipelines.defs.dagster_storage import ErrorInfo, events_file
from americano_pipelines.defs.run_tags import ERROR_KIND, OPEN, ROW_OPEN, ROWS_TAG, STATUS_TAG

FINISHED_STATUSES = {
    dg.DagsterRunStatus.SUCCESS: "FINISHED",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "KILLED",
}
"""Status of a Dagster run that has ended to that of its MLflow run."""


def needs_reconciliation(instance: dg.DagsterInstance) -> bool:
    """Whether a run has ended whose end MLflow or the app may not show yet; two queries to Dagster's records."""
    return any(
        instance.get_runs_count(dg.RunsFilter(statuses=list(FINISHED_STATUSES), tags={tag: value}))
        for tag, value in ((STATUS_TAG, OPEN), (ROWS_TAG, ROW_OPEN))
    )


def describe_end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Say how a run that has ended did so, and why as far as its events tell."""
    if run.status == dg.DagsterRunStatus.CANCELED:
        return f"Dagster run {run.run_id} was cancelled"
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return f"Dagster run {run.run_id} ended without recording it"
    steps = _events(instance, run, dg.DagsterEventType.STEP_FAILURE)
    descriptions = [f"{event.step_key}: {step_failure(event)[0]}" for event in steps]
    if not descriptions:
        ends = _events(instance, run, dg.DagsterEventType.RUN_FAILURE)
        descriptions = [_run_failure(event) for event in ends]
    return f"Dagster run {run.run_id} failed" + (f": {'; '.join(descriptions)}" if descriptions else "")


def step_failure(event: dg.DagsterEvent) -> tuple[str, str | None]:
    """The message of a step that failed, and the class of its error; None when it is not one of ours."""
    data = event.step_failure_data
    failure_data = data.user_failure_data
    if failure_data is not None and failure_data.description:
        kind = failure_data.metadata.get(ERROR_KIND)
        return failure_data.description, str(kind.value) if kind is not None else None
    return _reason(data.error) if data.error else str(event.message), None


def run_events(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> Sequence[dg.EventLogRecord]:
    """The events of a kind of a run; none for a run without events, or that Dagster does not have."""
    # On sqlite, reading them would create the run's file where it is missing; commands that read must write nothing.
    file = events_file(instance, run_id)
    if file is not None and not file.exists():
        return []
    return instance.get_records_for_run(run_id, of_type=kind).records


def _run_failure(event: dg.DagsterEvent) -> str:
    """Why a run failed before any step: a resource could not be opened, or its process was gone."""
    data = event.job_failure_data
    # Absent when the end was reported from outside the run, although the type does not say so.
    return _reason(data.error) if data and data.error else str(event.message).strip()


def _reason(error: ErrorInfo) -> str:
    """The message of the first error of ours in a chain of causes, which says what to do; else of the last cause."""
    chain = [error]
    while (cause := chain[-1].cause) is not None:
        chain.append(cause)
    known = next((link for link in chain if hasattr(errors, str(link.cls_name))), chain[-1])
    # Like the last line of a traceback: the class, perhaps with its module, and the text.
    text = known.message.strip()
    return text.partition(": ")[2] if hasattr(errors, str(known.cls_name)) else text


def _events(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
    records = run_events(instance, run.run_id, kind)
    return [record.event_log_entry.get_dagster_event() for record in records]
