"""Resources of the analyses: MLflow, and the published file.

dagster-mlflow's class opens the MLflow run; when and how that run ends is decided here, because the class ends a run
of several steps after the first, or never.

https://docs.dagster.io/integrations/libraries/mlflow

https://docs.dagster.io/integrations/libraries/duckdb
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import PrivateAttr

from americano_pipelines.common.duckdb_session import config, reader_spill_folder, session
from americano_pipelines.defs.analyses.reconcile_mlflow import mlflow_status
from americano_pipelines.defs.run_processes import tag_process
from americano_pipelines.defs.run_tags import EXPERIMENT_TAG, OPEN, PARTITION_TAG, PLACE_TAG, STATUS_TAG
from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.mlflow_store.data_folder import store_label
from americano_pipelines.mlflow_store.runs import ASSET_TAG, PROTOCOL_TAG, SOURCE_TAG, end, get_or_create_parent_run
from americano_pipelines.mlflow_store.tracking_errors import prepare_client
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines.warehouse.snapshots import open_published

if TYPE_CHECKING:
    from americano_pipelines.defs.analyses.mlflow_run import DagsterRunInMlflow
    from americano_pipelines.mlflow_store.analysis_run import AnalysisRun


class MlflowResource(dg.ConfigurableResource["MlflowResource"]):
    """MLflow: the MLflow run of this Dagster run, and `analysis(...)` for a run nested in it.

    It is opened when a run (or, with a process per step, a step) starts that requires it. If MLflow does not answer
    then, the run fails before any work is done whose record would be lost.

    Attributes:
        settings: where MLflow is.
    """

    settings: dg.ResourceDependency[Settings]
    _run: "DagsterRunInMlflow | None" = PrivateAttr(default=None)

    @property
    def run(self) -> "DagsterRunInMlflow":
        """The open MLflow run of this Dagster run; mlflow's functions are its methods."""
        if self._run is None:
            raise dg.DagsterInvariantViolationError("resource `mlflow` is open in steps of a run only")
        return self._run

    def analysis(self, name: str, tags: Mapping[str, Any]) -> AbstractContextManager["AnalysisRun"]:
        """Open the nested run of one analysis for a block; arguments and errors as `DagsterRunInMlflow.analysis`."""
        return self.run.analysis(name, tags)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["MlflowResource"]:
        """Open the MLflow run; after the step leave it, and end it if all steps have ended.

        Raises:
            TrackingError: MLflow does not answer.
        """
        prepare_client()  # before mlflow is imported, which then decides whether to report what is done with it
        with warnings.catch_warnings():
            # dagster-mlflow is marked as beta; that does not concern the people who run analyses.
            warnings.simplefilter("ignore", dg.BetaWarning)
            from americano_pipelines.defs.analyses.mlflow_run import DagsterRunInMlflow

        instance, run = context.instance, context.run
        if instance is None or run is None:
            raise dg.DagsterInvariantViolationError("resource `mlflow` is for steps of a run; outside there is no run")
        tag_process(instance, run.run_id)
        try:
            store = open_store(self.settings)
            # Tag before the MLflow run exists, so that it is found if the process is killed in between.
            tags = {PLACE_TAG: store_label(self.settings), EXPERIMENT_TAG: store.experiment_id, STATUS_TAG: OPEN}
            instance.add_run_tags(run.run_id, tags)
            name = _protocol_name(self.settings, run) or _job_name(run)
            run_id = get_or_create_parent_run(store, self.settings, run.run_id, name, _known_tags(run))
            opened = self._run = DagsterRunInMlflow(context, self.settings, store, run_id)
        except TrackingError as error:
            # Dagster would keep the cause word for word, with the address and its password.
            raise error from None
        try:
            yield self
        finally:
            opened.leave()
            status = mlflow_status(instance, run.run_id)
            # If MLflow no longer answers, the reconciliation after the run ends it.
            if status is not None:
                with suppress(TrackingError):
                    end(store, run_id, status)


def _protocol_name(settings: Settings, run: dg.DagsterRun) -> str | None:
    """The published name of the protocol that a run analyses, None without one."""
    from americano_pipelines.provenance.run_listing import protocol_names

    protocol_id = run.tags.get(PARTITION_TAG)
    return protocol_names(settings).get(protocol_id) if protocol_id else None


def _job_name(run: dg.DagsterRun) -> str:
    """The job's name, or the names of the assets if the UI materializes them outside a named job."""
    if not run.asset_selection or not run.job_name.startswith("__"):
        return run.job_name
    first, *others = sorted(key.to_user_string() for key in run.asset_selection)
    return f"{first} and {len(others)} more" if others else first


def _known_tags(run: dg.DagsterRun) -> dict[str, Any]:
    """The tags that are known of a whole run; the others belong to an analysis, and are set on its own run."""
    keys = [key.to_user_string() for key in run.asset_selection or ()]
    return {
        ASSET_TAG: keys[0] if len(keys) == 1 else None,
        PROTOCOL_TAG: run.tags.get(PARTITION_TAG),
        SOURCE_TAG: _job_name(run),
    }


class WarehouseResource(dg.ConfigurableResource["WarehouseResource"]):
    """The published DuckDB file, read-only.

    The link is resolved once for a run: all its steps read the same snapshot, whatever is published meanwhile.

    Attributes:
        settings: where the file is published.
    """

    settings: dg.ResourceDependency[Settings]
    _file: DuckDBResource | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["WarehouseResource"]:  # noqa: ARG002 - Dagster's signature
        """Resolve the link, and hold one folder to spill to for the run."""
        path = snapshots.current(self.settings.paths) or self.settings.paths.published
        # In one process, one path means one session of DuckDB, so its steps share the folder.
        with reader_spill_folder(self.settings.paths) as folder:
            self._file = DuckDBResource(
                database=str(path), connection_config={**config(self.settings, folder), "access_mode": "READ_ONLY"}
            )
            yield self

    @contextmanager
    def reading(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, SnapshotRecord]]:
        """Open the run's snapshot for the block, with its record.

        Raises:
            WarehouseUnavailableError: nothing is published, its record is gone, or a process holds it read-write.
        """
        if self._file is None:
            raise dg.DagsterInvariantViolationError("resource `warehouse` is open in steps of a run only")
        # DuckDBResource would wait 102 s in silence for a process that holds the file; this waits some seconds and
        # names the process.
        with open_published(self.settings):
            pass
        document = snapshots.record_beside(Path(self._file.database))
        # DuckDBResource does not close its connection when the block fails; the session does.
        with self._file.get_connection() as connection, session(connection):
            yield connection, document
