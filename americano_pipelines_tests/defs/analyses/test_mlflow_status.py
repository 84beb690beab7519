"""The status of MLflow runs, whatever became of the Dagster run: executor by outcome."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.defs.run_maintenance import instance_for_runs
from americano_pipelines.defs.run_tags import OPEN, PID_TAG, STATUS_TAG
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import environment, free_port
from americano_pipelines_tests.mlflow_server import MlflowServer
from americano_pipelines_tests.waiting import wait_until

MODULE = "americano_pipelines_tests.defs.analyses.mlflow_jobs"
Statuses = dict[str, str]


class Location:
    """The code location of `mlflow_jobs.py` on a data folder of the test's."""

    def __init__(self, settings: Settings, **values: Any) -> None:
        self.settings, self.values = settings, values
        self.started = list[tuple["subprocess.Popen[bytes]", threading.Timer]]()
        with open_instance(settings):
            pass

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start `dagster ...`; it is killed after two minutes, so nobody waits for ever."""
        with (self.settings.paths.root / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster", *arguments, "-m", MODULE],
                env=environment(self.settings.paths.root, dagster_home=self.settings.paths.dagster_home, **self.values),
                stdout=log,
                stderr=log,
            )
        deadline = threading.Timer(120, process.kill)
        deadline.start()
        self.started.append((process, deadline))
        return process

    def run(self, *arguments: str) -> int:
        return self.start(*arguments).wait()

    def job(self, name: str) -> "subprocess.Popen[bytes]":
        return self.start("job", "execute", "-j", name)

    def until_it_hangs(self, process: "subprocess.Popen[bytes]") -> None:
        marker = self.settings.paths.root / "hanging-hanging"
        wait_until(lambda: marker.exists() or process.poll() is not None, "the step that hangs", seconds=100)
        assert process.poll() is None, self.log()

    def statuses(self) -> Statuses:
        """Status of each MLflow run, by name."""
        store = open_store(self.settings)
        return {run.info.run_name: run.info.status for run in store.client.search_runs([store.experiment_id])}

    def run_data(self, name: str) -> Any:
        store = open_store(self.settings)
        (run,) = store.client.search_runs([store.experiment_id], f"attributes.run_name = '{name}'")
        return run.data

    def dagster_run(self, instance: dg.DagsterInstance) -> dg.DagsterRun:
        (run,) = instance.get_runs()
        return run

    def after_the_next_command(self) -> tuple[dg.DagsterRunStatus, Statuses]:
        with instance_for_runs(self.settings):
            pass
        with open_instance(self.settings) as instance:
            run = self.dagster_run(instance)
            assert run.tags[STATUS_TAG] != OPEN
            return run.status, self.statuses()

    def log(self) -> str:
        return (self.settings.paths.root / "log").read_text()[-5000:]

    def stop(self) -> None:
        for process, deadline in self.started:
            deadline.cancel()
            kill_family(process)


def files_with(folder: Path, text: str) -> list[Path]:
    """The files below a folder that have a text in them, Dagster's databases too."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def kill_family(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


@pytest.fixture
def location_of(settings_for: Callable[..., Settings]) -> Iterator[Callable[..., Location]]:
    """Make the location for settings."""
    locations: list[Location] = []

    def make(**values: Any) -> Location:
        locations.append(Location(settings_for(**values), **values))
        return locations[-1]

    yield make
    for location in locations:
        location.stop()


@pytest.fixture
def location(location_of: Callable[..., Location], empty_store: Path) -> Location:
    new_location = location_of()
    (new_location.settings.paths.root / "mlflow").mkdir()
    shutil.copyfile(empty_store, new_location.settings.paths.root / "mlflow" / "mlflow.db")
    return new_location


EXECUTORS = ["in_process", pytest.param("multiprocess", marks=pytest.mark.slow)]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_finished_when_every_step_succeeded(location: Location, executor: str) -> None:
    name = f"succeeds_{executor}"
    assert location.job(name).wait() == 0, location.log()

    assert location.statuses() == {name: "FINISHED", "first": "FINISHED", "second": "FINISHED"}
    assert location.run_data(name).params == {"status_in_second": "RUNNING"}
    assert location.after_the_next_command() == (
        dg.DagsterRunStatus.SUCCESS,
        {name: "FINISHED", "first": "FINISHED", "second": "FINISHED"},
    )


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
def test_failed_when_a_step_failed(location: Location, executor: str) -> None:
    name = f"fails_{executor}"
    assert location.job(name).wait() != 0

    expected = {name: "FAILED", "first": "FINISHED", "fail": "FAILED"}
    assert location.statuses() == expected
    assert location.after_the_next_command() == (dg.DagsterRunStatus.FAILURE, expected)


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
def test_killed_when_it_was_cancelled(location: Location, executor: str) -> None:
    name = f"hangs_{executor}"
    process = location.job(name)
    location.until_it_hangs(process)
    assert location.statuses() == {name: "RUNNING", "first": "FINISHED", "hang": "RUNNING"}
    with dg.DagsterInstance.from_config(str(location.settings.paths.dagster_home)) as instance:
        # What the UI does: it notes the wish, and has the process interrupted.
        instance.report_run_canceling(location.dagster_run(instance))
        process.send_signal(signal.SIGINT)
        process.wait()

    expected = {name: "KILLED", "first": "FINISHED", "hang": "KILLED"}
    assert location.statuses() == expected
    assert location.after_the_next_command() == (dg.DagsterRunStatus.CANCELED, expected)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_failed_after_the_next_command_when_its_process_was_killed(location: Location, executor: str) -> None:
    name = f"hangs_{executor}"
    process = location.job(name)
    location.until_it_hangs(process)
    kill_family(process)
    assert location.statuses() == {name: "RUNNING", "first": "FINISHED", "hang": "RUNNING"}

    assert location.after_the_next_command() == (
        dg.DagsterRunStatus.FAILURE,
        {name: "FAILED", "first": "FINISHED", "hang": "FAILED"},
    )


@pytest.mark.slow
def test_a_step_s_process_that_is_killed_fails_the_run(location: Location) -> None:
    process = location.job("hangs_multiprocess")
    location.until_it_hangs(process)
    with dg.DagsterInstance.from_config(str(location.settings.paths.dagster_home)) as instance:
        tags = location.dagster_run(instance).tags
        assert tags[PID_TAG] == str(process.pid), "a step's process is none to go by"
    children = psutil.Process(process.pid).children(recursive=True)
    step = max(
        (child for child in children if "spawn_main" in " ".join(child.cmdline())), key=psutil.Process.create_time
    )
    step.kill()
    assert process.wait() != 0

    assert location.after_the_next_command() == (
        dg.DagsterRunStatus.FAILURE,
        {"hangs_multiprocess": "FAILED", "first": "FINISHED", "hang": "FAILED"},
    )


@pytest.mark.slow
def test_assets_of_no_named_job_are_named_in_mlflow_and_end_too(location: Location) -> None:
    assert location.run("asset", "materialize", "--select", "by_protocol", "--partition", "p2") == 0, location.log()

    assert location.statuses() == {"by_protocol": "FINISHED", "of p2": "FINISHED"}
    tags = location.run_data("by_protocol").tags
    assert (tags["dagster.asset_key"], tags["dagster.partition"]) == ("by_protocol", "p2")
    assert location.run_data("of p2").tags["dagster_run_id"] == tags["dagster_run_id"]


@pytest.mark.slow
def test_an_upload_that_does_not_arrive_fails_the_run(location: Location) -> None:
    assert location.run("asset", "materialize", "--select", "uploading") != 0

    assert location.after_the_next_command() == (
        dg.DagsterRunStatus.FAILURE,
        {"uploading": "FAILED", "upload": "FAILED"},
    )


def test_a_server_that_is_down_fails_the_run_before_it_works(location_of: Callable[..., Location]) -> None:
    port = free_port()
    location = location_of(mlflow_tracking_uri=f"http://bob:s3cr3tPW@127.0.0.1:{port}")

    assert location.run("asset", "materialize", "--select", "first") != 0

    with open_instance(location.settings) as instance:
        run = location.dagster_run(instance)
        entries = instance.all_logs(run.run_id)
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert STATUS_TAG not in run.tags, "there is nothing to settle"
    assert dg.DagsterEventType.STEP_START not in [
        entry.dagster_event.event_type for entry in entries if entry.dagster_event
    ]
    message = json.dumps([entry.to_json() for entry in entries])
    assert f"MLFLOW_TRACKING_URI=http://***@127.0.0.1:{port} cannot be written to" in message
    assert files_with(location.settings.paths.root, "s3cr3tPW") == []


@pytest.mark.slow
def test_a_server_that_falls_silent_fails_the_run_and_shows_it_later(
    location_of: Callable[..., Location], mlflow_server: MlflowServer
) -> None:
    address = mlflow_server.url.replace("//", "//bob:s3cr3tPW@")
    location = location_of(mlflow_tracking_uri=address, mlflow_experiment_name="falls silent")
    process = location.job("hangs_in_process")
    location.until_it_hangs(process)
    mlflow_server.signal(signal.SIGSTOP)
    try:
        (location.settings.paths.root / "go-on").touch()
        assert process.wait() > 0, "it ended by itself, before anybody had to kill it"
    finally:
        mlflow_server.signal(signal.SIGCONT)

    # Whether the analysis's own end arrived is chance: the request was sent, and answered too late.
    status, shown = location.after_the_next_command()
    assert status == dg.DagsterRunStatus.FAILURE
    assert shown["hangs_in_process"] == "FAILED"
    assert OPEN not in shown.values()
    assert files_with(location.settings.paths.root, "cannot be written to") != []
    assert files_with(location.settings.paths.root, "s3cr3tPW") == []
