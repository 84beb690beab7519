"""The default MLflow database inside the data folder, which can be moved and copied.

MLflow keeps the address of every run's files as a whole, so a copy would read and write in the folder that it was
copied from. A database or server that MLFLOW_TRACKING_URI names is left as it is.

https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/
"""

import sqlite3
from contextlib import closing

from americano_pipelines.mlflow_store.tracking_errors import as_tracking_error
from americano_pipelines.settings import Settings, redact

# Every column that holds where files lie. A version of a registered model has it when it is of no logged model.
_ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
_WAIT_SECONDS = 10  # for another process that writes to it


def is_default_database(settings: Settings) -> bool:
    """Whether records go to the data folder's own database."""
    return settings.tracking_uri == f"sqlite:///{settings.data_dir / 'mlflow' / 'mlflow.db'}"


def store_label(settings: Settings) -> str:
    """Where records go, without secrets, and the same after the data folder was moved."""
    return "sqlite in the data folder" if is_default_database(settings) else redact(settings.tracking_uri).rstrip("/")


def artifacts_uri(settings: Settings) -> str:
    """Where the artifacts of a database lie."""
    return (settings.data_dir / "mlflow" / "artifacts").as_uri()


def rebase_artifact_uris(settings: Settings) -> None:
    """Let the data folder's own database, which has its tables, mean the artifacts beside it.

    What was made by this project in a folder that stood elsewhere is known by how its addresses end; experiments that
    people gave another place keep it. The caller holds the lock (`mlflow_store.tracking_errors.creation_lock`).

    Raises:
        TrackingError: the database does not take it.
    """
    if not is_default_database(settings):
        return
    present = artifacts_uri(settings)
    try:
        with closing(sqlite3.connect(settings.data_dir / "mlflow" / "mlflow.db", timeout=_WAIT_SECONDS)) as link, link:
            former = link.execute(
                "SELECT DISTINCT artifact_location FROM experiments "
                "WHERE artifact_location LIKE 'file://%/mlflow/artifacts' AND artifact_location != ?",
                (present,),
            ).fetchall()
            for (before,) in former:
                for table, columns in _ADDRESSES.items():
                    for column in columns:
                        _rewrite(link, table, column, before, present)
    except sqlite3.Error as error:
        raise as_tracking_error(settings.tracking_uri, error) from None


def _rewrite(link: sqlite3.Connection, table: str, column: str, before: str, present: str) -> None:
    """Put one address in the place of another at the beginning of a column's values."""
    link.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - names from above
        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
        (present, len(before) + 1, before, len(before) + 1, f"{before}/"),
    )
