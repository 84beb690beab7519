"""Resource `mlflow`: one MLflow run per Dagster run, and below it one per analysis.

Here belongs tying dagster-mlflow's class to a Dagster run. The class opens the run and passes mlflow's functions on;
when the run ends, and how, is decided here, for it would end a run of several steps after the first, or never.
https://docs.dagster.io/integrations/libraries/mlflow
"""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import dagster as dg

from americano_pipelines.defs.outcome import EXPERIMENT_TAG, OPEN, PLACE_TAG, STATUS_TAG, outcome
from americano_pipelines.defs.runs import sign
from americano_pipelines.errors import TrackingError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.lifecycle import open_parent
from americano_pipelines.tracking.own_database import place
from americano_pipelines.tracking.reach import prepare_client
from americano_pipelines.tracking.runs import end
from americano_pipelines.tracking.store import open_store

if TYPE_CHECKING:
    from americano_pipelines.defs.mlflow_run import DagsterRunInMlflow


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
            from americano_pipelines.defs.mlflow_run import DagsterRunInMlflow

        instance, run = context.instance, context.run
        if instance is None or run is None:
            raise dg.DagsterInvariantViolationError("resource `mlflow` is for steps of a run; outside there is no run")
        sign(instance, run.run_id)
        try:
            store = open_store(settings)
            # Before there is anything to settle: a process killed between the two leaves nothing that nobody looks for.
            tags = {PLACE_TAG: place(settings), EXPERIMENT_TAG: store.experiment_id, STATUS_TAG: OPEN}
            instance.add_run_tags(run.run_id, tags)
            run_id = open_parent(store, settings, run.run_id, _name(run), _known_tags(run))
            opened = DagsterRunInMlflow(context, settings, store, run_id)
        except TrackingError as error:
            # Dagster keeps what lies below an error word for word: there stands the address with its password.
            raise error from None
        try:
            yield opened
        finally:
            opened.leave()
            status = outcome(instance, run.run_id)
            # A store that was lost is not waited for again: `run_outcome` comes back to it.
            if status is not None and not store.lost:
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
        "dagster.partition": run.tags.get("dagster/partition"),
    }
