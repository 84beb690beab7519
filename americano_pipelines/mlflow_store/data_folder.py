"""The default MLflow database inside the data folder, and how it follows a folder that was moved or copied.

https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/
"""

# MLflow records the full address of every run's files. After a move those addresses name the former folder, so nothing
# is read or written until `relocate` has rewritten them. A database or server that MLFLOW_TRACKING_URI names is left as
# it is.

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from americano_pipelines.common.writer_lock import writer_lock
from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.tracking_errors import as_tracking_error, creation_lock
from americano_pipelines.settings import DataFolder, Settings, redact

# Every column that holds where files lie. A version of a registered model has it when it is of no logged model.
_ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
_WAIT_SECONDS = 10  # for another process that writes to it


@dataclass(frozen=True)
class AddressUpdate:
    """Addresses of one column that begin with a former folder.

    Attributes:
        table: MLflow's table.
        column: its column.
        former: the address of the former artifact folder.
        rows: how many rows have it.
    """

    table: str
    column: str
    former: str
    rows: int


def is_default_database(settings: Settings) -> bool:
    """Whether records go to the data folder's own database."""
    return settings.tracking_uri == f"sqlite:///{settings.paths.mlflow_database}"


def store_label(settings: Settings) -> str:
    """Where records go, without secrets, and the same after the data folder was moved."""
    return "sqlite in the data folder" if is_default_database(settings) else redact(settings.tracking_uri).rstrip("/")


def artifacts_uri(paths: DataFolder) -> str:
    """Where the artifacts of a database lie."""
    return paths.mlflow_artifacts.as_uri()


def check_location(settings: Settings) -> None:
    """Make sure that the data folder's own database names the artifacts beside it; ask nothing of another store.

    Raises:
        TrackingError: it names a former folder.
    """
    if not _is_present(settings):
        return
    with _connected(settings, "ro") as connection:
        former = _former_addresses(connection, artifacts_uri(settings.paths))
    if former:
        raise TrackingError(
            f"the data folder was moved or copied to {settings.paths.root}, and MLflow's records in it still name "
            f"{', '.join(former)}. Run `americano relocate` once (with --dry-run it only says what it would change)"
        )


def relocate(settings: Settings, *, dry_run: bool) -> list[AddressUpdate]:
    """Rewrite the addresses of former folders in the data folder's own database, in one transaction.

    A former folder is known by how the address of an experiment ends; experiments that people gave another place keep
    it. No sync and no other process that creates MLflow objects runs meanwhile.

    Args:
        settings: the data folder.
        dry_run: change nothing.

    Returns:
        What was, or would be, rewritten; empty when every address is right.

    Raises:
        TrackingError: the database cannot be read, or cannot be written.
        LockHeldError: another process writes to the data folder.
    """
    if not _is_present(settings):
        return []
    present = artifacts_uri(settings.paths)
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(writer_lock(settings, wait_seconds=0))
            stack.enter_context(creation_lock(settings))
        connection = stack.enter_context(_connected(settings, "ro" if dry_run else "rw"))
        rebased = [
            AddressUpdate(table, column, former, rows)
            for former in _former_addresses(connection, present)
            for table, columns in _ADDRESSES.items()
            for column in columns
            if (rows := _count(connection, table, column, former))
        ]
        for item in () if dry_run else rebased:
            connection.execute(
                f"UPDATE {item.table} SET {item.column} = ? || substr({item.column}, ?) "  # noqa: S608 - names from above
                f"WHERE {item.column} = ? OR substr({item.column}, 1, ?) = ?",
                (present, len(item.former) + 1, item.former, len(item.former) + 1, f"{item.former}/"),
            )
    return rebased


def _is_present(settings: Settings) -> bool:
    return is_default_database(settings) and settings.paths.mlflow_database.is_file()


@contextmanager
def _connected(settings: Settings, mode: str) -> Iterator[sqlite3.Connection]:
    """Open the database (`ro` or `rw`) for one transaction.

    Raises:
        TrackingError: the database does not take it.
    """
    try:
        with (
            closing(
                sqlite3.connect(
                    f"{settings.paths.mlflow_database.as_uri()}?mode={mode}", uri=True, timeout=_WAIT_SECONDS
                )
            ) as link,
            link,
        ):
            yield link
    except sqlite3.Error as error:
        raise as_tracking_error(settings.tracking_uri, error) from None


def _former_addresses(connection: sqlite3.Connection, present: str) -> list[str]:
    # A process that was killed while MLflow made the database left one without tables.
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return []
    rows = connection.execute(
        "SELECT DISTINCT artifact_location FROM experiments "
        "WHERE artifact_location LIKE 'file://%/mlflow/artifacts' AND artifact_location != ? ORDER BY 1",
        (present,),
    )
    return [str(address) for (address,) in rows]


def _count(connection: sqlite3.Connection, table: str, column: str, former: str) -> int:
    (rows,) = connection.execute(
        f"SELECT count(*) FROM {table} WHERE {column} = ? OR substr({column}, 1, ?) = ?",  # noqa: S608 - names from above
        (former, len(former) + 1, f"{former}/"),
    ).fetchone()
    return int(rows)
