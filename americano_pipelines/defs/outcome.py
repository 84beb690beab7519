"""What became of a Dagster run, and bringing its MLflow runs into line.

Here belongs asking Dagster. It is the one that knows: hooks are not run for assets that the UI materializes, and a
process that was killed tells nobody. What is changed in MLflow is `tracking/lifecycle.py`; the app's rows are brought
into line in `row_outcome.py`, and both by the sensor in `settling.py`.
"""

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from americano_pipelines.settings import Settings
from americano_pipelines.tracking.lifecycle import settle
from americano_pipelines.tracking.own_database import place
from americano_pipelines.tracking.store import open_answering

# On the Dagster run: where its MLflow run is, and what status that has as far as Dagster's records know.
PLACE_TAG, EXPERIMENT_TAG = "americano/mlflow_place", "americano/mlflow_experiment"
STATUS_TAG = "americano/mlflow_status"
OPEN = "RUNNING"
# And the app's rows: `americano/row.<id>` for each that the run was about to take or make, open until it is known to
# show the true end; `americano/rows` is open while any of them may be, for runs are found by whole tags only.
ROW_TAG, ROWS_TAG = "americano/row.", "americano/rows"
# One that the run turned out never to have had is `missed`.
ROW_OPEN, ROW_SETTLED, ROW_MISSED = "open", "settled", "missed"
ENDS = {
    dg.DagsterRunStatus.SUCCESS: "FINISHED",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "KILLED",
}
_STEP_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SKIPPED,
}


def outcome(instance: dg.DagsterInstance, run_id: str) -> str | None:
    """The MLflow status of a Dagster run, as far as its steps have decided it.

    Returns:
        FINISHED, FAILED or KILLED; None while a step runs or is still to run.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return ENDS[run.status] if run else None
    if run.execution_plan_snapshot_id is None:
        return None
    records = instance.get_records_for_run(run_id, of_type=_STEP_ENDS).records
    events = [record.event_log_entry.get_dagster_event() for record in records]
    ended = {event.step_key: event.event_type for event in events}
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    before = {step.key: {key for given in step.inputs for key in given.upstream_step_keys} for step in plan.steps}

    def is_over(key: str) -> bool:
        """What stands behind a step that failed is never run, and no event says so."""
        return key in ended or any(
            ended.get(one) == dg.DagsterEventType.STEP_FAILURE or (one not in ended and one in before and is_over(one))
            for one in before[key]
        )

    if not all(map(is_over, plan.step_keys_to_execute)):
        return None
    if dg.DagsterEventType.STEP_FAILURE not in ended.values():
        return "FINISHED"
    return "KILLED" if run.status == dg.DagsterRunStatus.CANCELING else "FAILED"


def settle_ended(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Bring the MLflow runs of Dagster runs that have ended into line, once for each; those that are in this MLflow.

    While there are none it costs a question to Dagster's records; mlflow is imported only for one that there is.

    Returns:
        The Dagster runs that were looked after.

    Raises:
        TrackingError: MLflow does not answer at once; the same runs are tried again the next time.
    """
    here = place(settings)
    waiting = [run for run in _waiting(instance) if run.tags.get(PLACE_TAG, here) == here]
    if not waiting:
        return []
    store = open_answering(settings)
    for run in waiting:
        settle(store, run.tags[EXPERIMENT_TAG], run.run_id, ENDS[run.status])
        instance.add_run_tags(run.run_id, {STATUS_TAG: ENDS[run.status]})
    return [run.run_id for run in waiting]


def waiting_elsewhere(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Say which other MLflow may show ended runs as running: only the one that has them can be told their end."""
    here = place(settings)
    places = Counter(run.tags.get(PLACE_TAG, here) for run in _waiting(instance))
    return [
        f"runs that have ended, and may be RUNNING in MLflow at {there}: {number}. Their end is shown there when "
        f"MLFLOW_TRACKING_URI, which is {here} now, is that again"
        for there, number in places.items()
        if there != here
    ]


def _waiting(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    return instance.get_runs(dg.RunsFilter(statuses=list(ENDS), tags={STATUS_TAG: OPEN}))
