"""Requests carried through `americano dev`, with Dagster's real web server and daemon, to their end."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from americano_pipelines.provenance.archive import records
from americano_pipelines.serving.api_keys import KeyCard, create_key
from americano_pipelines.serving.dagster_client import DagsterClient, DagsterUnavailableError
from americano_pipelines.serving.principals import Scope
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, environment, free_port
from americano_pipelines_tests.defs.analyses.prepared_folder import prepare_analyses
from americano_pipelines_tests.prisma_database import row
from americano_pipelines_tests.service_processes import COMMAND, end_family, family_of
from americano_pipelines_tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE = 300


@dataclass(frozen=True)
class Running:
    settings: Settings
    api: httpx.Client
    dagster: DagsterClient
    log: Path

    def follow(self, location: str) -> list[tuple[float, str]]:
        """The states of an analysis until it has ended, each with the seconds since now."""
        started, states = time.monotonic(), []
        while not states or states[-1][1] not in {"COMPLETED", "FAILED"}:
            assert time.monotonic() - started < PATIENCE, (states, self.log.read_text()[-5000:])
            (state,) = self.api.get(location).raise_for_status().json()["rows"]
            if not states or states[-1][1] != state["status"]:
                states.append((round(time.monotonic() - started, 1), state["status"]))
            time.sleep(0.2)
        return states


@pytest.fixture
def running(
    prisma: Database, settings_for: Callable[..., Settings], empty_store: Path, tmp_path: Path
) -> Iterator[Running]:
    prisma.execute("DELETE FROM analysis_runs")
    values, settings = prepare_analyses(prisma, settings_for, empty_store)
    scopes = frozenset({Scope.TRIGGER, Scope.ADMIN})
    key = create_key(settings, KeyCard(name="of a test", scopes=scopes, created_at=datetime.now(UTC)))
    port, api_port, log = free_port(), free_port(), tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*COMMAND, "dev", "--port", str(port), "--api-port", str(api_port)],
            env=environment(settings.paths.root, **values), stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{api_port}", headers=headers, timeout=60) as api:
        started = Running(settings, api, DagsterClient(f"http://127.0.0.1:{port}"), log)
        try:
            wait_until(lambda: _answers(started), f"both services, see {log}", seconds=PATIENCE)
            yield started
        finally:
            end_family(process, family_of(psutil.Process(process.pid)), signal.SIGINT, seconds=60)


def _answers(running: Running) -> bool:
    with suppress(DagsterUnavailableError, httpx.TransportError):
        running.dagster.tagged("none", "none")
        return running.api.get("/v1/health").status_code == 200
    return False


def test_requests_are_carried_out_once_and_followed_to_their_end(running: Running, prisma: Database) -> None:
    api, once = running.api, {"idempotency-key": "once"}
    with_row = {"protocol": "protocol_1", "kind": "abab_randomization", "parameters": {"draws": 999}}
    without = {"protocol": "protocol_1", "kind": "interrupted_time_series"}

    answer = api.post("/v1/analyses", json=with_row, headers=once)
    assert answer.status_code == 202, answer.text
    timeline = running.follow(answer.headers["location"])

    print(f"\na request with a row: {timeline}")  # noqa: T201
    assert timeline[-1][1] == "COMPLETED", api.get(answer.headers["location"]).text
    assert timeline[0][1] == "PENDING"
    name = answer.json()["id"]
    (done,) = api.get(answer.headers["location"]).json()["rows"]
    assert (done["error"], done["analysis_type"]) == (None, "ABAB_RANDOMIZATION")
    assert done["sentence"]
    assert row(prisma, name) == ("COMPLETED", None)
    repeated = api.post("/v1/analyses", json=with_row, headers=once)
    assert (repeated.status_code, repeated.json()["id"], repeated.json()["status"]) == (200, name, "COMPLETED")
    assert prisma.execute("SELECT count(*) FROM analysis_runs") == [(1,)]
    (record,) = [record for _, record in records(running.settings.paths) if record.identity.analysis_run_id == name]
    assert record.identity.actor.startswith("POST /v1/analyses by key ")

    with ThreadPoolExecutor(5) as pool:
        answers: list[Any] = list(
            pool.map(lambda _: api.post("/v1/analyses", json=without, headers={"idempotency-key": "none"}), range(5))
        )
    assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
    assert len({answer.json()["dagster_run_id"] for answer in answers}) == 1
    timeline = running.follow(answers[0].headers["location"])
    print(f"a request without a row: {timeline}")  # noqa: T201
    assert timeline[-1][1] == "COMPLETED"
    listed = {row["record_sha256"] for row in api.get("/v1/analyses").json()["rows"]}
    assert listed == {sha256 for sha256, _ in records(running.settings.paths)}
    assert len(listed) == 2

    failing = api.post("/v1/analyses", json={**without, "parameters": {"outcome": "no_such_column"}})
    sync_run = api.post("/v1/syncs")
    second = api.post("/v1/syncs")
    assert sync_run.status_code == 202, sync_run.text
    assert (second.status_code, second.json()["code"]) == (409, "sync-under-way")
    assert second.headers["location"] == sync_run.headers["location"]
    assert api.get(sync_run.headers["location"]).json()["status"] in {"PENDING", "RUNNING", "COMPLETED"}
    assert running.follow(failing.headers["location"])[-1][1] == "FAILED"
    (failed,) = api.get(failing.headers["location"]).json()["rows"]
    assert "no_such_column" in failed["error"]
