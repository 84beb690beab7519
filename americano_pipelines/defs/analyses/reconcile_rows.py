"""Complete or fail the rows of the app whose Dagster run ended without doing so."""

from dataclasses import dataclass, field

import dagster as dg

from americano_pipelines.app_database import statements
from americano_pipelines.defs.run_ends import FINISHED_STATUSES, describe_end
from americano_pipelines.defs.run_tags import (
    PLACE_TAG,
    ROW_MISSED,
    ROW_OPEN,
    ROW_RECONCILED,
    ROW_TAG,
    ROWS_TAG,
)
from americano_pipelines.errors import AmericanoError, RowOwnershipError, TrackingError, TransientAppRowError
from americano_pipelines.mlflow_store.client import Store, open_store
from americano_pipelines.mlflow_store.data_folder import store_label
from americano_pipelines.provenance import app_link
from americano_pipelines.provenance.archive import confirming_run
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import find_records
from americano_pipelines.settings import DataFolder, PostgresTarget, Settings

RecordedAnalysis = tuple[str, Record]


@dataclass
class ReconciledRows:
    """Outcome of one pass.

    Attributes:
        rows: rows that show the end of their run now, and rows that were left unchanged, with the reason.
        problems: errors, one per row that could not be written; the next pass tries it again.
    """

    rows: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class _Confirmation:
    """Check in MLflow which records are complete; after an error, raise it again instead of a second attempt.

    Attributes:
        settings: the settings that name MLflow.
        store: MLflow, after the first check.
        error: why MLflow could not be opened.
    """

    settings: Settings
    store: Store | None = None
    error: TrackingError | None = None

    def is_complete(self, run: dg.DagsterRun, recorded: RecordedAnalysis) -> bool:
        """Whether an analysis was recorded completely: a run that is killed may leave MLflow without its hash.

        Raises:
            TrackingError: MLflow does not answer, or the run was recorded in another MLflow.
        """
        if run.status == dg.DagsterRunStatus.SUCCESS:
            return True
        label = store_label(self.settings)
        if (recorded_label := run.tags.get(PLACE_TAG, label)) != label:
            raise TrackingError(
                f"it was recorded in MLflow at {recorded_label}, which alone can confirm its record. Set "
                f"MLFLOW_TRACKING_URI (now {label}) back to it to reconcile the row"
            )
        return confirming_run(self._open(), *recorded) is not None

    def _open(self) -> Store:
        if self.error is not None:
            raise self.error
        try:
            self.store = self.store or open_store(self.settings)
        except TrackingError as error:
            self.error = error
            raise
        return self.store


def reconcile_app_rows(settings: Settings, instance: dg.DagsterInstance) -> ReconciledRows:
    """Complete or fail the open rows of Dagster runs that have ended; without an app, do nothing.

    A row whose analysis is recorded is completed. Another one is failed if it still belongs to the run. Without such
    runs, this costs one query of Dagster's run storage.

    Raises:
        TransientAppRowError: the app's database cannot be reached; the next pass tries the same rows again.
    """
    outcome = ReconciledRows()
    if settings.app is None:
        return outcome
    runs = instance.get_runs(dg.RunsFilter(statuses=list(FINISHED_STATUSES), tags={ROWS_TAG: ROW_OPEN}))
    # Most of these runs have no open row: a run closes its rows itself unless an error or a kill prevents it.
    analyses = _recorded_analyses(settings.paths, {run.run_id for run in runs if _open_rows(run)})
    confirmation = _Confirmation(settings)
    for run in runs:
        problems = []
        for row_id in _open_rows(run):
            recorded = analyses.get((run.run_id, row_id))
            try:
                outcome.rows.append(_reconcile(confirmation, settings.app, instance, run, row_id, recorded))
            except TransientAppRowError:
                raise
            except AmericanoError as error:
                problems.append(f"row {row_id} of Dagster run {run.run_id}: {error}")
        if not problems:
            instance.add_run_tags(run.run_id, {ROWS_TAG: ROW_RECONCILED})
        outcome.problems += problems
    return outcome


def _open_rows(run: dg.DagsterRun) -> list[str]:
    return [
        tag.removeprefix(ROW_TAG) for tag, state in run.tags.items() if tag.startswith(ROW_TAG) and state == ROW_OPEN
    ]


def _reconcile(
    confirmation: _Confirmation,
    target: PostgresTarget,
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    row_id: str,
    recorded: RecordedAnalysis | None,
) -> str:
    """Complete or fail one row.

    Returns:
        The row; with the reason, if it was left unchanged.
    """
    text, state = row_id, ROW_RECONCILED
    is_complete = recorded is not None and confirmation.is_complete(run, recorded)
    # Writes are retried, a read is not: while the app is away, this ends the pass within a sensor's 60 s.
    row = statements.read_row(target, row_id)
    try:
        if recorded is not None and is_complete:
            app_link.complete(target, row_id, recorded[1])
        elif not statements.fail(target, row_id, describe_end(instance, run), claimed_by=run.run_id):
            # A run that failed before its claim never had the row; the request sensor counts such runs.
            state = ROW_RECONCILED if row is not None and statements.owner(row) == run.run_id else ROW_MISSED
    except RowOwnershipError as error:
        text = f"{row_id}, left alone: {error}"
    instance.add_run_tags(run.run_id, {f"{ROW_TAG}{row_id}": state})
    return text


def _recorded_analyses(paths: DataFolder, run_ids: set[str]) -> dict[tuple[str, str], RecordedAnalysis]:
    """The records of Dagster runs, by run and row; of a retried step, the last."""
    if not run_ids:
        return {}
    return {
        (str(record.orchestrator["dagster_run_id"]), str(record.identity.analysis_run_id)): (sha256, record)
        for sha256, record in find_records(paths, "dagster_run_id", *run_ids)
    }
