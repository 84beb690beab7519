"""Write to MLflow runs by their id: one run per analysis, nested in the one of its Dagster run.

MLflow's own "active run" is one per thread, and an analysis that fails between two calls would leave it to the
next.
"""

import getpass
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from americano_pipelines.errors import TrackingError
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
        tags = {key: str(value) for key, value in as_tag_values(known | dict(tags)).items()} | _launch_tags()
        run = store.ask(store.client.create_run, store.experiment_id, tags=tags, run_name=name)
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
        page = store.ask(
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
    """The hash of a run's record as its tag says it; None when it says none, or that it was never set."""
    value = run.data.tags.get(HASH_TAG, UNKNOWN)
    return None if value == UNKNOWN else str(value)


def newest_analysis_runs(store: Store, limit: int | None) -> "list[Run]":
    """The runs of analyses, newest first, at most `limit` of them; those of whole Dagster runs are left out.

    Raises:
        TrackingError: MLflow does not answer.
    """
    condition = f"tags.service = '{SERVICE}' AND tags.`{PARENT_TAG}` LIKE '%'"
    return _search(store, store.experiment_id, condition, "DESC", limit=limit)


# What MLflow takes at once, and how long a value may be before it is cut: mlflow/utils/validation.py.
_PER_BATCH = 100
_MAX_PARAM_LENGTH, _MAX_TAG_LENGTH, MAX_DIGEST_LENGTH = 6000, 8000, 36
# What MLflow's own pages show.
NOTE_TAG, COMMIT_TAG, _CONTEXT_TAG = "mlflow.note.content", "mlflow.source.git.commit", "mlflow.data.context"
_USER_TAG, _SOURCE_TYPE_TAG = "mlflow.user", "mlflow.source.type"


@dataclass(frozen=True)
class AnalysisRun:
    """The MLflow run of one analysis, open.

    Every method raises TrackingError when MLflow does not take what it is given; that ends the run as FAILED.

    Attributes:
        store: where it is recorded.
        run_id: its id there.
    """

    store: Store
    run_id: str

    @property
    def url(self) -> str | None:
        """Its page; None when there is no server."""
        return self.store.url(self.run_id)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters, each once and for all; None is written as the word.

        Raises:
            TrackingError: also when a value is longer than 6,000 characters, which MLflow would cut.
        """
        from mlflow.entities import Param

        texts = _short(params, _MAX_PARAM_LENGTH, "parameter")
        self._log(params=[Param(name, text) for name, text in texts.items()])

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; a value of None is what is not known.

        Raises:
            TrackingError: also when a value is longer than 8,000 characters, which MLflow would cut.
        """
        from mlflow.entities import RunTag

        texts = _short(as_tag_values(tags), _MAX_TAG_LENGTH, "tag")
        self._log(tags=[RunTag(name, text) for name, text in texts.items()])

    def log_metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Log numbers; an undefined one (None) is left out, for MLflow has no word for it.

        Raises:
            TrackingError: also when a value is not finite.
        """
        self._log_points([(name, value, 0) for name, value in metrics.items()])

    def log_series(self, name: str, values: Sequence[float | None]) -> None:
        """Log a number per step from 0 on, such as a loss per epoch; an undefined one leaves its step out.

        Raises:
            TrackingError: also when a value is not finite.
        """
        self._log_points([(name, value, step) for step, value in enumerate(values)])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Upload a file.

        Args:
            path: the file.
            folder: the folder among the run's artifacts, None for the top.

        Raises:
            TrackingError: also when it does not arrive.
        """
        self.store.ask(self.store.client.log_artifact, self.run_id, str(path), folder)

    def describe(self, sentence: str, *, commit: str | None) -> None:
        """Fill the fields of MLflow's own page: the description, and the commit of the source.

        Both follow from the record; people may edit the description afterwards.

        Args:
            sentence: what came out.
            commit: hash of the commit that the code was at, None where it is not known.

        Raises:
            TrackingError: MLflow does not take it.
        """
        self.set_tags({NOTE_TAG: sentence} | ({COMMIT_TAG: commit} if commit else {}))

    def log_dataset(self, name: str, sha256: str, *, source: str) -> None:
        """Log what the analysis read, for MLflow's column of datasets.

        Args:
            name: shown in MLflow.
            sha256: hash of its content; MLflow keeps the first 36 digits.
            source: where it lies, relative to the data folder.

        Raises:
            TrackingError: MLflow does not take it.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        # MLflow's own digest of a table covers 10,000 rows and ignores times.
        dataset = Dataset(name=name, digest=sha256[:MAX_DIGEST_LENGTH], source_type="local", source=source)
        used = DatasetInput(dataset, [InputTag(_CONTEXT_TAG, "analysis")])
        self.store.ask(self.store.client.log_inputs, self.run_id, datasets=[used])

    def _log_points(self, points: Sequence[tuple[str, float | None, int]]) -> None:
        from mlflow.entities import Metric

        if strange := [name for name, value, _ in points if value is not None and not math.isfinite(value)]:
            raise TrackingError(f"metric {strange[0]!r} is not finite; what is undefined is None, and left out")
        time_ms = int(time.time() * 1000)
        self._log(
            metrics=[Metric(name, float(value), time_ms, step) for name, value, step in points if value is not None]
        )

    def _log(self, **items: list[Any]) -> None:
        """Log in batches that MLflow takes, and wait for each: asynchronous logging would lose its errors."""
        ((kind, values),) = items.items()
        for start in range(0, len(values), _PER_BATCH):
            batch: dict[str, Any] = {kind: values[start : start + _PER_BATCH]}
            self.store.ask(self.store.client.log_batch, self.run_id, synchronous=True, **batch)


@contextmanager
def analysis_run(store: Store, parent_run_id: str, name: str, tags: Mapping[str, Any]) -> Iterator[AnalysisRun]:
    """Open a run under another for the block, and end it as the block ended.

    FINISHED without an error, FAILED with one, KILLED when something stopped it from outside (an interrupt or a
    cancellation, which are no `Exception`). A process that is killed outright leaves it RUNNING: see
    `mlflow_store/runs.py`.

    Args:
        store: where.
        parent_run_id: the run of the Dagster run.
        name: shown in MLflow.
        tags: a value of None is recorded as `unknown`.

    Raises:
        TrackingError: MLflow does not take it; the block is not entered.
    """
    texts = _short(as_tag_values(tags), _MAX_TAG_LENGTH, "tag") | _launch_tags() | {PARENT_TAG: parent_run_id}
    run = store.ask(store.client.create_run, store.experiment_id, tags=texts, run_name=name)
    opened = AnalysisRun(store, run.info.run_id)
    try:
        yield opened
    except BaseException as error:
        # The first error says more than one of a server that is down.
        with suppress(TrackingError):
            end(store, opened.run_id, "FAILED" if isinstance(error, Exception | SystemExit) else "KILLED")
        raise
    end(store, opened.run_id, "FINISHED")


def _launch_tags() -> dict[str, str]:
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
    store.ask(store.client.set_terminated, run_id, status)


def as_tag_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with `unknown` for None, and truth values as MLflow's own tags write them."""
    shown = {name: UNKNOWN if value is None else value for name, value in values.items()}
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in shown.items()}


def _short(values: Mapping[str, Any], longest: int, kind: str) -> dict[str, str]:
    texts = {name: str(value) for name, value in values.items()}
    for name, text in texts.items():
        if len(text) > longest:
            raise TrackingError(
                f"{kind} {name!r} has {len(text)} characters, and MLflow keeps {longest} of them; log it as an artifact"
            )
    return texts
