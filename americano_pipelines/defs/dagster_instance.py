"""The Dagster home of a data folder: install its configuration and open the instance."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster_shared.check import CheckError
from filelock import FileLock
from sqlalchemy.exc import DBAPIError
from yaml import YAMLError

from americano_pipelines.common import atomic_files, file_permissions
from americano_pipelines.defs.analyses.reconcile_sensor import reconcile_all
from americano_pipelines.defs.run_processes import fail_dead_runs
from americano_pipelines.defs.run_retention import remove_old_runs
from americano_pipelines.errors import ConfigError, ResourceError
from americano_pipelines.settings import PROJECT_ROOT, Settings

TEMPLATE = PROJECT_ROOT / "dagster_home" / "dagster.yaml"


def prepare_home(settings: Settings) -> Path:
    """Make sure that the Dagster home has its configuration and its databases; name it in DAGSTER_HOME.

    A configuration that is there already is left as it is.

    Returns:
        The home, absolute.
    """
    home = settings.dagster_dir
    file_permissions.protect(settings)
    home.mkdir(parents=True, exist_ok=True)
    # Two first starts at once both migrate the empty sqlite files, and one of them fails.
    with FileLock(home / ".install.lock"):
        if not (home / TEMPLATE.name).exists():
            shutil.copyfile(TEMPLATE, home / TEMPLATE.name)
        os.environ["DAGSTER_HOME"] = str(home)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            instance.get_runs_count()
    return home


@contextmanager
def reach_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the data folder's instance as it is: nothing is repaired.

    Raises:
        ConfigError: what is in the Dagster home is no configuration that Dagster takes.
        ResourceError: Dagster's records cannot be written.
    """
    try:
        with ExitStack() as opened:
            try:
                home = str(prepare_home(settings))
                instance = opened.enter_context(dg.DagsterInstance.from_config(home))
            except (dg.DagsterError, CheckError, YAMLError, ImportError) as error:
                raise ConfigError(
                    f"DAGSTER_HOME: {settings.dagster_dir} cannot be opened: {_short(error)}. Mend its "
                    "dagster.yaml, or take it away and the project's own is put in its place"
                ) from error
            yield instance
    except DBAPIError as error:
        raise ResourceError(
            f"Dagster's records in {settings.dagster_dir} cannot be written: {error.orig}. Is that disk full, or may "
            "nothing be written there?"
        ) from error


def try_writing(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Write where a run would: Dagster's records of runs, and the folders of the home.

    Raises:
        OSError: one of the folders takes no file.
    """
    instance.daemon_cursor_storage.set_cursor_values({"americano/doctor": datetime.now(UTC).isoformat()})
    for folder in (settings.dagster_dir, settings.dagster_dir / "history" / "runs", settings.dagster_dir / "storage"):
        if folder.is_dir():
            atomic_files.try_writing(folder)


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the data folder's instance; runs that died with their process are marked failed first.

    Before and after, the MLflow runs and the app's rows of all runs that have ended are given their end. An MLflow that
    does not answer at once is not waited for, only warned about: a sync needs none, and what is open stays so.

    Raises:
        ConfigError: what is in the Dagster home is no configuration that Dagster takes.
        ResourceError: Dagster's records cannot be written.
    """
    with reach_instance(settings) as instance:
        fail_dead_runs(instance)
        _reconcile(settings, instance)
        yield instance
        _reconcile(settings, instance)
        remove_old_runs(instance, timedelta(days=settings.americano_runs_kept_days))


def _short(error: Exception) -> str:
    """Dagster answers a wrong key with all the keys there are."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _reconcile(settings: Settings, instance: dg.DagsterInstance) -> None:
    for problem in reconcile_all(settings, instance)[1]:
        logging.getLogger(__name__).warning(problem)
