"""Where analyses are recorded: an MLflow server or database, and the experiment in it.

Here belongs the client and what it is asked through. That nothing hangs is `reach.py`; what is written there is
`runs.py`; when a run ends, and how, is `lifecycle.py`. Importing mlflow takes seconds, so only `open_store` does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from americano_pipelines.errors import TrackingError
from americano_pipelines.settings import Settings, redact
from americano_pipelines.tracking.reach import alone, check_database, is_server, prepare_client, told, was_waited_for

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

        try:
            return function(*args, **kwargs)
        except (MlflowException, RequestException, OSError) as error:
            self.lost = self.lost or was_waited_for(error)
            raise told(self.uri, error) from error


def open_store(settings: Settings) -> Store:
    """Reach the configured MLflow, and make the experiment if it is not there.

    Artifacts of a database lie under the data folder; where a server keeps its own is the server's business.

    Raises:
        TrackingError: it does not answer within some seconds, or the experiment is deleted there.
    """
    prepare_client()
    uri = settings.tracking_uri
    with alone(settings):
        check_database(settings)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        except MlflowException as error:
            raise told(uri, error) from error
        store = Store(client, uri, "")
        store.experiment_id = _experiment(store, settings)
    return store


def _experiment(store: Store, settings: Settings) -> str:
    name = settings.mlflow_experiment_name
    found = store.ask(store.client.get_experiment_by_name, name)
    if found is None:
        location = None if is_server(store.uri) else (settings.data_dir / "mlflow" / "artifacts").as_uri()
        return str(store.ask(store.client.create_experiment, name, artifact_location=location))
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"MLFLOW_EXPERIMENT_NAME: the experiment {name!r} was deleted in MLflow ({store.label}); restore it there "
            "or choose another name"
        )
    return str(found.experiment_id)
