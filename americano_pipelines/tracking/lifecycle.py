"""The MLflow run of a whole Dagster run: found or made at its start, and ended as it ended.

Here belongs what must be true of a status, whoever died on the way. What a Dagster run's end is, Dagster knows:
`defs/outcome.py` asks it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from americano_pipelines.settings import Settings
from americano_pipelines.tracking.reach import alone
from americano_pipelines.tracking.runs import PARENT_TAG, end, known_or_not
from americano_pipelines.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

RUN_TAG = "dagster_run_id"
# The tags of every run of ours; what is not known of one is recorded as `unknown`.
TAGS = (
    "git.commit",
    "git.dirty",
    "dvc.lock.sha256",
    "analysis_run_id",
    "service",
    "env",
    RUN_TAG,
    "dagster.asset_key",
    "dagster.partition",
    "data.snapshot_id",
    "data.sha256",
    "provenance.sha256",
)
SERVICE = "americano_pipelines"
_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})


def open_parent(store: Store, settings: Settings, dagster_run_id: str, name: str, tags: Mapping[str, Any]) -> str:
    """The MLflow run of a Dagster run, made by the first of its processes that asks.

    Args:
        store: where.
        settings: whose data folder's lock keeps two processes from both making it.
        dagster_run_id: the Dagster run.
        name: shown in MLflow.
        tags: those of `TAGS` that are known.

    Returns:
        Its id.

    Raises:
        TrackingError: MLflow does not take it.
    """
    with alone(settings):
        if found := _parents(store, store.experiment_id, dagster_run_id):
            return str(found[0].info.run_id)
        known = dict.fromkeys(TAGS) | {"service": SERVICE, "env": settings.environment, RUN_TAG: dagster_run_id}
        tags = {key: str(value) for key, value in known_or_not(known | dict(tags)).items()}
        run = store.ask(store.client.create_run, store.experiment_id, tags=tags, run_name=name)
        return str(run.info.run_id)


def settle(store: Store, experiment_id: str, dagster_run_id: str, status: str) -> list[str]:
    """Give the MLflow runs of a Dagster run that has ended the status it ended with.

    The outer run's status is put right whatever it was. An analysis that ended by itself keeps its status, for one
    may well have finished in a Dagster run that failed; one that still is RUNNING was killed with its process.

    Args:
        store: where they are.
        experiment_id: the experiment they went to.
        dagster_run_id: the Dagster run.
        status: FINISHED, FAILED or KILLED.

    Returns:
        The ids of the runs that were changed.

    Raises:
        TrackingError: MLflow does not answer.
    """
    parents = _parents(store, experiment_id, dagster_run_id)
    wrong = [run for run in parents if run.info.status != status]
    for parent in parents:
        nested = search(store, experiment_id, f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'")
        wrong += [run for run in nested if run.info.status not in _ENDED]
    for run in wrong:
        end(store, run.info.run_id, status)
    return [str(run.info.run_id) for run in wrong]


def _parents(store: Store, experiment_id: str, dagster_run_id: str) -> "list[Run]":
    """Oldest first. There is one, unless a request to make it was answered too late and sent again."""
    found = search(store, experiment_id, f"tags.`{RUN_TAG}` = '{dagster_run_id}'")
    return [run for run in found if PARENT_TAG not in run.data.tags]


def search(store: Store, experiment_id: str, condition: str, *, deleted: bool = False) -> "list[Run]":
    """All runs of an experiment that fulfil a condition in MLflow's own words, oldest first.

    Args:
        store: where.
        experiment_id: the experiment.
        condition: the condition.
        deleted: those too that were deleted, but not yet for good.

    Raises:
        TrackingError: MLflow does not answer.
    """
    from mlflow.entities import ViewType

    found: list[Run] = []
    token: str | None = None
    while True:
        page = store.ask(
            store.client.search_runs,
            [experiment_id],
            filter_string=condition,
            run_view_type=ViewType.ALL if deleted else ViewType.ACTIVE_ONLY,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found += page
        token = page.token
        if not token:
            return found
