"""One MLflow run per analysis, nested in the one of its Dagster run, and what is logged to it.

Here belongs writing to a run, by its id: MLflow's own "active run" is one per thread, and an analysis that fails
between two calls would leave it to the next. Who ends the outer run is `lifecycle.py`.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from americano_pipelines.errors import TrackingError
from americano_pipelines.tracking.store import Store

PARENT_TAG = "mlflow.parentRunId"
# What MLflow takes at once, and how long a value may be before it is cut: mlflow/utils/validation.py.
_PER_BATCH = 100
_LONGEST_PARAM, _LONGEST_TAG = 6000, 8000


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

        texts = _short(params, _LONGEST_PARAM, "parameter")
        self._log(params=[Param(name, text) for name, text in texts.items()])

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; a value of None is what is not known.

        Raises:
            TrackingError: also when a value is longer than 8,000 characters, which MLflow would cut.
        """
        from mlflow.entities import RunTag

        texts = _short(known_or_not(tags), _LONGEST_TAG, "tag")
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

    def _log_points(self, points: Sequence[tuple[str, float | None, int]]) -> None:
        from mlflow.entities import Metric

        if strange := [name for name, value, _ in points if value is not None and not math.isfinite(value)]:
            raise TrackingError(f"metric {strange[0]!r} is not finite; what is undefined is None, and left out")
        now = int(time.time() * 1000)
        self._log(metrics=[Metric(name, float(value), now, step) for name, value, step in points if value is not None])

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
    cancellation, which are no `Exception`). A process that is killed outright leaves it RUNNING: see `lifecycle.py`.

    Args:
        store: where.
        parent_run_id: the run of the Dagster run.
        name: shown in MLflow.
        tags: a value of None is recorded as `unknown`.

    Raises:
        TrackingError: MLflow does not take it; the block is not entered.
    """
    texts = _short(known_or_not(tags), _LONGEST_TAG, "tag") | {PARENT_TAG: parent_run_id}
    run = store.ask(store.client.create_run, store.experiment_id, tags=texts, run_name=name)
    opened = AnalysisRun(store, run.info.run_id)
    try:
        yield opened
    except BaseException as error:
        # The first error is the one to be told; and a store that is lost is not waited for again.
        with suppress(TrackingError):
            if not store.lost:
                end(store, opened.run_id, "FAILED" if isinstance(error, Exception | SystemExit) else "KILLED")
        raise
    end(store, opened.run_id, "FINISHED")


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


def known_or_not(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with `unknown` for None, and truth values as MLflow's own tags write them."""
    shown = {name: "unknown" if value is None else value for name, value in values.items()}
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in shown.items()}


def _short(values: Mapping[str, Any], longest: int, kind: str) -> dict[str, str]:
    texts = {name: str(value) for name, value in values.items()}
    for name, text in texts.items():
        if len(text) > longest:
            raise TrackingError(
                f"{kind} {name!r} has {len(text)} characters, and MLflow keeps {longest} of them; log it as an artifact"
            )
    return texts
