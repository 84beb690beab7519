"""Where analyses are recorded: an MLflow server or database, and the experiment in it.

Here belongs reaching it, with every wait bounded, and turning its failures into words. What is written there is
`runs.py`; when a run ends, and how, is `lifecycle.py`. Importing mlflow takes seconds, so only `open_store` does.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from filelock import FileLock
from filelock import Timeout as LockTimeout

from americano_pipelines.errors import TrackingError
from americano_pipelines.settings import Settings, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

P = ParamSpec("P")
R = TypeVar("R")
# A server that accepts and never answers costs 2 x 6 s and a second between, one that refuses a second. By
# default a client tries for minutes. Who sets these variables themselves is obeyed.
_BOUNDS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "6",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    # The client prints a link after every run, into what `--json` writes.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_CONNECT_SECONDS = 5
_LOCK_SECONDS = 15


@dataclass
class Store:
    """An MLflow server or database that answered.

    Attributes:
        client: speaks to it, and to no other, whatever the process's own tracking URI is.
        uri: its address, as MLflow takes it; may hold a password.
        experiment_id: the experiment that analyses go to.
        lost: whether it was waited for in vain; then nobody waits for it a second time.
    """

    client: "MlflowClient"
    uri: str
    experiment_id: str
    lost: bool = False

    @property
    def label(self) -> str:
        """Its address without secrets."""
        return redact(self.uri)

    def url(self, run_id: str) -> str | None:
        """A run's page, None for a database, which has no pages."""
        if not _is_server(self.uri):
            return None
        return f"{self.label.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def ask(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a method of the client, with errors in words.

        Raises:
            TrackingError: it does not answer, or refuses.
        """
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        try:
            return function(*args, **kwargs)
        except (MlflowException, RequestException, OSError) as error:
            self.lost = self.lost or _was_waited_for(error)
            raise _told(self.uri, error) from error


def open_store(settings: Settings) -> Store:
    """Reach the configured MLflow, and make the experiment if it is not there.

    Artifacts of a database lie under the data folder; where a server keeps its own is the server's business.

    Raises:
        TrackingError: it does not answer within some seconds, or the experiment is deleted there.
    """
    for name, value in _BOUNDS.items():
        os.environ.setdefault(name, value)
    uri = settings.tracking_uri
    with alone(settings):
        if urlsplit(uri).scheme.partition("+")[0] in _DATABASES:
            _check_database(settings)
        from mlflow import MlflowClient

        store = Store(MlflowClient(tracking_uri=uri, registry_uri=uri), uri, "")
        store.experiment_id = _experiment(store, settings)
    return store


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold a lock for the block: two processes must not both make the database, the experiment or a run.

    Raises:
        TrackingError: another process holds it for longer than any of these takes.
    """
    # Beside data/mlflow, not in it: that may belong to the container which serves MLflow.
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.data_dir / "mlflow.lock", timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except LockTimeout:
        raise TrackingError(
            f"another process has been waiting for MLFLOW_TRACKING_URI={redact(settings.tracking_uri)} for "
            f"{_LOCK_SECONDS} s; see whether it answers and try again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _check_database(settings: Settings) -> None:
    """Connect once: MLflow itself tries ten times, for minutes, also with a wrong password."""
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    uri = settings.tracking_uri
    try:
        address = make_url(uri)
        kind = address.get_backend_name()
        if kind == "sqlite" and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        arguments = {"connect_timeout": _CONNECT_SECONDS} if kind in {"postgresql", "mysql"} else {}
        create_engine(address, poolclass=NullPool, connect_args=arguments).connect().close()
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise _told(uri, error) from error


def _experiment(store: Store, settings: Settings) -> str:
    name = settings.mlflow_experiment_name
    found = store.ask(store.client.get_experiment_by_name, name)
    if found is None:
        location = None if _is_server(store.uri) else (settings.data_dir / "mlflow" / "artifacts").as_uri()
        return str(store.ask(store.client.create_experiment, name, artifact_location=location))
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"MLFLOW_EXPERIMENT_NAME: the experiment {name!r} was deleted in MLflow ({store.label}); restore it there "
            "or choose another name"
        )
    return str(found.experiment_id)


def _was_waited_for(error: Exception) -> bool:
    """Whether an answer never came. One that says no costs nothing to ask again, nor does a refused connection.

    The client wraps what requests raises, which wraps what urllib3 found in the end.
    """
    from requests import Timeout
    from urllib3.exceptions import TimeoutError as NoAnswer

    cause = error.__context__ or error
    reasons = [getattr(argument, "reason", None) for argument in cause.args]
    return isinstance(cause, Timeout) or any(isinstance(reason, NoAnswer) for reason in reasons)


def _is_server(uri: str) -> bool:
    return urlsplit(uri).scheme in {"http", "https"}


def _told(uri: str, error: Exception) -> TrackingError:
    first = redact(str(error).strip().partition("\n")[0]) or type(error).__name__
    return TrackingError(
        f"MLFLOW_TRACKING_URI={redact(uri)} does not take what is recorded there: {first}. Is the server running and "
        "the address right? `americano doctor` looks; without the variable, records go to a file under the data folder"
    )
