"""Write to the MLflow run of one analysis, nested in the run of its Dagster run, by its id."""

# MLflow's own "active run" is one per thread, and an analysis that fails between two calls would leave it to the next.

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.runs import PARENT_TAG, as_tag_values, end, launch_tags

# What MLflow takes at once, and how long a value may be before it is cut: mlflow/utils/validation.py.
_PER_BATCH = 100
_MAX_PARAM_LENGTH, _MAX_TAG_LENGTH, MAX_DIGEST_LENGTH = 6000, 8000, 36
# What MLflow's own pages show.
NOTE_TAG, COMMIT_TAG, _CONTEXT_TAG = "mlflow.note.content", "mlflow.source.git.commit", "mlflow.data.context"


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
        """Set tags; None is recorded as `unknown`.

        Raises:
            TrackingError: also when a value is longer than 8,000 characters, which MLflow would cut.
        """
        from mlflow.entities import RunTag

        texts = _short(as_tag_values(tags), _MAX_TAG_LENGTH, "tag")
        self._log(tags=[RunTag(name, text) for name, text in texts.items()])

    def log_metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Log numbers; an undefined one (None) is left out, because MLflow cannot store it.

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
        self.store.call(self.store.client.log_artifact, self.run_id, str(path), folder)

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
        self.store.call(self.store.client.log_inputs, self.run_id, datasets=[used])

    def _log_points(self, points: Sequence[tuple[str, float | None, int]]) -> None:
        from mlflow.entities import Metric

        if not_finite := [name for name, value, _ in points if value is not None and not math.isfinite(value)]:
            raise TrackingError(f"metric {not_finite[0]!r} is not finite; what is undefined is None, and left out")
        time_ms = int(time.time() * 1000)
        self._log(
            metrics=[Metric(name, float(value), time_ms, step) for name, value, step in points if value is not None]
        )

    def _log(self, **items: list[Any]) -> None:
        """Log in batches that MLflow takes, and wait for each: asynchronous logging would lose its errors."""
        ((kind, values),) = items.items()
        for start in range(0, len(values), _PER_BATCH):
            batch: dict[str, Any] = {kind: values[start : start + _PER_BATCH]}
            self.store.call(self.store.client.log_batch, self.run_id, synchronous=True, **batch)


@contextmanager
def analysis_run(store: Store, parent_run_id: str, name: str, tags: Mapping[str, Any]) -> Iterator[AnalysisRun]:
    """Open a run under another for the block, and end it as the block ended.

    FINISHED without an error, FAILED with one, KILLED when something stopped it from outside (an interrupt or a
    cancellation, which are no `Exception`). A process that is killed outright leaves it RUNNING: see
    `runs.set_final_statuses`.

    Args:
        store: where.
        parent_run_id: the run of the Dagster run.
        name: shown in MLflow.
        tags: a value of None is recorded as `unknown`.

    Raises:
        TrackingError: MLflow does not take it; the block is not entered.
    """
    texts = _short(as_tag_values(tags), _MAX_TAG_LENGTH, "tag") | launch_tags() | {PARENT_TAG: parent_run_id}
    run = store.call(store.client.create_run, store.experiment_id, tags=texts, run_name=name)
    opened = AnalysisRun(store, run.info.run_id)
    try:
        yield opened
    except BaseException as error:
        # The first error says more than one of a server that is down.
        with suppress(TrackingError):
            end(store, opened.run_id, "FAILED" if isinstance(error, Exception | SystemExit) else "KILLED")
        raise
    end(store, opened.run_id, "FINISHED")


def _short(values: Mapping[str, Any], longest: int, kind: str) -> dict[str, str]:
    texts = {name: str(value) for name, value in values.items()}
    for name, text in texts.items():
        if len(text) > longest:
            raise TrackingError(
                f"{kind} {name!r} has {len(text)} characters, and MLflow keeps {longest} of them; log it as an artifact"
            )
    return texts
