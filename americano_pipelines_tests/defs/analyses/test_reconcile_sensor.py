"""Reconcile MLflow with Dagster runs of every end, in the sensor `run_outcome` and in the processes of the UI."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from americano_pipelines.defs.analyses.reconcile_mlflow import mlflow_status, reconcile_mlflow_runs
from americano_pipelines.defs.analyses.reconcile_sensor import build_run_outcome, reconcile_all
from americano_pipelines.defs.analyses.resources import MlflowResource
from americano_pipelines.defs.dagster_instance import prepare_home
from americano_pipelines.defs.run_processes import process_tags
from americano_pipelines.defs.run_tags import EXPERIMENT_TAG, OPEN, OWNER_TAG, PID_TAG, PLACE_TAG, STATUS_TAG
from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.analysis_run import analysis_run
from americano_pipelines.mlflow_store.client import Store, open_store
from americano_pipelines.mlflow_store.data_folder import store_label
from americano_pipelines.mlflow_store.runs import get_or_create_parent_run
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import environment, free_port
from americano_pipelines_tests.waiting import wait_until

STATUS = dg.DagsterRunStatus


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def settings(settings_for: Callable[..., Settings], empty_store: Path) -> Settings:
    settings = settings_for()
    (settings.paths.root / "mlflow").mkdir(parents=True)
    shutil.copyfile(empty_store, settings.paths.root / "mlflow" / "mlflow.db")
    return settings


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings)


class OpenRuns:
    """A Dagster run, its MLflow run, and the nested MLflow run of an analysis; both MLflow runs stay open."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings, store: Store, status: STATUS) -> None:
        self.run_id, self.store = str(uuid.uuid4()), store
        tags = {**process_tags(instance, self.run_id), EXPERIMENT_TAG: store.experiment_id, STATUS_TAG: OPEN}
        run = dg.DagsterRun(job_name="job", run_id=self.run_id, status=status, tags=tags)
        instance.add_run(run)
        self.parent = get_or_create_parent_run(store, settings, self.run_id, "job", {})
        run_of_analysis = analysis_run(store, self.parent, "analysis", {})
        self.nested = run_of_analysis.__enter__().run_id
        self._open = run_of_analysis  # a reference, because garbage collection of the context manager would end the run

    def statuses(self) -> tuple[str, str]:
        return tuple(self.store.client.get_run(run).info.status for run in (self.parent, self.nested))  # type: ignore[return-value]


def tick(settings: Settings, instance: dg.DagsterInstance) -> str:
    evaluated = build_run_outcome(settings).evaluate_tick(dg.build_sensor_context(instance=instance))
    return str(evaluated.skip_message)


def test_each_end_is_reconciled_once(instance: dg.DagsterInstance, settings: Settings, store: Store) -> None:
    ends = {STATUS.SUCCESS: "FINISHED", STATUS.FAILURE: "FAILED", STATUS.CANCELED: "KILLED"}
    runs = {status: OpenRuns(instance, settings, store, status) for status in [*ends, STATUS.STARTED]}

    message = tick(settings, instance)

    assert all(runs[status].run_id in message for status in ends)
    for status, expected in ends.items():
        assert runs[status].statuses() == (expected, expected)
    assert runs[STATUS.STARTED].statuses() == ("RUNNING", "RUNNING")
    assert tick(settings, instance) == "no run has ended since"


def test_a_run_without_its_process_fails_in_dagster_and_mlflow(
    instance: dg.DagsterInstance, settings: Settings, store: Store
) -> None:
    killed = OpenRuns(instance, settings, store, STATUS.STARTED)
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    instance.add_run_tags(killed.run_id, {PID_TAG: str(ended.pid), OWNER_TAG: "gone.owner"})

    assert tick(settings, instance) == f"runs marked failed because their process is gone: 1; {killed.run_id}"

    assert killed.statuses() == ("FAILED", "FAILED")


def test_an_unreachable_mlflow_is_reconciled_later(
    instance: dg.DagsterInstance, settings: Settings, store: Store, settings_for: Callable[..., Settings]
) -> None:
    run = OpenRuns(instance, settings, store, STATUS.FAILURE)
    down = settings_for(mlflow_tracking_uri=f"http://127.0.0.1:{free_port()}")

    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        reconcile_mlflow_runs(down, instance)

    assert reconcile_mlflow_runs(settings, instance) == [run.run_id]
    assert run.statuses() == ("FAILED", "FAILED")


def test_a_run_waits_for_its_mlflow(
    instance: dg.DagsterInstance,
    settings: Settings,
    settings_for: Callable[..., Settings],
    empty_store: Path,
    tmp_path: Path,
) -> None:
    shutil.copyfile(empty_store, tmp_path / "other.db")
    other = settings_for(mlflow_tracking_uri=f"sqlite:///{tmp_path / 'other.db'}")
    run = OpenRuns(instance, settings, open_store(settings), STATUS.FAILURE)
    run_in_other = OpenRuns(instance, other, open_store(other), STATUS.FAILURE)
    instance.add_run_tags(run.run_id, {PLACE_TAG: store_label(settings)})
    instance.add_run_tags(run_in_other.run_id, {PLACE_TAG: store_label(other)})

    done, problems = reconcile_all(settings, instance)

    assert done == [run.run_id]
    assert run.statuses() == ("FAILED", "FAILED")
    assert run_in_other.statuses() == ("RUNNING", "RUNNING")
    assert [problem.partition(". Set")[0] for problem in problems] == [
        f"finished runs that may still show RUNNING in MLflow at {store_label(other)}: 1"
    ]
    assert problems[0] in tick(settings, instance)
    assert reconcile_all(other, instance) == ([run_in_other.run_id], [])
    assert run_in_other.statuses() == ("FAILED", "FAILED")


@dg.asset
def recorded(mlflow: MlflowResource) -> None:
    assert mlflow.run.run_id


def test_a_run_names_its_mlflow_without_secrets(
    instance: dg.DagsterInstance,
    settings: Settings,
    settings_for: Callable[..., Settings],
    empty_store: Path,
    tmp_path: Path,
) -> None:
    shutil.copyfile(empty_store, tmp_path / "named.db")
    named = settings_for(mlflow_tracking_uri=f"sqlite:///{tmp_path / 'named.db'}?password=s3cret")

    runs = [
        dg.materialize(
            [recorded], instance=instance, resources={"mlflow": MlflowResource(settings=mlflow_settings)}
        ).dagster_run
        for mlflow_settings in (settings, named)
    ]

    assert [run.tags[PLACE_TAG] for run in map(instance.get_run_by_id, [run.run_id for run in runs]) if run] == [
        "sqlite in the data folder",
        f"sqlite:///{tmp_path / 'named.db'}?password=***",
    ]


LIGHT = """
import sys
import dagster as dg
from americano_pipelines.defs.run_maintenance import instance_for_runs
from americano_pipelines.settings import load_settings
with instance_for_runs(load_settings()):
    pass
print("mlflow" in sys.modules)
"""


def test_without_ended_runs_mlflow_is_not_imported(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT],
        env=environment(settings.paths.root),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert done.stdout.strip() == "False"


@dg.op
def good() -> int:
    return 1


@dg.op
def bad() -> int:
    raise ValueError("no")


@dg.op
def after(value: int) -> int:
    return value


@dg.job
def in_order() -> None:
    after(good())
    after.alias("behind")(after.alias("never")(bad()))


def test_a_status_is_final_when_no_step_is_left(instance: dg.DagsterInstance) -> None:
    statuses: list[str | None] = []
    whole = in_order.execute_in_process(instance=instance, raise_on_error=False)
    run = instance.get_run_by_id(whole.run_id)
    assert run is not None

    for status, event_count in ((STATUS.STARTED, None), (STATUS.CANCELING, None), (STATUS.STARTED, 1)):
        copied = str(uuid.uuid4())
        instance.add_run(run.with_status(status)._replace(run_id=copied))
        ends = [event for event in whole.all_events if event.is_step_success or event.is_step_failure]
        for event in ends[:event_count]:
            instance.report_dagster_event(event, copied)
        statuses.append(mlflow_status(instance, copied))

    assert statuses == ["FAILED", "KILLED", None]
    assert mlflow_status(instance, whole.run_id) == "FAILED"


class Ui:
    """`dagster dev` on the location of `mlflow_jobs.py`: web server, daemon with its sensors, code server."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.port = settings, free_port()
        prepare_home(settings)
        with (settings.paths.root / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-m",
                        "dagster",
                        "dev",
                        "-m",
                        "americano_pipelines_tests.defs.analyses.mlflow_jobs",
                    ),
                    *("-h", "127.0.0.1", "-p", str(self.port)),
                ],
                env=environment(settings.paths.root, dagster_home=settings.paths.dagster_home),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def send(self, query: str, **variables: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - our own server
            return json.load(response)["data"]

    def selector(self) -> dict[str, str] | None:
        assert self.process.poll() is None, (self.settings.paths.root / "log").read_text()[-3000:]
        with suppress(OSError):
            data = self.send(
                "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
            )
            for node in data["repositoriesOrError"].get("nodes", []):
                return {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}
        return None

    def materialize(self, *assets: str) -> str:
        """Materialize assets as the UI's button does; the run's id."""
        selector = self.selector()
        assert selector is not None
        done = self.send(
            "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) "
            "{ __typename ... on LaunchRunSuccess { run { runId } } } }",
            p={
                "selector": selector | {"jobName": "__ASSET_JOB", "assetSelection": [{"path": [a]} for a in assets]},
                "runConfigData": {},
            },
        )["launchRun"]
        return str(done["run"]["runId"])

    def stop(self) -> None:
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=20)
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_way_a_run_of_the_ui_ends_is_shown_in_mlflow(settings: Settings, store: Store) -> None:
    ui = Ui(settings)
    try:
        wait_until(ui.selector, f"the code location, see {settings.paths.root / 'log'}", seconds=120)

        def ended(run_id: str, expected: dict[str, str]) -> None:
            def look() -> bool:
                runs = store.client.search_runs([store.experiment_id], f"tags.dagster_run_id = '{run_id}'")
                return {run.info.run_name: run.info.status for run in runs} == expected

            wait_until(look, f"{expected} of {run_id}", seconds=120)

        def hanging() -> str:
            marker = settings.paths.root / "hanging-hanging"
            marker.unlink(missing_ok=True)
            run_id = ui.materialize("hanging")
            wait_until(marker.exists, "the step that hangs", seconds=90)
            ended(run_id, {"hanging": "RUNNING", "hang": "RUNNING"})
            return run_id

        three = dict.fromkeys(("first and 1 more", "first", "second"), "FINISHED")
        ended(ui.materialize("first", "second"), three)
        ended(ui.materialize("failing"), {"failing": "FAILED", "fail": "FAILED"})
        cancelled = hanging()
        ui.send(
            "mutation($r: String!) { terminateRun(runId: $r) { __typename } }",
            r=cancelled,
        )
        ended(cancelled, {"hanging": "KILLED", "hang": "KILLED"})
        killed = hanging()
        with dg.DagsterInstance.from_config(str(settings.paths.dagster_home)) as instance:
            run = instance.get_run_by_id(killed)
            assert run is not None
            psutil.Process(int(run.tags[PID_TAG])).kill()
        ended(killed, {"hanging": "FAILED", "hang": "FAILED"})
        ui.send(
            "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename } }",
            p={"assetSelection": [{"path": ["by_protocol"]}], "partitionNames": ["p1", "p2"]},
        )

        def backfilled() -> bool:
            runs = store.client.search_runs([store.experiment_id], "tags.`dagster.partition` != 'unknown'")
            statuses = sorted((run.data.tags["dagster.partition"], run.info.status) for run in runs)
            return statuses == [("p1", "FINISHED"), ("p2", "FINISHED")]

        wait_until(backfilled, "the backfill", seconds=120)
    finally:
        ui.stop()
