"""Name the tags of Dagster runs by which programs find out what is still to be done for a run."""

import dagster as dg

# Where the MLflow run of a Dagster run is, and what status that has as far as Dagster's records know.
PLACE_TAG, EXPERIMENT_TAG = "americano/mlflow_place", "americano/mlflow_experiment"
STATUS_TAG = "americano/mlflow_status"
OPEN = "RUNNING"
# And the app's rows: `americano/row.<id>` for each that the run was about to take or make, open until it is known to
# show the true end; `americano/rows` is open while any of them may be, for runs are found by whole tags only.
ROW_TAG, ROWS_TAG = "americano/row.", "americano/rows"
# One that the run turned out never to have had is `missed`.
ROW_OPEN, ROW_RECONCILED, ROW_MISSED = "open", "settled", "missed"
FINISHED_STATUSES = {
    dg.DagsterRunStatus.SUCCESS: "FINISHED",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "KILLED",
}


def has_open_ends(instance: dg.DagsterInstance) -> bool:
    """Whether a run has ended whose end MLflow or the app may not show yet; two questions to Dagster's records."""
    return any(
        instance.get_runs_count(dg.RunsFilter(statuses=list(FINISHED_STATUSES), tags={tag: value}))
        for tag, value in ((STATUS_TAG, OPEN), (ROWS_TAG, ROW_OPEN))
    )
