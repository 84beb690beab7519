"""The Dagster home of a data folder: install its configuration and open the instance."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock
from yaml import YAMLError

from americano_pipelines.common import atomic_files, file_permissions
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.defs.dagster_storage import ConfigurationError
from americano_pipelines.errors import ConfigError, ResourceError
from americano_pipelines.settings import PROJECT_FILES, Settings

TEMPLATE = PROJECT_FILES / "dagster_home" / "dagster.yaml"
# Folders and files of Dagster's default storage below the home.
_FOLDERS = ("history", "history/runs", "schedules", "storage")
_RECORDS = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def prepare_home(settings: Settings) -> Path:
    """Install the configuration and the databases of the Dagster home, and set DAGSTER_HOME.

    An existing configuration is left as it is.

    Returns:
        The home, absolute.
    """
    home = settings.paths.dagster_home
    file_permissions.protect(settings)
    home.mkdir(parents=True, exist_ok=True)
    # Without it two first starts at once both migrate the empty sqlite files, and one of them fails.
    with FileLock(home / ".install.lock"):
        if not (home / TEMPLATE.name).exists():
            shutil.copyfile(TEMPLATE, home / TEMPLATE.name)
        os.environ["DAGSTER_HOME"] = str(home)
        # To open the instance takes 0.3 s of CPU time, and the caller opens it too.
        if not all((home / name).exists() for name in _RECORDS):
            with dg.DagsterInstance.from_config(str(home)) as instance:
                instance.get_runs_count()
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the data folder's instance, and install its home if it is missing. No run is changed.

    Raises:
        ConfigError: Dagster refuses the configuration in its home.
        ResourceError: Dagster's records cannot be written.
    """
    with _opened(settings, prepare_home) as instance:
        yield instance


@contextmanager
def open_instance_to_read(settings: Settings) -> Iterator[dg.DagsterInstance | None]:
    """Open the data folder's instance without writing anything; None where no home is installed.

    Raises:
        ConfigError, ResourceError: as `open_instance`.
    """
    if not (settings.paths.dagster_home / TEMPLATE.name).exists():
        yield None
        return
    with _opened(settings, lambda settings: settings.paths.dagster_home) as instance:
        yield instance


def try_writing(settings: Settings) -> None:
    """Check that a run could write to the Dagster home, and leave nothing behind.

    A file is written to each folder and removed, and each sqlite file is locked for writing. Records that the user's
    configuration keeps elsewhere are not checked. In a home without a configuration, a copy of the records is opened
    with the configuration that the first run installs.

    Raises:
        OSError: one of the folders takes no file.
        ConfigError, ResourceError: as `open_instance`.
    """
    home = settings.paths.dagster_home
    for folder in (home, *(home / name for name in _FOLDERS)):
        if folder == home or os.path.lexists(folder):
            atomic_files.try_writing(folder)
    if (home / TEMPLATE.name).is_symlink() and not (home / TEMPLATE.name).exists():
        raise FileNotFoundError(errno.ENOENT, "A link that leads nowhere", str(home / TEMPLATE.name))
    records = [home / name for name in _RECORDS if os.path.lexists(home / name)]
    for file in records:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        try:
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _not_written(settings.paths.dagster_home, error) from error
    if records and not (home / TEMPLATE.name).exists():
        with temporary_folder(home, "try") as copy:
            shutil.copyfile(TEMPLATE, copy / TEMPLATE.name)
            for file in records:
                target = copy / file.relative_to(home)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            with _opened(settings, lambda _: copy) as instance:
                instance.get_runs_count()
                instance.all_asset_keys()


@contextmanager
def _opened(settings: Settings, home: Callable[[Settings], Path]) -> Iterator[dg.DagsterInstance]:
    # The instance imports it too; the definitions are loaded without it.
    from sqlalchemy.exc import DBAPIError

    try:
        with ExitStack() as stack:
            try:
                instance = stack.enter_context(dg.DagsterInstance.from_config(str(home(settings))))
            except (dg.DagsterError, ConfigurationError, YAMLError, ImportError) as error:
                raise ConfigError(
                    f"DAGSTER_HOME: {settings.paths.dagster_home} cannot be opened: {_short(error)}. Mend its "
                    "dagster.yaml, or take it away and the project's own is put in its place"
                ) from error
            yield instance
    except DBAPIError as error:
        raise _not_written(settings.paths.dagster_home, error.orig) from error


def _not_written(home: Path, reason: object) -> ResourceError:
    if isinstance(reason, sqlite3.Error) and getattr(reason, "sqlite_errorcode", None) in _DAMAGED:
        return ResourceError(
            f"Dagster's records in {home} are damaged: {reason}. Restore them from a backup, or move "
            "history/ and schedules/ away: then the list of earlier runs starts anew"
        )
    return ResourceError(
        f"Dagster's records in {home} cannot be written: {reason}. Is that disk full, or may nothing be written there?"
    )


def _short(error: Exception) -> str:
    """The first 300 characters: Dagster answers a wrong key with the list of all keys."""
    return " ".join(str(error).split())[:300] or type(error).__name__
