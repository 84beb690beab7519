"""`americano dev`: the Dagster UI and daemon, and what a browser shows of a sync."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from americano_pipelines_tests.conftest import Done, environment, free_port
from americano_pipelines_tests.defs.conftest import events_query, write_parquet
from americano_pipelines_tests.service_processes import COMMAND, DEAF, end_family, family_of, listening_addresses
from americano_pipelines_tests.waiting import wait_until

FOREIGN = "/nowhere/foreign.parquet"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]


@dataclass(frozen=True)
class Running:
    process: psutil.Process
    port: int
    api_port: int
    log: Path
    variables: dict[str, str]

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
        return family_of(self.process)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A data folder with one sync, and `americano dev` on it."""
    folder = tmp_path_factory.mktemp("dev")
    file = write_parquet(folder / "events.parquet", events_query(1234))
    variables = environment(folder / "data", behavioral_events_parquet=file)
    subprocess.run([*COMMAND, "sync"], env=variables, check=True, capture_output=True, timeout=120)
    # Where they start, Dagster's commands let a `.env` win over the environment.
    (folder / ".env").write_text(f"BEHAVIORAL_EVENTS_PARQUET={FOREIGN}\n")
    port, api_port = free_port(), free_port()
    process = _start(variables, port, api_port, folder / "log", cwd=folder)
    running = Running(psutil.Process(process.pid), port, api_port, folder / "log", variables)
    try:
        wait_until(lambda: _loaded(running), f"the code location, see {folder / 'log'}", seconds=120)
        yield running
    finally:
        end_family(process, running.family(), signal.SIGINT, seconds=60)  # as Ctrl-C does


def _start(
    variables: dict[str, str], port: int, api_port: int, log: Path, cwd: Path | None = None
) -> "subprocess.Popen[bytes]":
    with log.open("w") as output:
        return subprocess.Popen(
            [*DEAF, "dev", "--port", str(port), "--api-port", str(api_port)],
            env=variables, cwd=cwd, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


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


def test_it_listens_on_this_machine_only(ui: Running) -> None:
    listening = listening_addresses(ui.family())

    assert ("127.0.0.1", ui.port) in listening
    assert {host for host, _ in listening} <= {"127.0.0.1", "::1"}


def test_a_port_that_is_taken_is_refused(ui: Running, cli: Callable[..., Done], tmp_path: Path) -> None:
    done = cli("dev", "--port", str(ui.port))
    api = cli("dev", "--port", str(free_port()), "--api-port", str(ui.api_port))

    assert (done.code, api.code) == (2, 2)
    assert f"127.0.0.1:{ui.port} cannot be used" in done.err
    assert f"127.0.0.1:{ui.api_port} cannot be used" in api.err
    assert "--api-port" in api.err
    assert not (tmp_path / "data").exists()


def test_the_api_answers_from_what_was_synced(ui: Running) -> None:
    health = urllib.request.urlopen(f"http://127.0.0.1:{ui.api_port}/v1/health", timeout=20)

    assert json.load(health) == {"status": "ok"}


def test_graphql_serves_the_location_and_its_record(ui: Running) -> None:
    data = ui.ask(
        '{ assetOrError(assetKey: {path: ["analytics", "behavioral_events"]}) { ... on Asset {'
        " assetMaterializations(limit: 1) { metadataEntries { label ... on IntMetadataEntry { intValue } } } } }"
        " instance { daemonHealth { allDaemonStatuses { daemonType required } } } }"
    )
    (materialization,) = data["assetOrError"]["assetMaterializations"]

    assert {"label": "dagster/row_count", "intValue": 1234} in materialization["metadataEntries"]
    required = {d["daemonType"] for d in data["instance"]["daemonHealth"]["allDaemonStatuses"] if d["required"]}
    assert {"SCHEDULER", "SENSOR"} <= required


def test_the_history_of_the_job_and_the_timeline_have_the_run_of_the_shell(ui: Running) -> None:
    data = ui.ask(
        '{ pipelineOrError(params: {pipelineName: "nightly_sync", repositoryName: "__repository__", '
        'repositoryLocationName: "americano_pipelines"}) { ... on Pipeline { runs(limit: 5) { status } } } '
        "runsOrError(limit: 5) { ... on Runs { results { pipelineName tags { key } "
        "repositoryOrigin { repositoryName repositoryLocationName } } } } }"
    )
    (run,) = data["runsOrError"]["results"]

    assert data["pipelineOrError"]["runs"] == [{"status": "SUCCESS"}]
    # The timeline has a row for each job by these three names, and leaves out a run without an origin.
    assert run["pipelineName"] == "nightly_sync"
    assert run["repositoryOrigin"] == {
        "repositoryName": "__repository__",
        "repositoryLocationName": "americano_pipelines",
    }
    assert {tag["key"] for tag in run["tags"]} <= {"dagster/code_location"}, "the others are for programs"


def test_a_foreign_env_file_where_it_starts_has_no_effect(ui: Running) -> None:
    data = ui.ask(
        '{ assetNodeOrError(assetKey: {path: ["files", "behavioral_events"]}) { ... on AssetNode {'
        " metadataEntries { label ... on PathMetadataEntry { path } } } } }"
    )
    entries = {entry["label"]: entry.get("path") for entry in data["assetNodeOrError"]["metadataEntries"]}

    assert entries["path"] == ui.variables["BEHAVIORAL_EVENTS_PARQUET"] != FOREIGN


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


def test_a_second_one_on_the_same_home_is_refused(ui: Running) -> None:
    done = subprocess.run(
        [*COMMAND, "dev", "--port", str(free_port()), "--api-port", str(free_port())],
        env=ui.variables,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 2
    assert "runs already on this Dagster home" in done.stderr
    assert f"process {ui.process.pid} of" in done.stderr
    assert f"http://127.0.0.1:{ui.port}" in done.stderr


DELETE = 'mutation { deletePipelineRun(runId: "none") { __typename } }'
LOOK = "{ version }"


def test_the_version_of_the_web_server_is_the_one_the_guard_was_made_for() -> None:
    assert version("dagster-webserver") == "1.13.27"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {}),
        ("GET", {"Accept": "text/html"}),
        ("HEAD", {}),
        ("POST", {"Host": "rebound.example:{port}"}),
        ("POST", {"Host": "127.0.0.1"}),
        ("POST", {"Host": "127.0.0.1:1"}),
        ("POST", {"Host": "127.0.0.1.rebound.example:{port}"}),
        ("POST", {"Origin": "http://rebound.example"}),
        ("POST", {"Origin": "http://127.0.0.1:1"}),
        ("POST", {"Origin": "https://127.0.0.1:{port}"}),
        ("POST", {"Origin": "null"}),
        ("POST", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", {"Sec-Fetch-Site": "same-site"}),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}),
    ],
)
@pytest.mark.parametrize("query", [DELETE, LOOK])
def test_a_foreign_request_is_refused(ui: Running, method: str, headers: dict[str, str], query: str) -> None:
    status, text = _send(ui, method, headers, query)

    assert status == 403
    assert text.startswith("refused: ") or method == "HEAD"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:{port}"},
        {"Host": "[::1]:{port}", "Origin": "http://[::1]:{port}"},
        {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_a_request_of_its_own_pages_or_of_a_program_is_answered(ui: Running, headers: dict[str, str]) -> None:
    status, text = _send(ui, "POST", headers, DELETE)

    assert (status, json.loads(text)["data"]["deletePipelineRun"]["__typename"]) == (200, "RunNotFoundError")


def test_pages_are_for_links_and_not_for_frames_and_scripts_of_others(ui: Running) -> None:
    def look(path: str, destination: str, mode: str) -> int:
        headers = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
        return _send(ui, "GET", headers, None, path)[0]

    assert look("/runs", "document", "navigate") == 200  # a link in MLflow's pages
    assert look("/runs", "iframe", "navigate") == 403
    assert look("/server_info", "script", "no-cors") == 403
    assert look("/server_info", "empty", "cors") == 403


def test_a_websocket_of_another_page_is_refused(ui: Running) -> None:
    def open_socket(origin: Origin | None, host: str | None = None) -> str:
        address = f"ws://{host or '127.0.0.1'}:{ui.port}/graphql"
        with connect(
            address, origin=origin, sock=socket.create_connection(("127.0.0.1", ui.port)),
            subprotocols=[Subprotocol("graphql-ws")], open_timeout=30,
        ) as link:  # fmt: skip
            link.send(json.dumps({"type": "connection_init", "payload": {}}))
            return str(json.loads(link.recv(timeout=30))["type"])

    assert open_socket(None) == "connection_ack"
    assert open_socket(Origin(f"http://127.0.0.1:{ui.port}")) == "connection_ack"
    for origin, host in ((Origin("http://rebound.example"), None), (Origin("null"), None), (None, "rebound.example")):
        with pytest.raises(InvalidStatus) as refused:
            open_socket(origin, host)
        assert refused.value.response.status_code == 403


def _send(
    ui: Running, method: str, headers: dict[str, str], query: str | None, path: str = "/graphql"
) -> tuple[int, str]:
    """Send a request with these headers, `{port}` being the web server's, and no others that say whence it comes."""
    link = http.client.HTTPConnection("127.0.0.1", ui.port, timeout=30)
    body = None
    if query and method == "POST":
        body = json.dumps({"query": query})
    elif query:
        path = f"{path}?{urlencode({'query': query})}"
    sent_headers = {name: value.replace("{port}", str(ui.port)) for name, value in headers.items()}
    link.request(method, path, body, {"Content-Type": "application/json"} | sent_headers)
    answer = link.getresponse()
    text = answer.read().decode()
    link.close()
    return answer.status, text


STARTING = """
import sys
from pathlib import Path
from americano_pipelines.cli.services import listen_to_signals, exclusive_lock, run_services
listen_to_signals()
with exclusive_lock(Path(sys.argv[1]), "a test") as lock:
    print("go", flush=True)
    run_services([["sleep", sys.argv[2]], ["sleep", sys.argv[2]]], lock=lock, port=1)
"""


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGKILL))],
)
def test_a_signal_while_services_start_leaves_none_of_them(number: signal.Signals, tmp_path: Path) -> None:
    seconds = f"9{os.getpid()}"
    for milliseconds in range(0, 24, 3):
        process = subprocess.Popen(
            [sys.executable, "-c", STARTING, str(tmp_path / "dev.lock"), seconds],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        time.sleep(milliseconds / 1000)
        process.send_signal(number)
        process.communicate(timeout=30)

        wait_until(lambda: not _sleeping(seconds), f"the end of all after {milliseconds} ms", seconds=15)


def _sleeping(seconds: str) -> list[int]:
    return [process.pid for process in psutil.process_iter(["cmdline"]) if seconds in (process.info["cmdline"] or ())]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_one_that_was_started_by_a_script(number: signal.Signals, tmp_path: Path) -> None:
    port, api_port = free_port(), free_port()
    variables = environment(tmp_path / "data")
    process = _start(variables, port, api_port, tmp_path / "log")
    running = Running(psutil.Process(process.pid), port, api_port, tmp_path / "log", variables)
    family = [running.process]
    try:
        wait_until(lambda: _loaded(running), f"the code location, see {tmp_path / 'log'}", seconds=120)
        family = running.family()
    finally:
        end_family(process, family, number, seconds=90, others=60)
    assert len(family) > 4


@pytest.mark.slow
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
            for group in ("experiments", "mirrors", "research", "source"):
                page.get_by_text(group, exact=True).first.wait_for()
        finally:
            browser.close()
