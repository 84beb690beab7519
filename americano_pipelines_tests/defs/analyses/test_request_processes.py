"""Requests of the app in real processes: two workers for one row, killed workers, a killed daemon and the next."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from americano_pipelines.app_database.connection import APPLICATION_NAME
from americano_pipelines.defs.analyses.reconcile_sensor import build_run_outcome
from americano_pipelines.defs.run_tags import REQUEST_TAG, ROW_MISSED, ROW_RECONCILED, ROW_TAG
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.provenance.archive import records
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, environment
from americano_pipelines_tests.defs.analyses.prepared_folder import prepare_analyses
from americano_pipelines_tests.defs.conftest import container
from americano_pipelines_tests.prisma_database import row
from americano_pipelines_tests.waiting import wait_until

MODULE = "americano_pipelines.definitions"
ASSET = "analysis/abab_randomization"
# One tick of all sensors by the daemon's own code, which kills itself at the step in its argument:
# dagster/_daemon/sensor.py.
KILLED_TICK = f"""
import logging, signal, sys
import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

target = ModuleTarget({MODULE!r}, attribute=None, working_directory=None, location_name=None)
with dg.DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as workspace:
    flags = {{"analysis_requests": {{sys.argv[1]: signal.SIGKILL}}}}
    list(execute_sensor_iteration(workspace, logging.getLogger("tick"), None, None, debug_crash_flags=flags))
"""


class Workspace:
    """A data folder with a published file, its Dagster home, and processes that use it."""

    def __init__(self, settings: Settings, values: dict[str, Any]) -> None:
        self.settings, self.values = settings, values
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, within: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
        """Start Python; `within` is the start of a command that runs it, such as `container`."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*within, sys.executable, *command],
                env=environment(self.settings.paths.root, dagster_home=self.settings.paths.dagster_home, **self.values),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def analyse(self, within: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
        """Start a worker on row `run_1`."""
        config = {"ops": {ASSET.replace("/", "__"): {"config": {"analysis_run_id": "run_1"}}}}
        command = ("asset", "materialize", "-m", MODULE, "--select", ASSET, "--partition", "protocol_1")
        return self.start("-m", "dagster", *command, "--config-json", json.dumps(config), within=within)

    def reconcile(self) -> list[dg.DagsterRun]:
        """Run one tick of `run_outcome`; all runs after it."""
        with dg.DagsterInstance.from_config(str(self.settings.paths.dagster_home)) as instance:
            build_run_outcome(self.settings).evaluate_tick(dg.build_sensor_context(instance=instance))
            return list(instance.get_runs())

    @property
    def log(self) -> Path:
        return self.settings.paths.root / "log"

    def log_end(self) -> str:
        return self.log.read_text()[-5000:]

    def runs(self, row_id: str) -> list[dg.DagsterRun]:
        """The Dagster runs of a request."""
        with dg.DagsterInstance.from_config(str(self.settings.paths.dagster_home)) as instance:
            return list(instance.get_runs(dg.RunsFilter(tags={REQUEST_TAG: row_id})))

    def mlflow_statuses(self, row_id: str) -> list[str]:
        """The statuses of the MLflow runs of a request."""
        with closing(sqlite3.connect(self.settings.paths.mlflow_database)) as database:
            query = (
                "SELECT status FROM runs JOIN tags USING (run_uuid) "
                "WHERE tags.key = 'analysis_run_id' AND tags.value = ?"
            )
            return [str(status) for (status,) in database.execute(query, (row_id,))]

    def recorded(self, row_id: str) -> list[str]:
        """The Dagster runs whose analysis of a row was recorded."""
        return [
            str(record.orchestrator["dagster_run_id"])
            for _, record in records(self.settings.paths)
            if record.identity.analysis_run_id == row_id
        ]

    def stop(self) -> None:
        for process in self.started:
            # By session, because the children of a killed process are no longer in its family.
            for member in psutil.process_iter():
                if _session(member.pid) == process.pid:
                    member.kill()
            process.wait(timeout=30)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


@pytest.fixture
def workspace(prisma: Database, settings_for: Callable[..., Settings], empty_store: Path) -> Iterator[Workspace]:
    values, settings = prepare_analyses(prisma, settings_for, empty_store)
    workspace = Workspace(settings, values)
    yield workspace
    workspace.stop()


@pytest.mark.slow
def test_one_of_two_processes_carries_a_row_out(workspace: Workspace, prisma: Database) -> None:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE application_name = '{APPLICATION_NAME}' AND wait_event_type = 'Lock' AND datname = '{prisma.name}'"
    )
    with closing(prisma.server.connect(prisma.name)) as link, link.cursor() as cursor:
        link.autocommit = False
        # The lock holds both until both wait for the row.
        cursor.execute("SELECT FROM analysis_runs WHERE id = 'run_1' FOR UPDATE")
        workers = [workspace.analyse() for _ in range(2)]
        wait_until(lambda: prisma.execute(waiting) == [(2,)], f"both workers, see {workspace.log}", seconds=120)
        link.commit()
    ends = sorted(worker.wait(timeout=120) for worker in workers)

    assert ends[0] == 0 < ends[1], workspace.log_end()
    (winner,) = workspace.recorded("run_1")
    assert row(prisma, "run_1", "status::text, \"resultsSummary\" ->> 'dagster_run_id'") == ("COMPLETED", winner)
    assert "'run_1' is RUNNING, not PENDING: another worker has it" in workspace.log.read_text()
    store = open_store(workspace.settings)
    mlflow_runs = store.client.search_runs([store.experiment_id], "tags.analysis_run_id = 'run_1'")
    assert [run.info.status for run in mlflow_runs] == ["FINISHED"]
    with dg.DagsterInstance.from_config(str(workspace.settings.paths.dagster_home)) as instance:
        ended = {run.run_id: run.status for run in instance.get_runs()}
    assert ended.pop(winner) == dg.DagsterRunStatus.SUCCESS
    assert list(ended.values()) == [dg.DagsterRunStatus.FAILURE]


def until_claimed(workspace: Workspace, prisma: Database, worker: "subprocess.Popen[bytes]") -> None:
    def is_running() -> bool:
        assert worker.poll() is None, workspace.log_end()
        return row(prisma, "run_1")[0] == "RUNNING"

    wait_until(is_running, "the row to be claimed", seconds=120)


@pytest.mark.slow
@pytest.mark.parametrize("contained", [False, True], ids=["process", "container"])
def test_run_mlflow_run_and_row_of_a_killed_worker_fail(
    workspace: Workspace, prisma: Database, *, contained: bool
) -> None:
    worker = workspace.analyse(container("another-name") if contained else ())
    until_claimed(workspace, prisma, worker)
    wait_until(lambda: workspace.mlflow_statuses("run_1") == ["RUNNING"], workspace.log_end(), seconds=60)
    worker.kill()
    worker.wait()

    # The kernel ends the processes of a container a moment after its first one.
    run = wait_until(
        lambda: next((run for run in workspace.reconcile() if run.status == dg.DagsterRunStatus.FAILURE), None),
        f"the run's end, see {workspace.log}",
    )

    process = "1 on another-name" if contained else f"{worker.pid} on {socket.gethostname()}"
    assert row(prisma, "run_1") == (
        "FAILED",
        f"Dagster run {run.run_id} failed: process {process} ended without finishing this run",
    )
    assert workspace.mlflow_statuses("run_1") == ["FAILED"]
    assert run.tags[f"{ROW_TAG}run_1"] == ROW_RECONCILED


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_row_that_was_locked_is_completed_later(workspace: Workspace, prisma: Database, *, killed: bool) -> None:
    with closing(prisma.server.connect(prisma.name)) as link, link.cursor() as cursor:
        link.autocommit = False
        worker = workspace.analyse()
        until_claimed(workspace, prisma, worker)
        # The lock outlasts the worker's attempts.
        cursor.execute("SELECT FROM analysis_runs WHERE id = 'run_1' FOR UPDATE")
        waiting = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = '{prisma.name}'"
        wait_until(lambda: prisma.execute(waiting) == [(1,)], f"the worker, see {workspace.log}", seconds=120)
        if killed:
            worker.kill()
            worker.wait()
        else:
            assert worker.wait(timeout=120) == 0, workspace.log_end()
            assert "The analysis is recorded, but row run_1 was not completed" in workspace.log.read_text()
        assert row(prisma, "run_1") == ("RUNNING", None)
        link.rollback()

    (run,) = workspace.reconcile()

    assert run.status == (dg.DagsterRunStatus.FAILURE if killed else dg.DagsterRunStatus.SUCCESS)
    assert workspace.recorded("run_1") == [run.run_id]
    assert row(prisma, "run_1", "status::text, \"resultsSummary\" ->> 'dagster_run_id'") == ("COMPLETED", run.run_id)


@pytest.mark.slow
def test_an_unreachable_app_fails_the_run_and_keeps_the_request(workspace: Workspace, prisma: Database) -> None:
    prisma.execute("ALTER ROLE americano_link CONNECTION LIMIT 0")
    try:
        assert workspace.analyse().wait(timeout=120) > 0
    finally:
        prisma.execute("ALTER ROLE americano_link CONNECTION LIMIT -1")

    (run,) = workspace.reconcile()

    assert run.status == dg.DagsterRunStatus.FAILURE
    assert run.tags[f"{ROW_TAG}run_1"] == ROW_MISSED
    assert row(prisma, "run_1") == ("PENDING", None)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("step", "statuses"),
    [
        ("RUN_CREATED", [dg.DagsterRunStatus.NOT_STARTED]),
        # The next daemon takes it from the queue.
        ("RUN_LAUNCHED", [dg.DagsterRunStatus.QUEUED]),
    ],
)
def test_a_killed_daemon_loses_no_request_and_runs_none_twice(
    workspace: Workspace, prisma: Database, step: str, statuses: list[dg.DagsterRunStatus]
) -> None:
    prisma.execute("UPDATE analysis_runs SET \"analysisType\" = 'GRANGER_CAUSALITY' WHERE id = 'run_0'")
    assert workspace.start("-c", KILLED_TICK, step).wait(timeout=180) == -signal.SIGKILL, workspace.log_end()
    before = workspace.runs("run_1")
    assert [run.status for run in before] == statuses
    assert row(prisma, "run_1")[0] == "PENDING"

    workspace.start(str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", MODULE)
    ended = "SELECT count(*) FROM analysis_runs WHERE status IN ('COMPLETED', 'FAILED')"
    wait_until(lambda: prisma.execute(ended) == [(2,)], f"both rows, see {workspace.log}", seconds=240)
    (run,) = before
    wait_until(lambda: workspace.runs("run_1")[0].is_finished, "the run's end", seconds=60)

    assert [(other.run_id, other.status) for other in workspace.runs("run_1")] == [
        (run.run_id, dg.DagsterRunStatus.SUCCESS)
    ]
    assert workspace.recorded("run_1") == [run.run_id]
    assert row(prisma, "run_1") == ("COMPLETED", None)
    status, message = row(prisma)
    assert status == "FAILED"
    assert message.startswith("this project has no analysis GRANGER_CAUSALITY;")
    assert workspace.runs("run_0") == []
