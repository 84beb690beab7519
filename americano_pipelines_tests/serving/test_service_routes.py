"""The service itself: how it starts, whom it answers, what it says about itself."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from americano_pipelines.settings import Settings
from americano_pipelines.settings.cron import check_cron, last_tick
from americano_pipelines_tests.conftest import environment
from americano_pipelines_tests.serving.conftest import COMMAND, Api
from americano_pipelines_tests.serving.published import HTML

LOADED = """
import json, sys, time
from americano_pipelines.settings import load_settings
from americano_pipelines.serving.application import build_application
build_application(load_settings())
print(json.dumps([sorted({name.partition(".")[0] for name in sys.modules}), time.process_time()]))
"""


def test_it_starts_without_dagster_and_mlflow(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], env=environment(tmp_path / "data"), capture_output=True, text=True, check=True
    )
    modules, seconds = json.loads(done.stdout)

    assert {"dagster", "mlflow", "pandas", "scipy", "matplotlib", "psycopg2", "fastapi_offline"} & set(modules) == set()
    # Of the processor, because other programs run too; the whole start may take 3 s.
    assert seconds < 3


def test_it_listens_on_this_machine_only(api: Api) -> None:
    import psutil

    addresses = {c.laddr.ip for c in psutil.Process(api.process.pid).net_connections() if c.status == "LISTEN"}

    assert addresses == {"127.0.0.1"}


def test_a_port_in_use_is_an_error(api: Api, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--port", str(api.port)],
        env=environment(tmp_path / "data"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(api.port) in done.stderr


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("evil.example:{port}", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("", 421),
    ],
)
def test_foreign_hosts_are_refused(api: Api, host: str, status: int) -> None:
    """A page of another site can reach 127.0.0.1 by a name of its own."""
    answer = httpx.get(f"{api.url}/health", headers={"host": host.format(port=api.port)})

    assert answer.status_code == status
    if status == 421:
        assert answer.headers["content-type"] == "application/problem+json"


def test_other_hosts_are_answered_if_the_settings_name_them(example: Settings, serve: Callable[..., Api]) -> None:
    api = serve(example, americano_api_hosts="data.example.org,127.0.0.1")

    assert httpx.get(f"{api.url}/health", headers={"host": "data.example.org"}).status_code == 200
    assert httpx.get(f"{api.url}/health", headers={"host": "localhost"}).status_code == 421


@pytest.mark.parametrize("path", ["/v1/health", "/v1/protocols", "/v1/nothing", "/v1/docs", "/v1/protocols?limit=0"])
def test_every_answer_has_security_headers(api: Api, path: str) -> None:
    headers = api.get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "public" not in headers["cache-control"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nothing", 404, "not-found"),
        ("/v1", 404, "not-found"),
        ("/v1/protocols/", 404, "not-found"),
        ("/v1/protocols/a/b/c", 404, "not-found"),
        ("/v1/protocols?limit=0", 422, "invalid-parameters"),
        ("/v1/protocols?limit=10001", 422, "invalid-parameters"),
        ("/v1/protocols?format=xlsx", 422, "invalid-parameters"),
        ("/v1/protocols?snapshto=x", 422, "invalid-parameters"),
        ("/v1/protocols?protocol=x", 422, "invalid-parameters"),
        ("/v1/reports/daily?verdict=x", 422, "invalid-parameters"),
        (f"/v1/protocols/{'x' * 201}", 422, "invalid-parameters"),
        ("/v1/analyses/nothing/provenance", 404, "not-found"),
        (f"/v1/analyses/{'0' * 64}/provenance", 404, "not-found"),
    ],
)
def test_errors_are_problem_documents(api: Api, path: str, status: int, code: str) -> None:
    answer = api.get(path)
    document = answer.json()

    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    assert set(document) >= {"type", "title", "status", "code", "detail"}


def test_other_methods_are_refused(api: Api) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = httpx.request(method, f"{api.url}/protocols")
        assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")


def test_html_in_names_stays_text(api: Api) -> None:
    answer = api.get("/v1/protocols")

    assert HTML in answer.json()["rows"][0]["protocol_name"]
    assert answer.headers["content-type"] == "application/json"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_readiness_says_how_old_the_file_is(api: Api) -> None:
    document = api.get("/v1/ready", api.key("operator")).json()

    assert (document["status"], document["late"]) == ("ready", False)
    assert 0 <= document["age_seconds"] < 3600
    assert api.get("/v1/ready", api.key("learner", learner="learner-1")).status_code == 403


def test_a_file_from_before_the_last_scheduled_sync_is_late(
    example: Settings,
) -> None:
    from americano_pipelines.serving import service_routes
    from americano_pipelines.serving.published_pool import PublishedPool

    pool = PublishedPool(example)
    snapshot = pool.lease()
    try:
        age = service_routes.snapshot_age
        assert age(example, snapshot)["late"] is False
        later = snapshot.record.model_copy(update={"instant": "2026-01-01T00:00:00+00:00"})
        snapshot.record = later
        assert age(example, snapshot)["late"] is True
    finally:
        pool.close()


def test_metrics_are_prometheus_text(api: Api) -> None:
    api.get("/v1/protocols")
    answer = api.get("/v1/metrics", api.key("operator"))

    assert answer.headers["content-type"].startswith("text/plain")
    for name in ("americano_snapshot_age_seconds", "americano_snapshot_late", "americano_failed_checks"):
        assert f"\n{name} " in answer.text
    assert 'americano_api_requests_total{route="/v1/protocols",status="200"}' in answer.text
    assert "learner-" not in answer.text


def test_snapshots_say_no_numbers_of_rows(api: Api) -> None:
    entries = api.get("/v1/snapshots", api.key("learner", learner="learner-1")).json()["snapshots"]

    assert [set(entry) for entry in entries] == [{"snapshot_id", "instant", "built_at", "sha256", "current"}]


def test_the_description_is_complete(api: Api) -> None:
    document = api.get("/v1/openapi.json").json()
    operations = {path: entry.get("get") or entry["post"] for path, entry in document["paths"].items()}

    assert len(operations) == 23
    for path, operation in operations.items():
        assert operation["summary"], path
        for parameter in operation.get("parameters", []):
            assert parameter.get("description") or parameter["name"] in {
                "protocol", "kind", "standing", "verdict", "status"
            }, (path, parameter)  # fmt: skip
        if path != "/v1/health":
            assert {"401", "429", "503"} <= set(operation["responses"]), path
            assert {"200", "202"} & set(operation["responses"]), path
    table = operations["/v1/protocols/{protocol}/series"]["responses"]["200"]
    assert set(table["content"]) == {
        "application/json", "text/csv", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
    }  # fmt: skip
    assert table["content"]["application/json"]["example"]["rows"]
    assert {"ETag", "Last-Modified", "X-Americano-Snapshot"} <= set(table["headers"])


def test_the_page_of_the_description_loads_nothing_from_elsewhere(api: Api) -> None:
    page = api.get("/v1/docs")
    names = re.findall(r'(?:href|src)="([^"]+)"', page.text)

    assert len(names) == 4
    assert all(name.startswith("docs/") for name in names)
    for name in names:
        assert api.get(f"/v1/{name}").status_code == 200
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert api.get("/v1/docs/..%2f..%2fcore.py").status_code == 404
    assert api.get("/v1/docs/redoc.standalone.js").status_code == 404


def test_it_ends_within_seconds(example: Settings, serve: Callable[..., Api]) -> None:
    # A shell starts background processes with INT ignored, and children inherit that.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        api = serve(example)
    finally:
        signal.signal(signal.SIGINT, handler)
    api.rows("/v1/protocols")
    started = time.monotonic()
    api.stop()

    assert time.monotonic() - started < 15
    assert api.process.returncode == 1  # as every command that Ctrl-C ends
    assert "Traceback" not in api.log.read_text()


@pytest.mark.parametrize(
    ("line", "moment", "tick"),
    [
        ("0 2 * * *", "2026-03-05T02:00:00", "2026-03-05T02:00:00"),
        ("0 2 * * *", "2026-03-05T01:59:59", "2026-03-04T02:00:00"),
        ("30 */6 * * *", "2026-03-05T01:00:00", "2026-03-05T00:30:00"),
        ("0 5 * * 0", "2026-03-05T12:00:00", "2026-03-01T05:00:00"),
        ("0 5 * * 7", "2026-03-05T12:00:00", "2026-03-01T05:00:00"),
        ("0 5 29 2 *", "2026-03-05T12:00:00", "2024-02-29T05:00:00"),
        ("0 5 1 * mon", "2026-03-05T12:00:00", "2026-03-02T05:00:00"),
        ("0 5 1,4 * mon", "2026-03-05T12:00:00", "2026-03-04T05:00:00"),
    ],
)
def test_the_last_tick_of_a_schedule(line: str, moment: str, tick: str) -> None:
    zone = ZoneInfo("Europe/Berlin")

    result = last_tick(check_cron(line), datetime.fromisoformat(moment).replace(tzinfo=zone))

    assert result == datetime.fromisoformat(tick).replace(tzinfo=zone)


# The first example imports Dagster.
@examples(deadline=None)
@given(
    minute=st.sampled_from(["*", "0", "*/17", "5-9"]),
    hour=st.sampled_from(["*", "2", "1-5/2", "22,3"]),
    day=st.sampled_from(["*", "1", "*/2", "15,31"]),
    month=st.sampled_from(["*", "2", "nov-feb"]),
    weekday=st.sampled_from(["*", "mon", "0", "1-5"]),
    moment=st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - the zone follows
)
def test_ticks_are_those_of_the_scheduler(
    minute: str, hour: str, day: str, month: str, weekday: str, moment: datetime
) -> None:
    from dagster._vendored.croniter import croniter

    line = f"{minute} {hour} {day} {month} {weekday}"
    try:
        check_cron(line)
    except ValueError:
        return
    zoned = moment.replace(tzinfo=UTC)
    expected = next(
        tick for tick in croniter(line, zoned.timestamp() + 60, ret_type=float).all_prev() if tick <= zoned.timestamp()
    )

    tick = last_tick(line, zoned)

    assert tick is not None
    assert tick.timestamp() == expected
