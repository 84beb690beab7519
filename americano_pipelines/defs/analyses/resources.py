"""Resources of the analyses: MLflow and the published file.

dagster-mlflow's class opens the MLflow run. When the run ends, and how, is decided here: the class would end a run
of several steps after the first, or never. The published file is not waited for without a bound.

https://docs.dagster.io/integrations/libraries/mlflow

https://docs.dagster.io/integrations/libraries/duckdb
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource

from americano_pipelines.common.duckdb_session import config, reader_spill_folder, session
from americano_pipelines.defs.analyses.reconcile_mlflow import mlflow_status
from americano_pipelines.defs.run_processes import tag_process
from americano_pipelines.defs.run_tags import EXPERIMENT_TAG, OPEN, PARTITION_TAG, PLACE_TAG, STATUS_TAG
from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.mlflow_store.data_folder import store_label
from americano_pipelines.mlflow_store.runs import end, get_or_create_parent_run
from americano_pipelines.mlflow_store.tracking_errors import prepare_client
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines.warehouse.snapshots import open_published

if TYPE_CHECKING:
    from americano_pipelines.defs.analyses.mlflow_run import DagsterRunInMlflow


def build_mlflow(settings: Settings) -> dg.ResourceDefinition:
    """The resource for these settings.

    It is opened when a run (or with a process per step, each step) starts that requires it. If MLflow does not answer
    then, the run fails before any work is done whose record would be lost.
    """

    @dg.resource(description="MLflow: the run of this Dagster run, and `analysis(...)` for one nested in it.")
    def mlflow(context: dg.InitResourceContext) -> "Iterator[DagsterRunInMlflow]":
        prepare_client()  # before mlflow is imported, which then decides whether to report what is done with it
        with warnings.catch_warnings():
            # dagster-mlflow is marked as beta, which is known here and no news for whoever runs an analysis.
            warnings.simplefilter("ignore", dg.BetaWarning)
            from americano_pipelines.defs.analyses.mlflow_run import DagsterRunInMlflow

        instance, run = context.instance, context.run
        if instance is None or run is None:
            raise dg.DagsterInvariantViolationError("resource `mlflow` is for steps of a run; outside there is no run")
        tag_process(instance, run.run_id)
        try:
            store = open_store(settings)
            # Before there is anything to settle: a process killed between the two leaves nothing that nobody looks for.
            tags = {PLACE_TAG: store_label(settings), EXPERIMENT_TAG: store.experiment_id, STATUS_TAG: OPEN}
            instance.add_run_tags(run.run_id, tags)
            run_id = get_or_create_parent_run(store, settings, run.run_id, _name(run), _known_tags(run))
            opened = DagsterRunInMlflow(context, settings, store, run_id)
        except TrackingError as error:
            # Dagster keeps what lies below an error word for word: there stands the address with its password.
            raise error from None
        try:
            yield opened
        finally:
            opened.leave()
            status = mlflow_status(instance, run.run_id)
            # Where MLflow does not answer any more, the reconciliation after the run comes back to it.
            if status is not None:
                with suppress(TrackingError):
                    end(store, run_id, status)

    return mlflow


def _name(run: dg.DagsterRun) -> str:
    """The job's name; for assets that the UI materializes, which are of no named job, the assets'."""
    if not run.asset_selection or not run.job_name.startswith("__"):
        return run.job_name
    first, *others = sorted(key.to_user_string() for key in run.asset_selection)
    return f"{first} and {len(others)} more" if others else first


def _known_tags(run: dg.DagsterRun) -> dict[str, Any]:
    """What is known of a whole run; the rest is known of an analysis, and stands on its own run."""
    keys = [key.to_user_string() for key in run.asset_selection or ()]
    return {
        "dagster.asset_key": keys[0] if len(keys) == 1 else None,
        "dagster.partition": run.tags.get(PARTITION_TAG),
    }


def build_warehouse(settings: Settings) -> dg.ResourceDefinition:
    """The resource for these settings.

    The link is resolved once for a run: all its steps read the same snapshot, whatever is published meanwhile.
    """

    @dg.resource(
        description="The published DuckDB file, opened READ_ONLY by the path that the link means at the start."
    )
    def warehouse(_: dg.InitResourceContext) -> Iterator[DuckDBResource]:
        path = snapshots.current(settings) or settings.published_path
        # One folder to spill to for the run: in one process, one path means one session of DuckDB.
        with reader_spill_folder(settings) as folder:
            yield DuckDBResource(
                database=str(path), connection_config={**config(settings, folder), "access_mode": "READ_ONLY"}
            )

    return warehouse


@contextmanager
def reading(
    settings: Settings, warehouse: DuckDBResource
) -> Iterator[tuple[duckdb.DuckDBPyConnection, SnapshotRecord]]:
    """Open the run's snapshot for the block, with its record.

    Raises:
        WarehouseUnavailableError: nothing is published, its record is gone, or a process holds it read-write.
    """
    # The resource would wait 102 s in silence for whoever holds the file; this waits some seconds and says who.
    with open_published(settings):
        pass
    path = Path(warehouse.database)
    document = snapshots.record_beside(path)
    # The resource does not close its connection when the block fails; the session does.
    with warehouse.get_connection() as connection, session(connection):
        yield connection, document
