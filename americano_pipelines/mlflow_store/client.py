"""Open the MLflow server or database and its experiment, within bounded time.

Importing mlflow takes seconds, so only `open_store` does.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.data_folder import artifacts_uri, rebase_artifact_uris
from americano_pipelines.mlflow_store.tracking_errors import (
    as_tracking_error,
    creation_lock,
    is_server,
    is_timeout,
    prepare_client,
)
from americano_pipelines.settings import Settings, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient


_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
CONNECT_SECONDS = 5
# Of one question that is asked once, where nobody's work depends on the answer.
PROBE_SECONDS = 2
# Addresses that this process waited for in vain, and has not heard of since.
_UNRESPONSIVE: set[str] = set()


def check(settings: Settings) -> None:
    """Make sure that an address may be worked with, before MLflow's own client tries it.

    A database is connected to once: MLflow tries ten times, for minutes, also with a wrong password. A server's client
    is bounded, so a server is asked only if it was silent before: then this is its one chance, and a shorter wait.

    Raises:
        TrackingError: it does not answer.
    """
    if not is_server(settings.tracking_uri) or settings.tracking_uri in _UNRESPONSIVE:
        _probe(settings.tracking_uri, CONNECT_SECONDS)


def check_quickly(settings: Settings) -> None:
    """Make sure that an address is worth a wait where nobody's work depends on it; ask at most once while it is silent.

    Raises:
        TrackingError: it does not answer within two seconds, or was silent before.
    """
    uri = settings.tracking_uri
    if uri in _UNRESPONSIVE:
        raise TrackingError(f"MLFLOW_TRACKING_URI={redact(uri)} did not answer before, and is not waited for again")
    _probe(uri, PROBE_SECONDS)


def check_version(uri: str) -> None:
    """Make sure that a server which answers is of the client's major version; through the client, with its credentials.

    An older one has no logged models: a night of analyses would be recorded before a training fails on them.

    Raises:
        TrackingError: it is of another one. A server that tells no version is believed to be right.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request
    from mlflow.version import VERSION

    credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    response = http_request(  # type: ignore[no-untyped-call]
        credentials, "/version", "GET", timeout=PROBE_SECONDS, max_retries=0, raise_on_status=False
    )
    told_version = response.text.strip()
    major, mine = told_version.partition(".")[0], VERSION.partition(".")[0]
    if response.ok and major.isdecimal() and major != mine:
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={redact(uri)} is an MLflow server {told_version}, and this project needs {mine}.x "
            f"(its client is {VERSION}; versions that far apart do not understand each other). Upgrade that server, or "
            "name another one"
        )


def mark_unresponsive(uri: str, *, silent: bool) -> None:
    """Remember in this process whether an address was waited for in vain."""
    (_UNRESPONSIVE.add if silent else _UNRESPONSIVE.discard)(uri)


def _probe(uri: str, seconds: float) -> None:
    """Ask once. A server that says anything at all answers: what it refuses, its client says better."""
    if is_server(uri):
        import requests

        try:
            # As the client's, with the proxies and the certificates of the environment.
            requests.get(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1", timeout=seconds)
        except requests.Timeout as error:
            mark_unresponsive(uri, silent=True)
            raise as_tracking_error(uri, error) from None
        except requests.RequestException:
            return
    elif urlsplit(uri).scheme.partition("+")[0] in _DATABASES:
        _connect(uri, seconds)


def _connect(uri: str, seconds: float) -> None:
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        address = make_url(uri)
        kind = address.get_backend_name()
        if kind == "sqlite" and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        arguments = {"connect_timeout": seconds} if kind in {"postgresql", "mysql"} else {}
        create_engine(address, poolclass=NullPool, connect_args=arguments).connect().close()
    except (SQLAlchemyError, ImportError, OSError) as error:
        mark_unresponsive(uri, silent=True)
        raise as_tracking_error(uri, error) from None


P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Store:
    """An MLflow server or database that answered.

    Attributes:
        client: speaks to it, and to no other, whatever the process's own tracking URI is.
        uri: its address, as MLflow takes it; may hold a password.
        experiment_id: the experiment that analyses go to.
        temporary_dir: where to download files to; what a killed process leaves there is swept.
        lost: whether it was waited for in vain; then nobody waits for it a second time.
    """

    client: "MlflowClient"
    uri: str
    experiment_id: str
    temporary_dir: Path
    lost: bool = False

    @property
    def label(self) -> str:
        """Its address without secrets."""
        return redact(self.uri)

    def url(self, run_id: str) -> str | None:
        """A run's page, None for a database, which has no pages."""
        if not is_server(self.uri):
            return None
        return f"{self.label.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def ask(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a method of the client, with errors in words.

        Raises:
            TrackingError: it does not answer, or refuses.
        """
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return function(*args, **kwargs)
        except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
            if is_timeout(error):
                self.lost = True
                mark_unresponsive(self.uri, silent=True)
            raise as_tracking_error(self.uri, error) from None


def open_store(settings: Settings) -> Store:
    """Reach the configured MLflow, and make the experiment if it is not there.

    Artifacts of a database lie under the data folder; where a server keeps its own is the server's business.

    Raises:
        TrackingError: it does not answer within some seconds, is of another major version than this client, or the
            experiment is deleted there.
    """
    prepare_client()
    uri = settings.tracking_uri
    # A server is asked by all at once: who stood behind another that waits for it would wait twice.
    with nullcontext() if is_server(uri) else creation_lock(settings):
        check(settings)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        except (MlflowException, SQLAlchemyError) as error:
            # A file that is no database is told as it comes, not wrapped by MLflow.
            raise as_tracking_error(uri, error) from None
        rebase_artifact_uris(settings)
        store = Store(client, uri, "", settings.spill_dir)
        experiment_id = _experiment(store, settings)
    if is_server(uri):
        store.ask(check_version, uri)
    if experiment_id is None:
        with creation_lock(settings):
            experiment_id = _experiment(store, settings) or _make_experiment(store, settings)
    store.experiment_id = experiment_id
    mark_unresponsive(uri, silent=False)
    return store


def open_store_if_responsive(settings: Settings) -> Store:
    """Reach the configured MLflow where that can as well be done later: as `open_store`, if it answers at once.

    Raises:
        TrackingError: also when it was silent before; it is not waited for again in this process.
    """
    check_quickly(settings)
    return open_store(settings)


def try_writing(store: Store) -> None:
    """Write a tag to the experiment, for which a server asks the same permission as for a run in it.

    Raises:
        TrackingError: it is not taken.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    store.ask(store.client.set_experiment_tag, store.experiment_id, "americano.last_doctor", now)


def _experiment(store: Store, settings: Settings) -> str | None:
    name = settings.mlflow_experiment_name
    experiment = store.ask(store.client.get_experiment_by_name, name)
    if experiment is None:
        return None
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"MLFLOW_EXPERIMENT_NAME: the experiment {name!r} was deleted in MLflow ({store.label}); restore it there "
            "or choose another name"
        )
    return str(experiment.experiment_id)


def _make_experiment(store: Store, settings: Settings) -> str:
    location = None if is_server(store.uri) else artifacts_uri(settings)
    name = settings.mlflow_experiment_name
    return str(store.ask(store.client.create_experiment, name, artifact_location=location))
