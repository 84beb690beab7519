"""An MLflow that never answers, or is down: how often it is waited for, and what people are told."""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from americano_pipelines.defs.analyses import request_sensor
from americano_pipelines.defs.analyses.launch_analyses import run_analyses, run_requests
from americano_pipelines.defs.analyses.reconcile_sensor import build_run_outcome
from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.defs.run_tags import EXPERIMENT_TAG, OPEN, STATUS_TAG
from americano_pipelines.defs.sync.launch_sync import run_nightly
from americano_pipelines.errors import AmericanoError
from americano_pipelines.mlflow_store.tracking_errors import CLIENT_ENVIRONMENT
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, free_port
from americano_pipelines_tests.prisma_database import link_url, row
from americano_pipelines_tests.silent_server import SilentServer, silent_server
from americano_pipelines_tests.sync.support import sync

BOTH = ["protocol_0", "protocol_1"]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentServer]:
    for name in CLIENT_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with silent_server() as server:
        yield server


@pytest.fixture
def published(prisma: Database, settings_for: Callable[..., Settings]) -> Callable[[str], Settings]:
    """Settings of a published file and an app, with an MLflow of that address."""
    settings = settings_for(**prisma.variables())
    sync(settings)

    def make(address: str) -> Settings:
        values: dict[str, Any] = prisma.variables(analysis_runs_database_url=link_url(prisma))
        return settings_for(**values, mlflow_tracking_uri=address)

    return make


def leave_open(settings: Settings) -> None:
    """Leave what a killed run does: it has ended, and its MLflow run is open as far as Dagster's records know."""
    with dg.DagsterInstance.from_config(str(settings.paths.dagster_home)) as instance:
        tags = {EXPERIMENT_TAG: "1", STATUS_TAG: OPEN}
        failed = dg.DagsterRunStatus.FAILURE
        instance.add_run(dg.DagsterRun(job_name="analyses", run_id=str(uuid.uuid4()), status=failed, tags=tags))


def test_each_wait_for_a_silent_server_is_bounded(
    published: Callable[[str], Settings], silent: SilentServer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = published(silent.url)
    with open_instance(settings):
        pass
    assert silent.connections == []
    leave_open(settings)

    started = time.monotonic()
    (failed,) = run_analyses(settings, BOTH[:1], ["change_points"], command="a test")

    # Two requests of a second each and a pause before the run, and the same again for the run that was left open.
    assert time.monotonic() - started < 20
    assert not failed.success
    assert f"MLFLOW_TRACKING_URI={silent.url}" in failed.sentence
    assert "timeout" in failed.sentence
    assert "MLflow does not show yet how some runs ended" in caplog.text
    with (
        dg.DagsterInstance.from_config(str(settings.paths.dagster_home)) as instance,
        pytest.raises(AmericanoError, match="MLFLOW_TRACKING_URI"),
    ):
        build_run_outcome(settings).evaluate_tick(dg.build_sensor_context(instance=instance))


def test_a_sync_asks_mlflow_nothing_while_no_run_is_open(
    prisma: Database, settings_for: Callable[..., Settings], silent: SilentServer
) -> None:
    assert run_nightly(settings_for(**prisma.variables(mlflow_tracking_uri=silent.url)), full=False).success

    assert silent.connections == []


def test_a_run_that_found_no_mlflow_says_so_and_so_does_its_row(
    published: Callable[[str], Settings],
    prisma: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_1'")
    address = f"http://127.0.0.1:{free_port()}"
    settings = published(address)
    message = f"failed: MLFLOW_TRACKING_URI={address} cannot be written to"
    (analysis,) = run_analyses(settings, BOTH[:1], ["change_points"], command="a test")
    assert analysis.sentence.startswith(f"Dagster run {analysis.dagster_run_id} {message}")

    (request,) = run_requests(settings, command="a test")
    assert message in request.sentence
    assert list(run_requests(settings, command="a test")) == []
    assert re.search(r"run_0 waits until [\d:]+ UTC; the last time: Dagster run ", caplog.text)
    assert message in caplog.text

    monkeypatch.setattr(request_sensor, "_PAUSE", timedelta(0))
    monkeypatch.setattr(request_sensor, "ATTEMPTS_WITHOUT_MLFLOW", 2)
    (again,) = run_requests(settings, command="a test")
    assert message in again.sentence
    assert row(prisma) == ("PENDING", None)
    (refused,) = run_requests(settings, command="a test")

    status, why = row(prisma)
    assert status == "FAILED"
    assert why.startswith("started 2 times without claiming this row; the last time: ")
    assert message in why
    assert not refused.success
    assert refused.sentence == f"row 'run_0' is refused: {why}"


def test_what_is_named_twice_is_analysed_once(published: Callable[[str], Settings]) -> None:
    settings = published(f"http://127.0.0.1:{free_port()}")

    analyses = list(run_analyses(settings, [*BOTH, *BOTH], ["change_points"] * 2, command="a test"))

    assert [(analysis.protocol_id, analysis.analysis) for analysis in analyses] == [
        (name, "change_points") for name in BOTH
    ]
