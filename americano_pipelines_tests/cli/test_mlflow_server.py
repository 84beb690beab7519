"""`americano mlflow`: MLflow's server on the store of the settings, small, silent, gone when it is stopped."""

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from americano_pipelines.mlflow_store.analysis_run import analysis_run
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.mlflow_store.runs import get_or_create_parent_run
from americano_pipelines.mlflow_store.tracking_server import find_experiment
from americano_pipelines.settings import load_settings
from americano_pipelines_tests.conftest import Done, environment, free_port
from americano_pipelines_tests.service_processes import DEAF, end_family, family_of, listening_addresses
from americano_pipelines_tests.waiting import wait_until

EXPERIMENT = "Learning & more/Research"


@dataclass(frozen=True)
class Running:
    process: psutil.Process
    port: int
    log: Path
    run_id: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def family(self) -> list[psutil.Process]:
        return family_of(self.process)

    def get(self, path: str, host: str | None = None) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", headers={"Host": host} if host else {})  # noqa: S310 - http
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own server
            return json.load(answer)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A store with one run, and `americano mlflow` on it; TERM must end all of it."""
    data_dir = tmp_path_factory.mktemp("mlflow") / "data"
    settings = load_settings(americano_data_dir=data_dir, mlflow_experiment_name=EXPERIMENT)
    store = open_store(settings)
    parent = get_or_create_parent_run(store, settings, "a-dagster-run", "Spaced retrieval", {})
    artifact = data_dir.with_name("report.html")
    artifact.write_text("{}")
    with analysis_run(store, parent, "randomization test", {}) as run:
        run.log_artifact(artifact)
    port, log = free_port(), data_dir.with_name("log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [*DEAF, "mlflow", "--port", str(port)],
            env=environment(data_dir, mlflow_experiment_name=EXPERIMENT),
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    running = Running(psutil.Process(process.pid), port, log, run.run_id)
    try:
        wait_until(lambda: "MLflow on" in log.read_text() or process.poll() is not None, f"the server, see {log}", 180)
        assert process.poll() is None, log.read_text()
        yield running
    finally:
        end_family(process, running.family(), signal.SIGTERM, seconds=60)


def test_the_printed_address_lists_the_runs_of_the_store(served: Running) -> None:
    (page,) = re.findall(r"MLflow on (\S+)", served.log.read_text())
    experiment_id = re.fullmatch(rf"{served.url}/#/experiments/(\d+)/runs\?workflowType=machine_learning", page)

    assert experiment_id is not None, page
    run = served.get(f"/api/2.0/mlflow/runs/get?run_id={served.run_id}")["run"]
    assert (run["info"]["experiment_id"], run["info"]["status"]) == (experiment_id[1], "FINISHED")
    # Files are shown too, although no client can upload any through the server.
    assert served.get(f"/get-artifact?run_uuid={served.run_id}&path=report.html") == {}


def test_an_experiment_that_is_missing_has_no_page(served: Running) -> None:
    assert find_experiment(served.url, EXPERIMENT) is not None
    assert find_experiment(served.url, "another") is None


def test_it_is_small_and_for_this_machine_only(served: Running) -> None:
    # This command, its watcher, MLflow's command and the server; by default there are 15, in 2.6 GB.
    assert len(served.family()) == 4
    assert sum(process.memory_info().rss for process in served.family()) < 1e9
    assert listening_addresses(served.family()) == {("127.0.0.1", served.port)}
    with pytest.raises(urllib.error.HTTPError, match="403"):
        served.get("/api/2.0/mlflow/experiments/search?max_results=1", host="elsewhere.example")


def test_nothing_is_reported_about_its_use(served: Running) -> None:
    # The pages report what is clicked, unless the server tells them not to.
    assert served.get("/ajax-api/3.0/mlflow/ui-telemetry")["disable_ui_telemetry"] is True
    environments = [process.environ() for process in served.family()[2:]]
    assert [variables["MLFLOW_DISABLE_TELEMETRY"] for variables in environments] == ["true", "true"]


def test_no_secret_is_on_a_command_line(served: Running) -> None:
    # The address of a database may hold a password.
    assert [process.cmdline() for process in served.family() if "sqlite" in " ".join(process.cmdline())] == []


def test_a_port_that_is_taken_is_refused(served: Running, cli: Callable[..., Done], tmp_path: Path) -> None:
    done = cli("mlflow", "--port", str(served.port))

    assert done.code == 2
    assert f"127.0.0.1:{served.port} cannot be used" in done.err
    assert not (tmp_path / "data").exists()


def test_of_a_server_in_the_settings_the_address_is_printed(served: Running, cli: Callable[..., Done]) -> None:
    done = cli("mlflow", mlflow_tracking_uri=served.url, mlflow_experiment_name=EXPERIMENT)
    experiment_id = find_experiment(served.url, EXPERIMENT)

    assert done.code == 0
    assert done.out == (
        "MLFLOW_TRACKING_URI names a server: "
        f"{served.url}/#/experiments/{experiment_id}/runs?workflowType=machine_learning\n"
    )


def test_a_store_that_was_moved_is_refused(cli: Callable[..., Done], tmp_path: Path) -> None:
    settings = load_settings(americano_data_dir=tmp_path / "before")
    open_store(settings)
    os.rename(tmp_path / "before", tmp_path / "data")  # noqa: PTH104 - both are paths

    done = cli("mlflow", "--port", str(free_port()))

    assert (done.code, "americano relocate" in done.err) == (1, True)
