"""The suite's MLflow server, opened, with a run that others are nested in."""

from collections.abc import Callable

import pytest

from americano_pipelines.mlflow_store.client import Store, open_store
from americano_pipelines.mlflow_store.runs import get_or_create_parent_run
from americano_pipelines.settings import Settings
from americano_pipelines_tests.mlflow_server import MlflowServer


@pytest.fixture
def settings(mlflow_server: MlflowServer, settings_for: Callable[..., Settings]) -> Settings:
    return settings_for(mlflow_tracking_uri=mlflow_server.url)


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings)


@pytest.fixture
def parent(store: Store, settings: Settings, request: pytest.FixtureRequest) -> str:
    return get_or_create_parent_run(store, settings, request.node.name, "job", {})
