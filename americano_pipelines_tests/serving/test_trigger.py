"""Asking for analyses and syncs: the app's row, who may ask for what, repeated requests, and what is answered then."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg2 import sql

from americano_pipelines.provenance import request_cards
from americano_pipelines.provenance.request_cards import RequestCard
from americano_pipelines.serving import analysis_trigger, unfinished_requests
from americano_pipelines.serving.analysis_trigger import AnalysisTrigger
from americano_pipelines.serving.dagster_client import DagsterClient, DagsterUnavailableError
from americano_pipelines.serving.principals import Principal, Scope
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.requested_analysis import parse_request
from americano_pipelines.settings import load_settings
from americano_pipelines_tests.conftest import Database, Server, cut, free_port
from americano_pipelines_tests.prisma_database import link_url
from americano_pipelines_tests.provenance.records import kept_record
from americano_pipelines_tests.serving.conftest import TLS, Api, start
from americano_pipelines_tests.serving.test_api_examples import CURL, PYTHON, STARTS, of_service
from americano_pipelines_tests.silent_server import silent_server
from americano_pipelines_tests.waiting import wait_until
from americano_pipelines_tests.warehouse.helpers import synced

ABAB = {"protocol": "protocol_1", "kind": "abab_randomization", "parameters": {"direction": "increase"}}


@dataclass(frozen=True)
class Requests:
    """A service with an app: learner_0 has protocol_0, learner_1 has protocol_1. Dagster is away."""

    api: Api
    app: Database

    def post(self, body: Any, key: str | None = None, **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        token = self.api.key("trigger", "admin") if key is None else key
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **names, **({"authorization": f"Bearer {token}"} if token else {})}
        return httpx.post(f"{self.api.url}/analyses", content=content, headers=sent, timeout=60, verify=TLS)

    def rows(self) -> list[tuple[Any, ...]]:
        """The app's rows that this service asked for."""
        return self.app.execute(
            'SELECT id, "protocolId", "analysisType"::text, "inputParams", status::text FROM analysis_runs '
            "WHERE id LIKE 'c%' ORDER BY id"
        )

    def state_of(self, name: str, key: str | None = None) -> dict[str, Any]:
        answer = self.api.get(f"/v1/analyses/{name}", key)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
        assert "etag" not in answer.headers
        (row,) = answer.json()["rows"]
        return dict(row)


@pytest.fixture(scope="module")
def service(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Requests]:
    app = cut(server, "prisma")
    folder = tmp_path_factory.mktemp("trigger")
    values = app.variables(analysis_runs_database_url=link_url(app))
    settings = load_settings(americano_data_dir=folder / "data", log_level="WARNING", **values)
    synced(settings)
    tenants = folder / "tenants.csv"
    tenants.write_text("learner_id,tenant\nlearner_0,school-0\nlearner_1,school-1\n")
    api = start(settings, folder / "api.log", americano_tenants=tenants, americano_api_rate=1_000_000, **values)
    yield Requests(api, app)
    api.stop()
    with closing(server.connect("postgres")) as link, link.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(app.name)))


@pytest.fixture
def requests(service: Requests) -> Iterator[Requests]:
    """The service, without rows of another test."""
    yield service
    service.app.execute("DELETE FROM analysis_runs WHERE id LIKE 'c%'")


def test_a_request_is_a_pending_row_that_is_followed_until_its_end(requests: Requests) -> None:
    answer = requests.post(ABAB)

    assert answer.status_code == 202, answer.text
    (row,) = requests.rows()
    assert row[1:] == ("protocol_1", "ABAB_RANDOMIZATION", {"direction": "increase"}, "PENDING")
    assert answer.headers["location"] == f"/v1/analyses/{row[0]}"
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json()["id"], answer.json()["status"]) == (row[0], "PENDING")
    state = requests.state_of(row[0])
    assert (state["status"], state["error"], state["verdict"], state["protocol_id"]) == (
        "PENDING",
        None,
        None,
        "protocol_1",
    )
    assert state["parameters"] == {"direction": "increase"}
    requests.app.execute(
        'UPDATE analysis_runs SET status = \'RUNNING\', "resultsSummary" = \'{"dagster_run_id": "d1"}\' WHERE id = %s',
        (row[0],),
    )
    state = requests.state_of(row[0])
    assert (state["status"], state["dagster_run_id"]) == ("RUNNING", "d1")
    requests.app.execute(
        "UPDATE analysis_runs SET status = 'FAILED', \"errorMessage\" = 'no days' WHERE id = %s", (row[0],)
    )
    state = requests.state_of(row[0])
    assert (state["status"], state["error"]) == ("FAILED", "no days")
    assert requests.api.get(f"/v1/analyses/{row[0]}.csv").status_code == 404
    assert requests.api.get(f"/v1/analyses/{row[0]}?format=csv").text.startswith('\ufeff"analysis_run_id"')


def test_results_come_with_the_record(requests: Requests) -> None:
    """Also of an analysis that no row was made for, and in the list."""
    settings = requests.api.settings
    row_id = requests.post(ABAB).json()["id"]
    sha256, _ = kept_record(settings, row=row_id, protocol_id="protocol_1")
    without, _ = kept_record(settings, row=None, protocol_id="protocol_0", dagster_run="d2", actor="without a row")
    requests.app.execute(
        "UPDATE analysis_runs SET status = 'COMPLETED', \"resultsSummary\" = %s WHERE id = %s",
        (json.dumps({"provenance_sha256": sha256}), row_id),
    )

    done, alone = requests.state_of(row_id), requests.state_of(without)

    assert (done["status"], done["verdict"], done["record_sha256"]) == ("COMPLETED", "benefit", sha256)
    assert (alone["status"], alone["sentence"], alone["dagster_run_id"]) == ("COMPLETED", "It helped.", "d2")
    assert requests.api.get(f"/v1/analyses/{row_id}/provenance").headers["x-americano-sha256"] == sha256
    listed = {row["record_sha256"]: row for row in requests.api.rows("/v1/analyses?status=completed")}
    assert listed.keys() == {sha256, without}
    assert listed[sha256]["analysis_run_id"] == row_id
    assert listed[without]["analysis_type"] == "ABAB_RANDOMIZATION"
    own = requests.api.key("learner", learner="learner_0")
    assert [row["record_sha256"] for row in requests.api.rows("/v1/analyses?status=completed", own)] == [without]
    assert requests.api.get(f"/v1/analyses/{row_id}", own).status_code == 404
    assert requests.api.get(f"/v1/analyses/{sha256}", own).status_code == 404


def test_pages_of_analyses_list_the_records_of_the_first_page(requests: Requests) -> None:
    settings = requests.api.settings
    kept_record(settings, chained=True, row=None, protocol_id="protocol_0", actor="first")
    first = requests.api.get("/v1/analyses?limit=1")
    kept_record(
        settings,
        chained=True,
        row=None,
        protocol_id="protocol_0",
        actor="later",
        started_at="2035-01-01T00:00:00+00:00",
        ended_at="2035-01-01T00:00:04+00:00",
    )

    following, count = first.json()["next"], 1
    while following:
        page = requests.api.get(following).json()
        following, count = page["next"], count + len(page["rows"])
        assert all(row["started_at"] < "2030" for row in page["rows"])
    newest = requests.api.get("/v1/analyses?limit=1", if_none_match=first.headers["etag"])

    assert newest.json()["rows"][0]["started_at"].startswith("2035")
    assert count == len(requests.api.rows("/v1/analyses")) - 1
    pinned = requests.api.rows(f"/v1/analyses?snapshot={first.headers['x-americano-snapshot']}")
    assert not any((row["started_at"] or "").startswith("2035") for row in pinned)


def test_a_repeated_request_is_one_row(requests: Requests) -> None:
    key = requests.api.key("trigger", "admin")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: requests.post(ABAB, key, idempotency_key="once"), range(20)))

    assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
    (row,) = requests.rows()
    assert {answer.json()["id"] for answer in answers} == {row[0]}
    assert {answer.headers["location"] for answer in answers} == {f"/v1/analyses/{row[0]}"}
    same = requests.post({**ABAB, "kind": "ABAB_RANDOMIZATION"}, idempotency_key="once")
    assert (same.status_code, same.json()["id"]) == (202, row[0])
    requests.app.execute("UPDATE analysis_runs SET status = 'FAILED', \"errorMessage\" = 'no' WHERE id = %s", (row[0],))
    ended = requests.post(ABAB, idempotency_key="once")
    assert (ended.status_code, ended.json()["status"], ended.json()["error"]) == (200, "FAILED", "no")


def test_a_key_of_another_request_is_refused(requests: Requests) -> None:
    requests.post(ABAB, idempotency_key="taken")

    for other in ({"protocol": "protocol_0"}, {"parameters": {}}, {"kind": "change_points", "parameters": {}}):
        answer = requests.post({**ABAB, **other}, idempotency_key="taken")
        assert (answer.status_code, answer.json()["code"]) == (422, "key-in-use")
    assert len(requests.rows()) == 1
    # Where the card is gone, such as on another machine, the row says so.
    for path in request_cards.read_cards(requests.api.settings.paths):
        path.unlink()
    assert requests.post({**ABAB, "protocol": "protocol_0"}, idempotency_key="taken").status_code == 422
    assert len(requests.rows()) == 1


def test_keys_of_principals_do_not_meet(requests: Requests) -> None:
    """Neither does one hit the request of another, nor does an error tell that there is one."""
    api = requests.api
    other = api.key("trigger", "learner", learner="learner_0")
    first = requests.post(ABAB, idempotency_key="shared")

    second = requests.post({**ABAB, "protocol": "protocol_0"}, other, idempotency_key="shared")

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] != second.json()["id"]
    assert api.get(first.headers["location"], other).status_code == 404


@pytest.mark.parametrize(
    ("scopes", "restricted", "protocol", "status"),
    [
        (("trigger", "learner"), {"learner": "learner_0"}, "protocol_0", 202),
        (("trigger", "learner"), {"learner": "learner_0"}, "protocol_1", 404),
        (("trigger", "read"), {"tenants": ("school-1",)}, "protocol_1", 202),
        (("trigger", "read"), {"tenants": ("school-1",)}, "protocol_0", 404),
        (("trigger", "read"), {}, "protocol_0", 202),
        (("admin",), {}, "protocol_0", 202),
        (("admin",), {}, "no-such", 404),
        (("trigger",), {}, "protocol_0", 403),
        (("read",), {}, "protocol_0", 403),
        (("learner",), {"learner": "learner_0"}, "protocol_0", 403),
        (("operator",), {}, "protocol_0", 403),
    ],
)
def test_who_may_start_what(
    requests: Requests, scopes: tuple[str, ...], restricted: dict[str, Any], protocol: str, status: int
) -> None:
    answer = requests.post({**ABAB, "protocol": protocol}, requests.api.key(*scopes, **restricted))

    assert answer.status_code == status, answer.text
    assert [row[1] for row in requests.rows()] == ([protocol] if status == 202 else [])
    if status == 404:
        absent = requests.post({**ABAB, "protocol": "absent"}, requests.api.key(*scopes, **restricted))
        assert absent.content == answer.content


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({**ABAB, "kind": "abab"}, 422, "kind"),
        ({**ABAB, "kind": "training_demo"}, 422, "kind"),
        ({**ABAB, "parameters": {"alpha": 2}}, 422, "parameters.alpha"),
        ({**ABAB, "parameters": {"alpha": "x"}}, 422, "parameters.alpha"),
        ({**ABAB, "parameters": {"unknown": 1}}, 422, "parameters.unknown"),
        ({**ABAB, "parameters": [1]}, 422, "parameters"),
        ({**ABAB, "kind": "BAYESIAN_ITS", "parameters": {"method": "least_squares"}}, 422, "parameters.method"),
        ({**ABAB, "other": 1}, 422, "other"),
        ({"kind": "change_points"}, 422, "protocol"),
        ({**ABAB, "protocol": ""}, 422, "protocol"),
        ([], 422, "body"),
        (b"{", 422, None),
        (b'{"protocol": "\\ud800", "kind": "x"}', 422, None),
        (b'{"protocol": NaN}', 422, None),
        (b" " * (1 << 17), 413, None),
    ],
)  # fmt: skip
def test_a_wrong_body_names_the_field(requests: Requests, body: Any, status: int, field: str | None) -> None:
    answer = requests.post(body)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    if field is not None:
        assert field in {error["parameter"] for error in answer.json()["errors"]}
    assert requests.rows() == []


def test_without_a_key_nothing_of_a_body_is_read(requests: Requests) -> None:
    assert requests.post(b"{", key="").status_code == 401
    assert requests.post(b" " * (1 << 17), key="").status_code == 401
    assert requests.post(ABAB, content_type="text/plain").status_code == 415
    assert requests.post(ABAB, idempotency_key="a b").status_code == 422


def test_what_has_no_row_needs_dagster(requests: Requests) -> None:
    """The app's enum has no word for it."""
    body = {"protocol": "protocol_1", "kind": "interrupted_time_series"}
    before = request_cards.read_cards(requests.api.settings.paths)

    answer = requests.post(body, idempotency_key="away")

    assert (answer.status_code, answer.json()["code"]) == (503, "dagster-unavailable")
    assert answer.headers["retry-after"]
    assert "americano dev" in answer.json()["detail"]
    assert request_cards.read_cards(requests.api.settings.paths).keys() == before.keys()
    assert requests.rows() == []


def test_syncs_are_for_admins_and_need_dagster(requests: Requests) -> None:
    address, keys = f"{requests.api.url}/syncs", requests.api
    for key in (keys.key("trigger"), keys.key("read", "trigger"), keys.key("operator")):
        assert httpx.post(address, headers={"authorization": f"Bearer {key}"}).status_code == 403
    answer = httpx.post(address, headers={"authorization": f"Bearer {keys.key('admin')}"}, timeout=60)
    progress = keys.get(f"/v1/syncs/{'0' * 36}")

    assert (answer.status_code, answer.json()["code"]) == (503, "dagster-unavailable")
    assert "americano sync" in answer.json()["detail"]
    assert (progress.status_code, progress.headers["retry-after"]) == (503, "30")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://elsewhere.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_site_starts_nothing(requests: Requests, headers: dict[str, str]) -> None:
    """A browser sends a password of Basic that it knows with every request, also with that of a foreign form."""
    authorization = ("key", requests.api.key("admin"))

    sync = httpx.post(f"{requests.api.url}/syncs", headers=headers, auth=authorization)
    answer = httpx.post(f"{requests.api.url}/analyses", headers=headers, auth=authorization, json=ABAB)

    assert [(refused.status_code, refused.json()["code"]) for refused in (sync, answer)] == [(403, "foreign-page")] * 2
    assert requests.rows() == []


def test_an_app_that_is_away_is_said(requests: Requests) -> None:
    row_id = requests.post(ABAB).json()["id"]
    before = request_cards.read_cards(requests.api.settings.paths)
    requests.app.execute("ALTER ROLE americano_link CONNECTION LIMIT 0")
    try:
        answer = requests.post(ABAB)
        known = requests.state_of("run_0")
        unknown = requests.api.get(f"/v1/analyses/{row_id}")
    finally:
        requests.app.execute("ALTER ROLE americano_link CONNECTION LIMIT -1")

    assert (answer.status_code, answer.json()["code"]) == (503, "app-unavailable")
    assert requests.app.name not in answer.text
    assert request_cards.read_cards(requests.api.settings.paths).keys() == before.keys()
    assert known["status"] == "PENDING"
    assert unknown.status_code == 503
    assert requests.state_of(row_id)["status"] == "PENDING"


def test_a_protocol_that_the_app_no_longer_has_is_refused(requests: Requests) -> None:
    requests.app.execute("BEGIN; DELETE FROM experiment_protocols WHERE id = 'protocol_0'; COMMIT")
    try:
        answer = requests.post({**ABAB, "protocol": "protocol_0"})
    finally:
        rows = requests.api.rows("/v1/protocols/protocol_0")
        requests.app.execute(
            "INSERT INTO experiment_protocols SELECT (jsonb_populate_record(p, %s)).* FROM experiment_protocols AS p "
            "WHERE id = 'protocol_1'",
            (json.dumps({"id": "protocol_0", "userId": rows[0]["learner_id"]}),),
        )

    assert (answer.status_code, answer.json()["code"]) == (409, "app-refuses")


def test_the_examples_of_the_docs_start_and_follow_an_analysis(requests: Requests, tmp_path: Path) -> None:
    (command,) = [command for command in CURL if STARTS in command]
    (code,) = [code for code in PYTHON if STARTS in code]
    variables = {**os.environ, "KEY": requests.api.key("trigger", "read")}
    if shutil.which("curl") is not None:
        shell = ["/bin/sh", "-c", of_service(command, requests.api)]
        done = subprocess.run(shell, env=variables, cwd=tmp_path, capture_output=True, check=True)
        assert json.loads(done.stdout)["status"] == "PENDING"
        requests.app.execute("DELETE FROM analysis_runs WHERE id LIKE 'c%'")

    example = [sys.executable, "-c", of_service(code, requests.api)]
    with subprocess.Popen(example, env=variables, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        wait_until(lambda: len(requests.rows()) == 1, "the row", seconds=60)
        requests.app.execute("UPDATE analysis_runs SET status = 'FAILED', \"errorMessage\" = 'no' WHERE id LIKE 'c%'")
        out, _ = process.communicate(timeout=60)

    assert (process.returncode, out) == (0, "FAILED no\n")


def test_a_web_server_that_does_not_answer_is_away() -> None:
    with silent_server() as silent, pytest.MonkeyPatch.context() as patch:
        patch.setattr("americano_pipelines.serving.dagster_client._READ_SECONDS", 0.2)
        with pytest.raises(DagsterUnavailableError) as away:
            DagsterClient(silent.url).run("none")
        assert away.value.may_have_started
    with pytest.raises(DagsterUnavailableError) as away:
        DagsterClient(f"http://127.0.0.1:{free_port()}").run("none")
    assert not away.value.may_have_started


RESEARCHER = Principal("key 1", frozenset({Scope.READ, Scope.TRIGGER}))


def test_a_principal_has_so_many_unfinished_requests(requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished_requests, "MAX_UNFINISHED", 3)
    trigger = AnalysisTrigger(requests.api.settings)
    request = parse_request("protocol_1", "abab_randomization", {})
    first = [trigger.accept(RESEARCHER, request, str(number)).card.request_id for number in range(3)]

    with pytest.raises(Problem) as refused:
        trigger.accept(RESEARCHER, request, "one too many")

    assert (refused.value.status, refused.value.code) == (429, "too-many-unfinished")
    assert len(requests.rows()) == 3
    assert not trigger.accept(RESEARCHER, request, "0").is_new
    assert trigger.accept(replace(RESEARCHER, name="key 2"), request, "0").is_new
    again = AnalysisTrigger(requests.api.settings)
    with pytest.raises(Problem):
        again.accept(RESEARCHER, request, "after a restart")
    requests.app.execute("UPDATE analysis_runs SET status = 'COMPLETED' WHERE id = %s", (first[0],))
    assert again.accept(RESEARCHER, request, "after an end").is_new
    # Dagster is away, so it is not known whether its runs have ended.
    third, moment = replace(RESEARCHER, name="key 3"), datetime.now(UTC)
    for number in range(4):
        card = RequestCard(
            request_id=f"c{number:024}", principal="key 3", protocol_id="protocol_1", analysis="change_points",
            parameters={}, requested_at=moment, launched_at=moment, dagster_run_id=f"run {number}",
        )  # fmt: skip
        assert request_cards.create_card(requests.api.settings.paths, card)
    assert AnalysisTrigger(requests.api.settings).accept(third, request, "with a row").is_new


@dataclass
class LateDagster:
    """A web server that starts each run, and answers after its client has given up."""

    url: str
    runs: list[str] = field(default_factory=list)
    launches: int = 0
    creates_runs: bool = False


@contextmanager
def late_dagster() -> Iterator[LateDagster]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if "launchRun" in query:
                late.launches += 1
                return  # the connection closes without an answer
            run = {"status": "QUEUED", "startTime": None, "endTime": None, "creationTime": 1.0, "jobName": "analyses"}
            results = [{"runId": "run-1", **run}] if late.creates_runs else []
            content = json.dumps({"data": {"runsOrError": {"__typename": "Runs", "results": results}}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        late = LateDagster(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield late
        server.shutdown()


def test_a_launch_without_an_answer_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster may create its run long after the client has given up waiting."""
    request = parse_request("protocol_1", "interrupted_time_series", {})
    with late_dagster() as late:
        settings = load_settings(americano_data_dir=tmp_path, americano_dagster_url=late.url)
        for _ in range(3):  # each as after a restart
            with pytest.raises(Problem) as away:
                AnalysisTrigger(settings).accept(RESEARCHER, request, "once")
            assert (away.value.status, away.value.code) == (503, "dagster-unavailable")
        assert late.launches == 1

        late.creates_runs = True
        accepted = AnalysisTrigger(settings).accept(RESEARCHER, request, "once")
        assert (accepted.card.dagster_run_id, late.launches) == ("run-1", 1)

        late.creates_runs = False
        with pytest.raises(Problem):
            AnalysisTrigger(settings).accept(RESEARCHER, request, "twice")
        monkeypatch.setattr(analysis_trigger, "_ANSWER_OVERDUE", timedelta(0))
        with pytest.raises(Problem):
            AnalysisTrigger(settings).accept(RESEARCHER, request, "twice")
        assert late.launches == 3
