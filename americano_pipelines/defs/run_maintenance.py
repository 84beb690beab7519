"""Open the instance for a command that runs jobs, and reconcile records with the runs that have ended."""

# The sensor `run_outcome` does the same while the daemon runs. Commands that only read do not.

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import dagster as dg

from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.defs.dagster_storage import set_run_origin
from americano_pipelines.defs.run_ends import needs_reconciliation
from americano_pipelines.defs.run_processes import fail_dead_runs
from americano_pipelines.defs.run_retention import remove_old_runs
from americano_pipelines.settings import Settings


@contextmanager
def instance_for_runs(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance for a block that runs jobs; fail dead runs before it, reconcile records after it.

    Raises:
        ConfigError, ResourceError: as `dagster_instance.open_instance`.
    """
    with open_instance(settings) as instance:
        fail_dead_runs(instance)
        set_run_origin(instance)
        yield instance
        reconcile_ended_runs(settings, instance)


def reconcile_ended_runs(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Show the ends of runs in MLflow and the app, and remove old runs of syncs.

    A change that MLflow or the app refuses is logged as a warning; the next command or the sensor tries again.
    """
    if needs_reconciliation(instance):
        # A sync seldom needs it, and it imports MLflow's, the app's and the archive's modules.
        from americano_pipelines.defs.analyses.reconcile_sensor import reconcile_all

        for problem in reconcile_all(settings, instance)[1]:
            logging.getLogger(__name__).warning(problem)
    remove_old_runs(instance, timedelta(days=settings.americano_runs_kept_days))
