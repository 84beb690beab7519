"""Open the MLflow server or database and its experiment, within bounded time.

Importing mlflow takes seconds, so only `open_store` does.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import quote

from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.data_folder import artifacts_uri, check_location
from americano_pipelines.mlflow_store.tracking_errors import (
    as_tracking_error,
    creation_lock,
    is_server,
    prepare_client,
)
from americano_pipelines.settings import Settings, redact
from americano_pipelines.settings.mlflow_url import sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient


# What MLflow says of a run or model that it does not have.
NOT_FOUND_CODE = "RESOURCE_DOES_NOT_EXIST"
CONNECT_SECONDS = 5
VERSION_SECONDS = 2
# MLflow keeps an experiment of this id in every store that was ever opened for writing.
_DEFAULT_EXPERIMENT = "0"
_DOCTOR_TAG = "americano.doctor"


def check_version(uri: str) -> None:
    """Make sure that a server which answers is of the client's major version; through the client, with its credentials.

    An older one has no logged models: a night of analyses would be recorded before a training fails on them.

    Raises:
        TrackingError: it is of another one. A server that states no version is accepted.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request
    from mlflow.version import VERSION

    credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    response = http_request(  # type: ignore[no-untyped-call]
        credentials, "/version", "GET", timeout=VERSION_SECONDS, max_retries=0, raise_on_status=False
    )
    server_version = response.text.strip()
    major, needed = server_version.partition(".")[0], VERSION.partition(".")[0]
    if response.ok and major.isdecimal() and major != needed:
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={redact(uri)} is an MLflow server {server_version}, and this project needs "
            f"{needed}.x (its client is {VERSION}; versions that far apart do not understand each other). Upgrade that "
            "server, or name another one"
        )


def _connect(uri: str) -> None:
    """Connect to a database once: MLflow tries ten times, for minutes, also with a wrong password.

    Raises:
        TrackingError: it refuses, or does not answer within `CONNECT_SECONDS`.
    """
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        address = make_url(uri)
        kind = address.get_backend_name()
        arguments = {"connect_timeout": CONNECT_SECONDS} if kind in {"postgresql", "mysql"} else {}
        create_engine(address, poolclass=NullPool, connect_args=arguments).connect().close()
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise as_tracking_error(uri, error) from None


P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Store:
    """An MLflow server or database that answered.

    Attributes:
        client: speaks to it, and to no other, whatever the process's own tracking URI is.
        uri: its address, as MLflow takes it; may hold a password.
        experiment_id: the experiment that analyses go to; empty where a reader finds none.
        temporary_dir: where to download files to; what a killed process leaves there is swept.
    """

    client: "MlflowClient"
    uri: str
    experiment_id: str
    temporary_dir: Path

    @property
    def label(self) -> str:
        """Its address without secrets."""
        return redact(self.uri)

    def url(self, run_id: str) -> str | None:
        """A run's page, None for a database, which has no pages."""
        if not is_server(self.uri):
            return None
        return f"{self.label.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a method of the client, and translate its errors.

        Raises:
            TrackingError: it does not answer, or refuses.
        """
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return function(*args, **kwargs)
        except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
            raise as_tracking_error(self.uri, error) from None

    def find(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Call a method of the client that gets something by its name or id; None if MLflow does not have it.

        Raises:
            TrackingError: as `call`.
        """
        try:
            return self.call(function, *args, **kwargs)
        except TrackingError as error:
            if error.error_code != NOT_FOUND_CODE:
                raise
            return None


def open_store(settings: Settings) -> Store:
    """Open the configured MLflow to write to it, and create the experiment if it is missing.

    Artifacts of a database lie under the data folder; a server decides where its own lie.

    Raises:
        TrackingError: it does not answer within some seconds, is of another major version than this client, its
            experiment is deleted, or it records another place of the data folder (see `americano relocate`).
    """
    prepare_client()
    uri = settings.tracking_uri
    # Processes ask a server side by side: a process behind a lock would wait for the one before it and then itself.
    with nullcontext() if is_server(uri) else creation_lock(settings):
        check_location(settings)
        if (file := sqlite_file(uri)) is not None:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise as_tracking_error(uri, error) from None
        store = _open(settings, uri)
    if not store.experiment_id:
        with creation_lock(settings):
            existing = _experiment(store, settings.mlflow_experiment_name)
            store.experiment_id = existing or _make_experiment(store, settings)
    return store


def open_store_to_read(settings: Settings) -> Store:
    """Open the configured MLflow and create nothing: no file, no table, no experiment.

    A sqlite file is opened read-only, a Postgres database in read-only transactions. A sqlite file that is missing or
    has no tables yet reads as an empty store, which is held in memory.

    Raises:
        TrackingError: as `open_store`.
    """
    prepare_client()
    check_location(settings)
    return _open(settings, _read_only(settings.tracking_uri))


def has_tables(file: Path) -> bool:
    """Whether a sqlite file has MLflow's tables, or holds something else; not where it is missing or empty."""
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone())
    except sqlite3.Error:
        return True  # MLflow's client says what is wrong with it


def try_writing(store: Store) -> None:
    """Find out whether a run could be recorded, and leave nothing behind.

    A database takes a statement that is rolled back. A server has no such thing: a tag of an experiment, for which it
    asks the same permission as for a run, is set and deleted again.

    Raises:
        TrackingError: it is not taken.
    """
    if is_server(store.uri):
        experiment_id = store.experiment_id or _DEFAULT_EXPERIMENT
        store.call(store.client.set_experiment_tag, experiment_id, _DOCTOR_TAG, "")
        # Releases of MLflow before 3.3 cannot delete it.
        with suppress(TrackingError):
            store.call(store.client.delete_experiment_tag, experiment_id, _DOCTOR_TAG)
    else:
        store.call(_try_statement, store.uri)


def _try_statement(uri: str) -> None:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    with create_engine(uri, poolclass=NullPool).connect() as connection:
        connection.execute(text("UPDATE experiments SET name = name"))
        connection.rollback()


def _open(settings: Settings, client_uri: str) -> Store:
    """Open a client on an address, for the store that the settings name, and look for the experiment."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = settings.tracking_uri
    if not is_server(uri):
        _connect(client_uri)
    try:
        store = Store(MlflowClient(tracking_uri=client_uri, registry_uri=client_uri), uri, "", settings.paths.spill)
    except (MlflowException, SQLAlchemyError) as error:
        # SQLAlchemy's error about a file that is no database arrives unwrapped.
        raise as_tracking_error(uri, error) from None
    store.experiment_id = _experiment(store, settings.mlflow_experiment_name)
    if is_server(uri):
        store.call(check_version, uri)
    return store


def _read_only(uri: str) -> str:
    """The address by which MLflow's client can change nothing in a database."""
    from sqlalchemy import make_url

    if (file := sqlite_file(uri)) is not None:
        # With the driver's name MLflow does not take the address for a path whose folders it has to create.
        return f"sqlite+pysqlite:///file:{quote(str(file))}?mode=ro&uri=true" if has_tables(file) else "sqlite://"
    if is_server(uri) or make_url(uri).get_backend_name() != "postgresql":
        return uri
    address = make_url(uri)
    options = " ".join(filter(None, [str(address.query.get("options", "")), "-c default_transaction_read_only=on"]))
    return address.update_query_dict({"options": options}).render_as_string(hide_password=False)


def _experiment(store: Store, name: str) -> str:
    """The experiment's id, empty when there is none."""
    experiment = store.call(store.client.get_experiment_by_name, name)
    if experiment is None:
        return ""
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"MLFLOW_EXPERIMENT_NAME: the experiment {name!r} was deleted in MLflow ({store.label}); restore it there "
            "or choose another name"
        )
    return str(experiment.experiment_id)


def _make_experiment(store: Store, settings: Settings) -> str:
    location = None if is_server(store.uri) else artifacts_uri(settings.paths)
    name = settings.mlflow_experiment_name
    return str(store.call(store.client.create_experiment, name, artifact_location=location))
