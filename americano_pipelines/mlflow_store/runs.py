"""Find the MLflow runs of analyses and of their Dagster runs, open the outer ones, and end them."""

import getpass
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.tracking_errors import creation_lock
from americano_pipelines.settings import Settings

if TYPE_CHECKING:
    from mlflow.entities import Run as Run  # noqa: PLC0414 - also for annotations elsewhere


HASH_TAG = "provenance.sha256"
DAGSTER_RUN_TAG = "dagster_run_id"
# A partition is a protocol.
ASSET_TAG, PROTOCOL_TAG = "dagster.asset_key", "dagster.partition"
UNKNOWN = "unknown"
# The tags of every run of ours; what is not known of one is recorded as UNKNOWN.
TAGS = (
    "git.commit",
    "git.dirty",
    "dvc.lock.sha256",
    "analysis_run_id",
    "service",
    "env",
    DAGSTER_RUN_TAG,
    ASSET_TAG,
    PROTOCOL_TAG,
    "data.snapshot_id",
    "data.sha256",
    HASH_TAG,
)
SERVICE = "americano_pipelines"
PARENT_TAG = "mlflow.parentRunId"
# The job or asset of Dagster that a run is of, for the column "Source" of MLflow's pages.
SOURCE_TAG = "mlflow.source.name"
_USER_TAG, _SOURCE_TYPE_TAG = "mlflow.user", "mlflow.source.type"
_PER_PAGE = 1000
_FINAL_STATUSES = frozenset({"FINISHED", "FAILED", "KILLED"})


def get_or_create_parent_run(
    store: Store, settings: Settings, dagster_run_id: str, name: str, tags: Mapping[str, Any]
) -> str:
    """The MLflow run of a Dagster run, made by the first of its processes that asks.

    Args:
        store: where.
        settings: whose data folder's lock keeps two processes from both making it.
        dagster_run_id: the Dagster run.
        name: shown in MLflow.
        tags: those of `TAGS` that are known, and others.

    Returns:
        Its id.

    Raises:
        TrackingError: MLflow does not take it.
    """
    with creation_lock(settings):
        if parents := _parents(store, store.experiment_id, dagster_run_id):
            return str(parents[0].info.run_id)
        known = dict.fromkeys(TAGS) | {"service": SERVICE, "env": settings.environment, DAGSTER_RUN_TAG: dagster_run_id}
        tags = {key: str(value) for key, value in as_tag_values(known | dict(tags)).items()} | launch_tags()
        run = store.call(store.client.create_run, store.experiment_id, tags=tags, run_name=name)
        return str(run.info.run_id)


def set_final_statuses(store: Store, experiment_id: str, dagster_run_id: str, status: str) -> list[str]:
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
        wrong += [run for run in nested if run.info.status not in _FINAL_STATUSES]
    for run in wrong:
        end(store, run.info.run_id, status)
    return [str(run.info.run_id) for run in wrong]


def _parents(store: Store, experiment_id: str, dagster_run_id: str) -> "list[Run]":
    """Oldest first. There is one, unless a request to make it was answered too late and sent again."""
    runs = search(store, experiment_id, f"tags.`{DAGSTER_RUN_TAG}` = '{dagster_run_id}'")
    return [run for run in runs if PARENT_TAG not in run.data.tags]


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
    return _search(store, experiment_id, condition, "ASC", deleted=deleted)


def _search(
    store: Store, experiment_id: str, condition: str, order: str, *, limit: int | None = None, deleted: bool = False
) -> "list[Run]":
    from mlflow.entities import ViewType

    if not experiment_id:  # a reader found no experiment
        return []
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = store.call(
            store.client.search_runs,
            [experiment_id],
            filter_string=condition,
            run_view_type=ViewType.ALL if deleted else ViewType.ACTIVE_ONLY,
            max_results=_PER_PAGE if limit is None else min(limit - len(runs), _PER_PAGE),
            order_by=[f"attributes.start_time {order}"],
            page_token=token,
        )
        runs += page
        token = page.token
        if not token or len(runs) == limit:
            return runs


def record_hash(run: "Run") -> str | None:
    """The hash of a run's record, from its tag; None if the tag is missing or was never set."""
    value = run.data.tags.get(HASH_TAG, UNKNOWN)
    return None if value == UNKNOWN else str(value)


def newest_analysis_runs(store: Store, limit: int | None) -> "list[Run]":
    """The runs of analyses, newest first, at most `limit` of them; those of whole Dagster runs are left out.

    Raises:
        TrackingError: MLflow does not answer.
    """
    condition = f"tags.service = '{SERVICE}' AND tags.`{PARENT_TAG}` LIKE '%'"
    return _search(store, store.experiment_id, condition, "DESC", limit=limit)


def launch_tags() -> dict[str, str]:
    """Whose process opens a run, and that it is no notebook, for MLflow's pages; not part of a record."""
    tags = {_SOURCE_TYPE_TAG: "LOCAL"}
    # A container may run as a user without a name.
    with suppress(KeyError, OSError):
        tags[_USER_TAG] = getpass.getuser()
    return tags


def end(store: Store, run_id: str, status: str) -> None:
    """End a run.

    Args:
        store: where it is.
        run_id: the run.
        status: FINISHED, FAILED or KILLED.

    Raises:
        TrackingError: MLflow does not take it.
    """
    store.call(store.client.set_terminated, run_id, status)


def as_tag_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with `unknown` for None, and truth values as MLflow's own tags write them."""
    shown = {name: UNKNOWN if value is None else value for name, value in values.items()}
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in shown.items()}
