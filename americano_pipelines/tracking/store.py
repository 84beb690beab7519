"""Where analyses are recorded: an MLflow server or database, and the experiment in it.

Here belongs the client and what it is asked through. That nothing hangs is `reach.py`; what is written there is
`runs.py`; when a run ends, and how, is `lifecycle.py`. Importing mlflow takes seconds, so only `open_store` does.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from americano_pipelines.errors import TrackingError
from americano_pipelines.settings import Settings, redact
from americano_pipelines.tracking.own_database import artifacts_uri, follow_folder
from americano_pipelines.tracking.probe import check, check_quickly, check_version, note
from americano_pipelines.tracking.reach import alone, is_server, prepare_client, told, was_waited_for

if TYPE_CHECKING:
    from mlflow import MlflowClient

P = ParamSpec("P")
R = TypeVar("R")


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
            if was_waited_for(error):
                self.lost = True
                note(self.uri, silent=True)
            raise told(self.uri, error) from None


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
    with nullcontext() if is_server(uri) else alone(settings):
        check(settings)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        except (MlflowException, SQLAlchemyError) as error:
            # A file that is no database is told as it comes, not wrapped by MLflow.
            raise told(uri, error) from None
        follow_folder(settings)
        store = Store(client, uri, "")
        found = _experiment(store, settings)
    if is_server(uri):
        store.ask(check_version, uri)
    if found is None:
        with alone(settings):
            found = _experiment(store, settings) or _make_experiment(store, settings)
    store.experiment_id = found
    note(uri, silent=False)
    return store


def open_answering(settings: Settings) -> Store:
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
    found = store.ask(store.client.get_experiment_by_name, name)
    if found is None:
        return None
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"MLFLOW_EXPERIMENT_NAME: the experiment {name!r} was deleted in MLflow ({store.label}); restore it there "
            "or choose another name"
        )
    return str(found.experiment_id)


def _make_experiment(store: Store, settings: Settings) -> str:
    location = None if is_server(store.uri) else artifacts_uri(settings)
    name = settings.mlflow_experiment_name
    return str(store.ask(store.client.create_experiment, name, artifact_location=location))
