"""Bound every wait for MLflow and translate its failures into errors of ours.

MLflow's client retries for minutes, and reports failures in its own terms.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from filelock import FileLock
from filelock import Timeout as LockTimeout

from americano_pipelines.common import file_permissions
from americano_pipelines.errors import TrackingError
from americano_pipelines.settings import Settings, redact

# A server that accepts and never answers costs 2 x 6 s and a second between, one that refuses hardly any. By
# default a client tries for minutes. Who sets these variables themselves is obeyed.
CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "6",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    # The client prints a link after every run, into what `--json` writes.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # And bars on standard error, one for every file.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Its messages about creating tables do not help a person who runs an analysis.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # No telemetry, as for Dagster: the users did not consent.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_LOCK_SECONDS = 60  # making a database takes up to 15 s on a busy machine


def prepare_client() -> None:
    """Bound the waits of this process's MLflow clients; before mlflow is imported."""
    for name, value in CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def creation_lock(settings: Settings) -> Iterator[None]:
    """Hold a lock for the block: two processes must not both make the database, the experiment or a run.

    Raises:
        TrackingError: another process holds it for longer than any of these takes.
    """
    # Beside data/mlflow, not in it: that may belong to the container which serves MLflow.
    file_permissions.protect(settings)
    lock = FileLock(settings.paths.mlflow_lock, timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except LockTimeout:
        raise TrackingError(
            f"another process has been busy with MLFLOW_TRACKING_URI={redact(settings.tracking_uri)} for "
            f"{_LOCK_SECONDS} s; see whether it answers and try again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_server(uri: str) -> bool:
    """Whether an address is a server's, not a database's."""
    return urlsplit(uri).scheme in {"http", "https"}


def as_tracking_error(uri: str, error: Exception) -> TrackingError:
    """An error of MLflow's or of what is below it, with the variable's name and what to do."""
    first = redact(str(error).strip().partition("\n")[0]) or type(error).__name__
    return TrackingError(
        f"MLFLOW_TRACKING_URI={redact(uri)} cannot be written to: {first}. Is the server running and "
        "the address right? `americano doctor` looks; without the variable, records go to a file under the data folder",
        getattr(error, "error_code", None),
    )
