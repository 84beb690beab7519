"""What one request may cost: time, slots, memory, and how often a principal may ask."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.rate_limits import RateLimit
from americano_pipelines.settings import Settings
from americano_pipelines_tests.serving.conftest import Api
from americano_pipelines_tests.serving.published import publish_example

SLOW = "/v1/reports/by-protocol"
RESEARCHER = ("school-0",)
LARGE = 200_000
MIB = 1 << 20


@pytest.fixture(scope="module")
def slow_file(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A file in which one learner has 3,000 overlapping phases: which phase an event falls into takes long."""
    data_dir = tmp_path_factory.mktemp("slow") / "data"
    return publish_example(
        data_dir,
        behavioral_events="""
            SELECT 'e' || i AS id, TIMESTAMP '2025-01-01' + i * INTERVAL 1 SECOND AS timestamp, 'l' AS "userId"
            FROM range(20) AS r(i)""",
        experiment_protocols="""SELECT 'p' AS id, 'l' AS "userId", 'school-0' AS school""",
        phase_assignments="""
            SELECT 'f' || i AS id, 'p' AS "protocolId", 'phase ' || i AS "phaseLabel", 'BASELINE' AS "phaseType",
                TIMESTAMP '2024-12-01' + i * INTERVAL 1 SECOND AS "startDate", TIMESTAMP '2026-01-01' AS "endDate"
            FROM range(9000) AS r(i)""",
        analysis_runs="""
            SELECT 'r' AS id, 'p' AS "protocolId", 'PENDING' AS status, '{}' AS "resultsSummary",
                'K' AS "analysisType" """,
    )


def test_a_query_ends_at_the_time_limit(slow_file: Settings, serve: Callable[..., Api]) -> None:
    # Long enough for the other queries on a machine that is busy with other tests.
    api = serve(slow_file, americano_api_timeout=3, americano_tenants="experiment_protocols.school")
    key = api.key("read", tenants=RESEARCHER)
    api.rows("/v1/protocols", key)  # the file is open

    started = time.monotonic()
    answer = api.get(SLOW, key)
    seconds = time.monotonic() - started

    assert (answer.status_code, answer.json()["code"]) == (504, "time-limit")
    assert "AMERICANO_API_TIMEOUT" in answer.json()["detail"]
    assert 2.9 < seconds < 6
    assert api.rows("/v1/protocols", key)
    assert api.figure("americano_api_queries_running") == 0


@pytest.mark.slow
def test_too_many_queries_are_refused_and_the_service_goes_on(slow_file: Settings, serve: Callable[..., Api]) -> None:
    api = serve(slow_file, americano_api_timeout=6, americano_tenants="experiment_protocols.school")
    key = api.key("read", tenants=RESEARCHER)
    api.rows("/v1/protocols", key)

    with ThreadPoolExecutor(12) as clients:
        futures = [clients.submit(api.get, SLOW, key) for _ in range(12)]
        time.sleep(2)
        assert httpx.get(f"{api.url}/health", timeout=5).status_code == 200
        answers = [future.result() for future in futures]

    statuses = [answer.status_code for answer in answers]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert set(statuses) == {503, 504}
    assert (refused.json()["code"], refused.headers["retry-after"]) == ("busy", "1")
    assert api.figure("americano_api_queries_running") == 0


@pytest.mark.slow
def test_a_query_ends_when_its_client_is_gone(slow_file: Settings, serve: Callable[..., Api]) -> None:
    api = serve(slow_file, americano_api_timeout=120, americano_tenants="experiment_protocols.school")
    key = api.key("read", tenants=RESEARCHER)
    api.rows("/v1/protocols", key)

    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{api.url}{SLOW.removeprefix('/v1')}", headers={"authorization": f"Bearer {key}"}, timeout=2)
    deadline = time.monotonic() + 10
    while api.figure("americano_api_queries_running") and time.monotonic() < deadline:
        time.sleep(0.1)

    assert api.figure("americano_api_queries_running") == 0
    assert psutil.Process(api.process.pid).cpu_percent(0.5) < 50
    assert "Traceback" not in api.log.read_text()


def test_a_principal_may_ask_so_often_and_others_still(example: Settings, serve: Callable[..., Api]) -> None:
    api = serve(example, americano_api_rate=5)
    first, second = api.key("read"), api.key("operator")

    statuses = [api.get("/v1/protocols", first).status_code for _ in range(7)]
    refused = api.get("/v1/protocols", first)

    assert statuses[:5] == [200] * 5
    assert statuses[-1] == refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert api.get("/v1/ready", second).status_code == 200


def test_a_bucket_fills_evenly_and_has_a_bottom() -> None:
    limit = RateLimit(60)
    for _ in range(60):
        limit.check("a")
    with pytest.raises(Problem) as raised:
        limit.check("a")
    assert raised.value.headers == {"Retry-After": "1"}
    limit.check("b")
    time.sleep(1.1)
    limit.check("a")


@pytest.mark.parametrize("events", [LARGE, pytest.param(1_000_000, marks=[pytest.mark.slow])])
@pytest.mark.parametrize(
    "suffix", ["arrow", *(pytest.param(name, marks=pytest.mark.slow) for name in ("parquet", "csv", "json"))]
)
def test_a_large_answer_takes_bounded_memory(
    serve: Callable[..., Api],
    events: int,
    suffix: str,
    large: Callable[[int], Settings],
) -> None:
    api = serve(large(events), americano_api_timeout=60)
    path = "/v1/protocols/p/events"
    api.rows(f"{path}?limit=1")
    headers = {"authorization": f"Bearer {api.key('admin')}"}
    process = psutil.Process(api.process.pid)
    before, peak, stop = process.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    size, started = 0, time.monotonic()
    chunks = []
    with httpx.stream("GET", f"{api.url.removesuffix('/v1')}{path}.{suffix}", headers=headers, timeout=120) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_raw():
            size += len(chunk)
            if suffix == "arrow":
                chunks.append(chunk)
    seconds = time.monotonic() - started
    stop.set()
    watcher.join()

    print(f"{suffix}: {events:,} rows, {size / MIB:.1f} MiB, {seconds:.2f} s, {(peak - before) / MIB:.0f} MiB more")  # noqa: T201
    assert size > events * 10
    assert peak - before < 150_000_000
    # Of a streamed answer only the first part is read.
    head = httpx.head(f"{api.url.removesuffix('/v1')}{path}.{suffix}", headers=headers, timeout=60)
    assert (head.status_code, head.content) == (200, b"")
    if suffix == "arrow":
        # It comes in windows by time: each event once, and in order.
        table = pa.ipc.open_stream(b"".join(chunks)).read_all()
        times = table["event_time"].to_numpy()
        assert table.num_rows == pc.count_distinct(table["event_id"]).as_py() == events
        assert (times[:-1] <= times[1:]).all()


def streamed_bytes(api: Api) -> int:
    """Read a whole large answer that began well."""
    headers = {"authorization": f"Bearer {api.key('admin')}"}
    with httpx.stream("GET", f"{api.url}/protocols/p/events", headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        return sum(len(part) for part in answer.iter_raw())


@pytest.mark.slow
def test_an_answer_that_is_cut_short_is_noticed(serve: Callable[..., Api], large: Callable[[int], Settings]) -> None:
    settings = large(1_000_000)
    whole = serve(settings, americano_api_timeout=60)
    started = time.monotonic()
    assert streamed_bytes(whole) > 1_000_000
    # The first rows come after less than a third of the time that the whole answer takes.
    api = serve(settings, americano_api_timeout=max(1, round((time.monotonic() - started) / 2)))

    with pytest.raises(httpx.RemoteProtocolError):
        streamed_bytes(api)

    assert "Traceback" not in api.log.read_text()
    assert api.figure("americano_api_queries_running") == 0
    figures = api.get("/v1/metrics").text
    assert 'americano_api_requests_total{route="/v1/protocols/{protocol}/events",status="499"} 1.0' in figures


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Settings]:
    """Files in which one protocol has many events."""
    files: dict[int, Settings] = {}

    def make(events: int) -> Settings:
        if events not in files:
            files[events] = publish_example(
                Path(tmp_path_factory.mktemp("large")) / "data",
                behavioral_events=f"""
                    SELECT 'event-' || i AS id, TIMESTAMP '2025-01-01' + i * INTERVAL 2 SECOND AS timestamp,
                        'l' AS "userId", 'kind ' || (i % 9) AS "eventType", random() AS "sessionPerformanceScore"
                    FROM range({events}) AS r(i)""",
                experiment_protocols="""SELECT 'p' AS id, 'l' AS "userId" """,
                phase_assignments="""
                    SELECT 'f' AS id, 'p' AS "protocolId", 'baseline' AS "phaseLabel", 'BASELINE' AS "phaseType",
                        TIMESTAMP '2025-01-01' AS "startDate", TIMESTAMP '2026-01-01' AS "endDate" """,
                analysis_runs="""
                    SELECT 'r' AS id, 'p' AS "protocolId", 'PENDING' AS status, '{}' AS "resultsSummary",
                        'K' AS "analysisType" """,
            )
        return files[events]

    return make
