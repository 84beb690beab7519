"""`americano dev`: the Dagster UI and daemon, and what a browser shows of a sync."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from americano_pipelines_tests.cli.conftest import Done
from americano_pipelines_tests.conftest import environment, free_port
from americano_pipelines_tests.defs.conftest import events_query, wait_until, write_parquet

# What a shell starts in its background ignores SIGINT, and so does what that starts: this suite may be such a thing.
LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = [sys.executable, "-c", f"{LISTEN}; from americano_pipelines.cli import main; main()"]
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]


@dataclass(frozen=True)
class Running:
    process: psutil.Process
    port: int
    log: Path

    def ask(self, query: str) -> Any:
        """Ask the web server's GraphQL."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - http, see above  # noqa: S310 - our own server
            return json.load(answer)["data"]

    def family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A data folder with one sync, and `americano dev` on it."""
    folder = tmp_path_factory.mktemp("dev")
    file = write_parquet(folder / "events.parquet", events_query(1234))
    variables = environment(folder / "data", behavioral_events_parquet=file)
    subprocess.run([*COMMAND, "sync"], env=variables, check=True, capture_output=True, timeout=120)
    port = free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, "dev", "--port", str(port)], env=variables, stdout=log, stderr=log, start_new_session=True
        )
    running = Running(psutil.Process(process.pid), port, folder / "log")
    try:
        wait_until(lambda: _loaded(running), f"the code location, see {folder / 'log'}", seconds=90)
        yield running
    finally:
        _stop(running, process)


def _loaded(running: Running) -> bool:
    with suppress(OSError):
        entries = running.ask(
            "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus "
            "locationOrLoadError { __typename } } } } }"
        )["workspaceOrError"]["locationEntries"]
        return [(e["name"], e["loadStatus"], (e["locationOrLoadError"] or {}).get("__typename")) for e in entries] == [
            ("americano_pipelines", "LOADED", "RepositoryLocation")
        ]
    return False


def _stop(running: Running, process: "subprocess.Popen[bytes]") -> None:
    """Stop it as Ctrl-C does; nothing of it may be left."""
    family = running.family()
    os.kill(process.pid, signal.SIGINT)
    try:
        process.wait(timeout=60)
        _, alive = psutil.wait_procs(family[1:], timeout=20)
    finally:
        for left in family:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait(timeout=10)
    assert alive == [], f"still running after Ctrl-C: {[one.cmdline() for one in alive]}"


def test_it_listens_on_this_machine_only(ui: Running) -> None:
    listening = set()
    for process in ui.family():
        with suppress(psutil.NoSuchProcess):
            listening |= {c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}

    assert ("127.0.0.1", ui.port) in {(address.ip, address.port) for address in listening}
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_a_port_that_is_taken_is_refused(ui: Running, cli: Callable[..., Done], tmp_path: Path) -> None:
    done = cli("dev", "--port", str(ui.port))

    assert done.code == 2
    assert f"127.0.0.1:{ui.port} cannot be used" in done.err
    assert not (tmp_path / "data").exists()


def test_graphql_serves_the_location_and_its_record(ui: Running) -> None:
    data = ui.ask(
        '{ assetOrError(assetKey: {path: ["analytics", "behavioral_events"]}) { ... on Asset {'
        " assetMaterializations(limit: 1) { metadataEntries { label ... on IntMetadataEntry { intValue } } } } }"
        " instance { daemonHealth { allDaemonStatuses { daemonType required } } } }"
    )
    (made,) = data["assetOrError"]["assetMaterializations"]

    assert {"label": "dagster/row_count", "intValue": 1234} in made["metadataEntries"]
    required = {d["daemonType"] for d in data["instance"]["daemonHealth"]["allDaemonStatuses"] if d["required"]}
    assert {"SCHEDULER", "SENSOR"} <= required


def test_schedule_and_sensor_are_on(ui: Running) -> None:
    data = ui.ask(
        "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError "
        "{ ... on RepositoryLocation { repositories { schedules { name scheduleState { status } } "
        "sensors { name sensorState { status } } } } } } } } }"
    )
    (entry,) = data["workspaceOrError"]["locationEntries"]
    (repository,) = entry["locationOrLoadError"]["repositories"]

    assert {s["name"]: s["scheduleState"]["status"] for s in repository["schedules"]} == {
        "deep_check_schedule": "RUNNING",
        "nightly_sync_schedule": "RUNNING",
    }
    assert {s["name"]: s["sensorState"]["status"] for s in repository["sensors"]} == {
        "parquet_arrival": "RUNNING",
        "run_outcome": "RUNNING",
    }


def test_a_browser_shows_the_table_and_the_lineage(ui: Running) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.set_default_timeout(60_000)
            page.goto(f"http://127.0.0.1:{ui.port}/assets/analytics/behavioral_events")
            page.get_by_text("1,234").first.wait_for()
            for column in ("event_id", "learner_id", "event_time"):
                page.get_by_text(column, exact=True).first.wait_for()
            page.goto(f"http://127.0.0.1:{ui.port}/asset-groups")
            for group in ("analytics", "research", "source"):
                page.get_by_text(group, exact=True).first.wait_for()
        finally:
            browser.close()
