"""The MLflow resource of a step: the open MLflow run of its Dagster run, by dagster-mlflow's class."""

# The class copies mlflow's functions when it is defined, so this module imports mlflow at its top. Import it only when
# the resource is opened.

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import dagster as dg
import mlflow
from dagster_mlflow.resources import MlFlow
from mlflow.tracking.fluent import _active_run_stack

from americano_pipelines.mlflow_store.analysis_run import AnalysisRun, analysis_run
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.runs import DAGSTER_RUN_TAG, SERVICE, TAGS
from americano_pipelines.settings import Settings


class DagsterRunInMlflow(MlFlow):
    """The MLflow run of a Dagster run, active in this thread; mlflow's functions are its methods and log to it.

    Attributes:
        store: the MLflow store.
        run_id: id of the run in the store.
    """

    def __init__(self, context: dg.InitResourceContext, settings: Settings, store: Store, run_id: str) -> None:
        config = {
            "experiment_name": settings.mlflow_experiment_name,
            "mlflow_tracking_uri": store.uri,
            "mlflow_run_id": run_id,
        }
        self.store, self.run_id = store, run_id
        self._environment, self._dagster_run_id = settings.environment, context.run.run_id if context.run else None
        self.leave()  # mlflow would log to a run that was left active in this thread
        with warnings.catch_warnings():
            # The class is marked as beta; that warning does not concern the people who run analyses.
            warnings.simplefilter("ignore", dg.BetaWarning)
            store.call(super().__init__, context.replace_config(config))

    @property
    def url(self) -> str | None:
        """The run's page; None without a server."""
        return self.store.url(self.run_id)

    def analysis(self, name: str, tags: Mapping[str, Any]) -> AbstractContextManager[AnalysisRun]:
        """Open the nested run of an analysis for a block, and end it as the block ended.

        Args:
            name: the run's name.
            tags: the known ones of `mlflow_store.runs.TAGS`; service, env and dagster_run_id are added, the others are
                recorded as `unknown`.

        Raises:
            TrackingError: MLflow refuses the run.
        """
        known = {"service": SERVICE, "env": self._environment, DAGSTER_RUN_TAG: self._dagster_run_id}
        return analysis_run(self.store, self.run_id, name, dict.fromkeys(TAGS) | known | dict(tags))

    def _set_active_run(self, run_id: str | None = None) -> None:
        """Enter the run under its own name; the class would rename it after the job, `__ASSET_JOB` in the UI."""
        mlflow.start_run(run_id=run_id)

    def leave(self) -> None:
        """Leave the active run of this thread without ending it.

        MLflow itself can only end a run, and ends the active one as FINISHED when the process exits.
        """
        _active_run_stack.get().clear()  # type: ignore[no-untyped-call]
