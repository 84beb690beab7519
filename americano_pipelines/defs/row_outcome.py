"""The app's rows of Dagster runs that have ended, brought into line with how they ended.

Here belongs what a process that died could not write any more, and what the app's database did not take while it was
down. Which runs have rows is told by their tags: see `outcome.py`. What stands in a row is `tracking/rows.py`.
"""

from dataclasses import dataclass, field

import dagster as dg

from americano_pipelines.defs.ending import how_it_ended
from americano_pipelines.defs.outcome import ENDS, PLACE_TAG, ROW_MISSED, ROW_OPEN, ROW_SETTLED, ROW_TAG, ROWS_TAG
from americano_pipelines.errors import AmericanoError, RowNotOursError, TrackingError, TransientLinkError
from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines.tracking import failing, link
from americano_pipelines.tracking.history import records
from americano_pipelines.tracking.own_database import place
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.rows import row_values

Recorded = tuple[str, Record]


@dataclass
class Settled:
    """What came of looking after rows.

    Attributes:
        rows: rows that show the end of their run now, and with the reason those that were left alone.
        problems: what could not be written; the same rows are tried again the next time.
    """

    rows: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def settle_rows(settings: Settings, instance: dg.DagsterInstance) -> Settled:
    """Bring the rows of Dagster runs that have ended into line; without an app, do nothing.

    A row whose analysis is recorded is completed; another is failed, if it still is the run's. While there are none
    it costs a question to Dagster's records.

    Raises:
        TransientLinkError: the app's database cannot be reached; the same runs are tried again the next time.
    """
    settled = Settled()
    if settings.app is None:
        return settled
    waiting = instance.get_runs(dg.RunsFilter(statuses=list(ENDS), tags={ROWS_TAG: ROW_OPEN}))
    # Most have none left open: what was well is settled by the run itself.
    kept = _kept(settings, {run.run_id for run in waiting if _open_rows(run)})
    for run in waiting:
        problems = []
        for row_id in _open_rows(run):
            recorded = kept.get((run.run_id, row_id))
            try:
                settled.rows.append(_settle(settings, settings.app, instance, run, row_id, recorded))
            except TransientLinkError:
                raise
            except AmericanoError as error:
                problems.append(f"row {row_id} of Dagster run {run.run_id}: {error}")
        if not problems:
            instance.add_run_tags(run.run_id, {ROWS_TAG: ROW_SETTLED})
        settled.problems += problems
    return settled


def _open_rows(run: dg.DagsterRun) -> list[str]:
    return [
        tag.removeprefix(ROW_TAG) for tag, state in run.tags.items() if tag.startswith(ROW_TAG) and state == ROW_OPEN
    ]


def _settle(
    settings: Settings,
    target: PostgresTarget,
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    row_id: str,
    recorded: Recorded | None,
) -> str:
    """Settle one row; the row, and why it is left alone if it is."""
    told, state = row_id, ROW_SETTLED
    try:
        if recorded is not None and _is_vouched_for(settings, run, recorded):
            link.write(target, row_id, run.run_id, row_values(recorded[1]))
        else:
            state = _given_up(target, instance, run, row_id)
    except RowNotOursError as error:
        told = f"{row_id}, left alone: {error}"
    instance.add_run_tags(run.run_id, {f"{ROW_TAG}{row_id}": state})
    return told


def _given_up(target: PostgresTarget, instance: dg.DagsterInstance, run: dg.DagsterRun, row_id: str) -> str:
    """Fail a row that its run left behind; whether it ever had the row."""
    if failing.abandon(target, row_id, run.run_id, how_it_ended(instance, run)):
        return ROW_SETTLED
    row = link.read_row(target, row_id)
    return ROW_SETTLED if row is not None and link.owner(row) == run.run_id else ROW_MISSED


def _is_vouched_for(settings: Settings, run: dg.DagsterRun, recorded: Recorded) -> bool:
    """Whether a record in the archive was recorded to its end: a run may die before MLflow has its hash.

    Raises:
        TrackingError: MLflow does not answer at once, or is another one than the run was recorded in.
    """
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return True
    here = place(settings)
    if (there := run.tags.get(PLACE_TAG, here)) != here:
        raise TrackingError(
            f"it was recorded in MLflow at {there}, which alone can say whether its record is whole; the row waits "
            f"until MLFLOW_TRACKING_URI, which is {here} now, is that again"
        )
    from americano_pipelines.tracking.store import open_answering
    from americano_pipelines.tracking.vouching import vouching_run

    return vouching_run(open_answering(settings), *recorded) is not None


def _kept(settings: Settings, run_ids: set[str]) -> dict[tuple[str, str], Recorded]:
    """The records of Dagster runs, by run and row; of a step that was tried again, the last."""
    if not run_ids:
        return {}
    found = [one for one in records(settings) if one[1].orchestrator["dagster_run_id"] in run_ids]
    found.sort(key=lambda one: one[1].identity.ended_at)
    return {
        (str(record.orchestrator["dagster_run_id"]), str(record.identity.analysis_run_id)): (sha256, record)
        for sha256, record in found
    }
