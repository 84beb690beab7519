"""The MLflow resource of a step: the open MLflow run of its Dagster run, by dagster-mlflow's class.

That class copies mlflow's functions while it is made, so this module imports mlflow at its top and is itself
imported only when the resource is opened.
"""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import dagster as dg
import mlflow
from dagster_mlflow.resources import MlFlow
from mlflow.tracking.fluent import _active_run_stack

from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.runs import DAGSTER_RUN_TAG, SERVICE, TAGS, AnalysisRun, analysis_run
from americano_pipelines.settings import Settings


class DagsterRunInMlflow(MlFlow):
    """The MLflow run of a Dagster run, active in this thread; mlflow's functions are methods and log to it.

    Attributes:
        store: where it is recorded.
        run_id: its id there.
    """

    def __init__(self, context: dg.InitResourceContext, settings: Settings, store: Store, run_id: str) -> None:
        config = {
            "experiment_name": settings.mlflow_experiment_name,
            "mlflow_tracking_uri": store.uri,
            "mlflow_run_id": run_id,
        }
        self.store, self.run_id = store, run_id
        self._environment, self._dagster_run_id = settings.environment, context.run.run_id if context.run else None
        self.leave()  # what an earlier run of this thread left active would be logged to instead
        with warnings.catch_warnings():
            # The class is marked as beta, which is known here and no news for whoever runs an analysis.
            warnings.simplefilter("ignore", dg.BetaWarning)
            store.ask(super().__init__, context.replace_config(config))

    @property
    def url(self) -> str | None:
        """Its page; None when there is no server."""
        return self.store.url(self.run_id)

    def analysis(self, name: str, tags: Mapping[str, Any]) -> AbstractContextManager[AnalysisRun]:
        """Open the nested run of one analysis for a block, and end it as the block ended.

        Args:
            name: shown in MLflow.
            tags: those of `mlflow_store.runs.TAGS` that are known of it; the others are recorded as `unknown`,
                except for service, env and dagster_run_id, which are known here.

        Raises:
            TrackingError: MLflow does not take it.
        """
        known = {"service": SERVICE, "env": self._environment, DAGSTER_RUN_TAG: self._dagster_run_id}
        return analysis_run(self.store, self.run_id, name, dict.fromkeys(TAGS) | known | dict(tags))

    def _set_active_run(self, run_id: str | None = None) -> None:
        """Enter the run under the name it has: the class would give it that of the job, `__ASSET_JOB` from the UI."""
        mlflow.start_run(run_id=run_id)

    def leave(self) -> None:
        """Leave no run active in this thread, and end none.

        MLflow's only own way to leave a run is to end it, and at the process's exit it ends what is active as FINISHED.
        """
        _active_run_stack.get().clear()  # type: ignore[no-untyped-call]
