"""The service `mlflow` of docker-compose.yml: what it says, and that its command, environment and healthcheck work."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.mlflow_store.analysis_run import analysis_run
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.mlflow_store.runs import end
from americano_pipelines.settings import PROJECT_ROOT, Settings
from americano_pipelines_tests.mlflow_server import MlflowServer, resolved, service

API = "/api/2.0/mlflow/experiments/search?max_results=1"
GIVEN = {"MLFLOW_DB_USER": "tracker", "MLFLOW_DB_PASSWORD": "p@ss:word/?"}


def environment(variables: dict[str, str]) -> dict[str, str]:
    return {name: resolved(text, variables) for name, text in service()["environment"].items()}


def test_server_and_client_are_of_one_version() -> None:
    locked = re.search(r"^mlflow==(\S+)", (PROJECT_ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None

    # Only the -full images have psycopg2.
    assert service()["image"] == f"ghcr.io/mlflow/mlflow:v{locked[1]}-full"


def test_the_database_is_on_this_machine_unless_said_otherwise() -> None:
    assert environment(GIVEN) == {
        "PGUSER": "tracker",
        "PGPASSWORD": "p@ss:word/?",
        "PGHOST": "host.docker.internal",
        "PGPORT": "5432",
        "PGDATABASE": "americano_mlflow",
        "PGCONNECT_TIMEOUT": "10",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    assert service()["extra_hosts"] == ["host.docker.internal:host-gateway"]
    other = GIVEN | {"MLFLOW_DB_HOST": "db.example", "MLFLOW_DB_PORT": "6432", "MLFLOW_DB_NAME": "tracking"}
    variables = environment(other)
    assert (variables["PGHOST"], variables["PGPORT"], variables["PGDATABASE"]) == ("db.example", "6432", "tracking")


@pytest.mark.parametrize("missing", GIVEN)
def test_what_is_required_and_missing_is_named(missing: str) -> None:
    with pytest.raises(KeyError, match=f"set {missing} to"):
        environment(GIVEN | {missing: ""})


def test_it_listens_to_this_machine_only_and_comes_back() -> None:
    assert service()["ports"] == ["127.0.0.1:5000:5000"]
    assert service()["restart"] == "unless-stopped"
    assert service()["volumes"] == ["./data/mlflow/artifacts:/mlflow/artifacts"]
    assert "--artifacts-destination=/mlflow/artifacts" in service()["command"]


def test_clients_inside_and_outside_are_let_in_and_others_are_not(mlflow_server: MlflowServer) -> None:
    port = mlflow_server.port
    for host in (f"mlflow:{port}", f"localhost:{port}", f"127.0.0.1:{port}", f"host.docker.internal:{port}"):
        assert mlflow_server.answer(API, host) == 200, host
    assert mlflow_server.answer(API, "rebinding.example") == 403


def test_the_healthcheck_sees_a_host_check_that_turns_clients_away(
    mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mlflow_server.healthcheck() == 0
    monkeypatch.setattr(mlflow_server, "_on_this_machine", _asking_as("rebinding.example", mlflow_server))

    assert mlflow_server.answer("/health", "rebinding.example") == 200
    assert mlflow_server.healthcheck() != 0


def _asking_as(host: str, server: MlflowServer) -> Callable[[str], str]:
    on_this_machine = server._on_this_machine  # noqa: SLF001 - the test stands in the place of the class
    return lambda text: on_this_machine(text).replace(f"mlflow:{server.port}", host)


def test_an_analysis_and_its_artifact_go_through_it(
    mlflow_server: MlflowServer, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    store = open_store(settings_for(mlflow_tracking_uri=mlflow_server.url))
    parent = store.client.create_run(store.experiment_id).info.run_id
    file = tmp_path / "days.csv"
    file.write_text("day,value\n1,2.5\n")

    with analysis_run(store, parent, "through compose", {}) as run:
        run.log_artifact(file, "data")
    end(store, parent, "FINISHED")

    kept = [path for path in mlflow_server.artifacts.rglob("days.csv") if run.run_id in path.parts]
    assert [path.read_text() for path in kept] == [file.read_text()]
    assert [path.parent.name for path in kept] == ["data"]
    assert store.client.get_run(run.run_id).info.status == "FINISHED"
    assert run.url == f"{mlflow_server.url}/#/experiments/{store.experiment_id}/runs/{run.run_id}"
