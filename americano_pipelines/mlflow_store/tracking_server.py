"""Start MLflow's own server on the store that the settings name, with one worker, on 127.0.0.1."""

import json
import os
import sys
import urllib.error
import urllib.request
from urllib.parse import quote

from americano_pipelines.mlflow_store.client import has_tables, open_store
from americano_pipelines.mlflow_store.data_folder import artifacts_uri, check_location
from americano_pipelines.mlflow_store.tracking_errors import prepare_client
from americano_pipelines.settings import Settings
from americano_pipelines.settings.mlflow_url import sqlite_file

HOST = "127.0.0.1"
_NOT_FOUND = 404
_ANSWER_SECONDS = 20


def prepare_server(settings: Settings, port: int) -> list[str]:
    """Make the store ready and set the environment of the server.

    The address of the store goes into the environment: it may hold a password, and others can read a command line.

    Args:
        settings: their tracking URI is a database.
        port: where the server is to listen.

    Returns:
        The command of the server.

    Raises:
        TrackingError: the store does not answer, or names a former place of the data folder.
    """
    check_location(settings)
    prepare_client()
    file = sqlite_file(settings.tracking_uri)
    if file is None or not has_tables(file):
        # The server would try to reach a database for minutes, and two processes could make the tables at once.
        open_store(settings)
    os.environ |= {
        "MLFLOW_BACKEND_STORE_URI": settings.tracking_uri,
        "MLFLOW_REGISTRY_STORE_URI": settings.tracking_uri,
        # Its runner of jobs is for evaluations of language models: 9 processes and 1.4 GB.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # A deprecation inside MLflow, and the request of a foreign page by which the server is tried.
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    options = {
        "host": HOST,
        "port": port,
        "workers": 1,
        "default-artifact-root": artifacts_uri(settings.paths),
        "allowed-hosts": f"{HOST}:{port},localhost:{port}",
        "uvicorn-opts": "--log-level=warning",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "mlflow", "server", "--no-serve-artifacts", *arguments]


def find_experiment(address: str, name: str) -> str | None:
    """Ask a server on this machine for the id of an experiment; importing MLflow's client would take seconds.

    Args:
        address: of the server.
        name: of the experiment.

    Returns:
        The id, None when there is no such experiment.

    Raises:
        OSError: the server does not answer.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    page = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(name, safe='')}"
    try:
        with opener.open(page, timeout=_ANSWER_SECONDS) as answer:
            return str(json.load(answer)["experiment"]["experiment_id"])
    except urllib.error.HTTPError as error:
        if error.code == _NOT_FOUND:
            return None
        raise


def runs_page(address: str, experiment_id: str) -> str:
    """The page that lists an experiment's runs; without the parameter MLflow opens one about language models."""
    return f"{address.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
