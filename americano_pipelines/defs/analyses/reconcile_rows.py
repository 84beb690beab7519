"""Set the status of the app's rows to how their Dagster runs ended."""

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
from americano_pipelines.provenance.app_link import row_values
from americano_pipelines.provenance.archive import confirming_run, records
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import PostgresTarget, Settings

RecordedAnalysis = tuple[str, Record]


@dataclass
class ReconciledRows:
    """What came of looking after rows.

    Attributes:
        rows: rows that show the end of their run now, and with the reason those that were left alone.
        problems: what could not be written; the same rows are tried again the next time.
    """

    rows: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class _Confirmation:
    """Ask MLflow which records are complete; after an error it is not asked again in the same pass.

    Attributes:
        settings: whose MLflow.
        store: that MLflow, once it was opened.
        error: why it could not be opened.
    """

    settings: Settings
    store: Store | None = None
    error: TrackingError | None = None

    def is_complete(self, run: dg.DagsterRun, recorded: RecordedAnalysis) -> bool:
        """Whether a record in the archive was recorded to its end: a run may die before MLflow has its hash.

        Raises:
            TrackingError: MLflow does not answer, or is another one than the run was recorded in.
        """
        if run.status == dg.DagsterRunStatus.SUCCESS:
            return True
        label = store_label(self.settings)
        if (recorded_label := run.tags.get(PLACE_TAG, label)) != label:
            raise TrackingError(
                f"it was recorded in MLflow at {recorded_label}, which alone can say whether its record is whole; the "
                f"row waits until MLFLOW_TRACKING_URI, which is {label} now, is that again"
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
    """Bring the rows of Dagster runs that have ended into line; without an app, do nothing.

    A row whose analysis is recorded is completed; another is failed, if it still is the run's. While there are none
    it costs a question to Dagster's records.

    Raises:
        TransientAppRowError: the app's database cannot be reached; the same runs are tried again the next time.
    """
    settled = ReconciledRows()
    if settings.app is None:
        return settled
    waiting = instance.get_runs(dg.RunsFilter(statuses=list(FINISHED_STATUSES), tags={ROWS_TAG: ROW_OPEN}))
    # Most have none left open: what was well is settled by the run itself.
    kept = _kept(settings, {run.run_id for run in waiting if _open_rows(run)})
    confirmation = _Confirmation(settings)
    for run in waiting:
        problems = []
        for row_id in _open_rows(run):
            recorded = kept.get((run.run_id, row_id))
            try:
                settled.rows.append(_settle(confirmation, settings.app, instance, run, row_id, recorded))
            except TransientAppRowError:
                raise
            except AmericanoError as error:
                problems.append(f"row {row_id} of Dagster run {run.run_id}: {error}")
        if not problems:
            instance.add_run_tags(run.run_id, {ROWS_TAG: ROW_RECONCILED})
        settled.problems += problems
    return settled


def _open_rows(run: dg.DagsterRun) -> list[str]:
    return [
        tag.removeprefix(ROW_TAG) for tag, state in run.tags.items() if tag.startswith(ROW_TAG) and state == ROW_OPEN
    ]


def _settle(
    confirmation: _Confirmation,
    target: PostgresTarget,
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    row_id: str,
    recorded: RecordedAnalysis | None,
) -> str:
    """Settle one row; the row, and why it is left alone if it is."""
    text, state = row_id, ROW_RECONCILED
    try:
        if recorded is not None and confirmation.is_complete(run, recorded):
            statements.complete(target, row_id, run.run_id, row_values(recorded[1]))
        else:
            state = _given_up(target, instance, run, row_id)
    except RowOwnershipError as error:
        text = f"{row_id}, left alone: {error}"
    instance.add_run_tags(run.run_id, {f"{ROW_TAG}{row_id}": state})
    return text


def _given_up(target: PostgresTarget, instance: dg.DagsterInstance, run: dg.DagsterRun, row_id: str) -> str:
    """Fail a row that its run left behind; whether it ever had the row."""
    if statements.fail_orphaned_row(target, row_id, run.run_id, describe_end(instance, run)):
        return ROW_RECONCILED
    row = statements.read_row(target, row_id)
    return ROW_RECONCILED if row is not None and statements.owner(row) == run.run_id else ROW_MISSED


def _kept(settings: Settings, run_ids: set[str]) -> dict[tuple[str, str], RecordedAnalysis]:
    """The records of Dagster runs, by run and row; of a step that was tried again, the last."""
    if not run_ids:
        return {}
    recorded = [entry for entry in records(settings) if entry[1].orchestrator["dagster_run_id"] in run_ids]
    recorded.sort(key=lambda entry: entry[1].identity.ended_at)
    return {
        (str(record.orchestrator["dagster_run_id"]), str(record.identity.analysis_run_id)): (sha256, record)
        for sha256, record in recorded
    }
