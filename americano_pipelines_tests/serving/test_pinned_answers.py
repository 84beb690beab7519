"""Every answer is of one snapshot: named, comparable, repeatable, in four formats that say the same."""

import csv
import io
from collections.abc import Callable
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.snapshots import read_record, remove_snapshot
from americano_pipelines_tests.serving.conftest import Api
from americano_pipelines_tests.serving.published import publish_example, tables

MORE_EVENTS = tables(2_400)["behavioral_events"]
EVENTS = "/v1/protocols/protocol-learner-1/events"


def snapshot_of(settings: Settings) -> str:
    record = read_record(settings.paths)
    assert record is not None
    return record.snapshot_id


def test_an_answer_names_its_snapshot(api: Api) -> None:
    record = read_record(api.settings.paths)
    assert record is not None

    answer = api.get("/v1/protocols")

    assert answer.headers["x-americano-snapshot"] == answer.json()["snapshot"] == record.snapshot_id
    assert parsedate_to_datetime(answer.headers["last-modified"]) == datetime.fromisoformat(record.instant).replace(
        microsecond=0
    )
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["etag"].startswith('"')


def test_what_was_not_modified_is_not_sent_again(api: Api) -> None:
    first = api.get("/v1/protocols")
    tag = first.headers["etag"]

    for header in (tag, f'"other", {tag}', f"W/{tag}"):
        again = api.get("/v1/protocols", if_none_match=header)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert api.get("/v1/protocols", if_none_match='"other"').content == first.content
    assert api.get("/v1/protocols", if_none_match="*").status_code == 200
    # A suffix is the same answer; another format, filter or page is another.
    others = [
        api.get(path).headers["etag"]
        for path in ("/v1/protocols.csv", "/v1/protocols?limit=2", "/v1/analyses", "/v1/analyses?verdict=benefit")
    ]
    assert len({tag, *others}) == 5


def test_a_kept_answer_is_the_answer(api: Api) -> None:
    before = api.figure("americano_api_kept_answers_total")
    answers = [api.get("/v1/protocols/protocol-learner-4/series.csv") for _ in range(3)]

    assert api.figure("americano_api_kept_answers_total") == before + 2
    assert len({answer.content for answer in answers}) == 1
    assert (
        len({tuple(sorted(set(answer.headers.items()) - {("date", answer.headers["date"])})) for answer in answers})
        == 1
    )


def test_an_earlier_snapshot_answers_as_it_did(tmp_path: Path, serve: Callable[..., Api]) -> None:
    settings = publish_example(tmp_path / "data")
    first = snapshot_of(settings)
    api = serve(settings)
    before = api.get(EVENTS)
    page = api.get(f"{EVENTS}?limit=150").json()

    publish_example(tmp_path / "data", behavioral_events=MORE_EVENTS)
    second = snapshot_of(settings)
    after = api.get(EVENTS)
    pinned = api.get(f"{EVENTS}?snapshot={first}")
    rest = api.get(page["next"]).json()

    assert after.headers["x-americano-snapshot"] == second != first
    assert (len(before.json()["rows"]), len(after.json()["rows"])) == (200, 300)
    assert (pinned.content, pinned.headers["etag"]) == (before.content, before.headers["etag"])
    # The pages are of the snapshot that the first one was of.
    assert (rest["snapshot"], rest["next"]) == (first, None)
    assert page["rows"] + rest["rows"] == before.json()["rows"]
    assert api.get(f"{EVENTS}?snapshot={second}&limit=2&page={page['next'].partition('page=')[2]}").status_code == 400
    kept = api.get("/v1/snapshots").json()["snapshots"]
    assert [(entry["snapshot_id"], entry["current"]) for entry in kept] == [(second, True), (first, False)]

    remove_snapshot(settings.paths.snapshots / first)

    for gone in (f"{EVENTS}?snapshot={first}", page["next"]):
        assert (api.get(gone).status_code, api.get(gone).json()["code"]) == (404, "not-found")


@pytest.mark.parametrize("name", ["", ".", "..", "../..", "%2e%2e", "purged", "no such", "x" * 80, "x" * 81, "a%00b"])
def test_a_snapshot_that_is_none_is_not_found(api: Api, name: str) -> None:
    assert api.get(f"{EVENTS}?snapshot={name}").status_code in {404, 422}


def test_pages_are_whole_and_in_order(api: Api) -> None:
    path, rows, pages = f"{EVENTS}?limit=7", [], 0
    while path is not None:
        page = api.get(path).json()
        rows += page["rows"]
        path, pages = page["next"], pages + 1

    assert rows == api.rows(EVENTS)
    assert pages == -(-200 // 7)
    assert rows == sorted(rows, key=lambda row: (row["event_time"], row["event_id"]))


@pytest.mark.parametrize("page", ["x", "", "e30", "WyJhIiwxLCJiIl0", "WyJhIiwtMSwiYiJd", "é"])
def test_a_page_token_that_is_none_is_refused(api: Api, page: str) -> None:
    assert api.get(f"{EVENTS}?limit=7&page={page}").status_code in {400, 422}


def test_pages_keep_their_filters(api: Api) -> None:
    path, rows = "/v1/analyses?limit=3&verdict=benefit&kind=ABAB_RANDOMIZATION&status=completed", []
    while path is not None:
        page = api.get(path).json()
        rows += page["rows"]
        path = page["next"]
    other = api.get("/v1/analyses?limit=3&verdict=v1&kind=analyses").json()

    assert len(rows) == 8
    assert (other["rows"], other["next"]) == ([], None)


def test_ids_with_odd_characters_have_pages(tmp_path: Path, serve: Callable[..., Api]) -> None:
    odd = "a b%2é?#&.csv"
    settings = publish_example(tmp_path / "data", **odd_ids(odd))
    path = f"/v1/protocols/{quote(odd, safe='')}/events?limit=150"
    api = serve(settings)

    first = api.get(path).json()
    rest = api.get(first["next"]).json()

    assert (len(first["rows"]), len(rest["rows"])) == (150, 50)
    assert api.rows(f"/v1/protocols/{quote(odd, safe='')}")[0]["protocol_id"] == odd


def odd_ids(odd: str) -> dict[str, str]:
    """The tables with another id for a protocol."""
    columns = {"experiment_protocols": "id", "phase_assignments": "protocolId", "analysis_runs": "protocolId"}
    return {
        name: f"SELECT * REPLACE (replace(\"{column}\", 'protocol-learner-1', '{odd}') AS \"{column}\") "
        f"FROM ({tables()[name]})"
        for name, column in columns.items()
    }


def test_a_page_token_fits_its_question_only(api: Api) -> None:
    token = api.get(f"{EVENTS}?limit=7").json()["next"].partition("page=")[2].partition("&")[0]

    for path in (f"{EVENTS}?limit=8&page={token}", f"/v1/protocols?limit=7&page={token}"):
        assert (api.get(path).status_code, api.get(path).json()["code"]) == (400, "wrong-page")


@pytest.mark.parametrize("table", ["protocols", "analyses", "reports/daily", EVENTS.removeprefix("/v1/")])
def test_all_formats_have_the_same_rows(api: Api, table: str) -> None:
    rows = api.rows(f"/v1/{table}")
    arrow = pa.ipc.open_stream(api.get(f"/v1/{table}.arrow").content).read_all()
    parquet = pq.read_table(io.BytesIO(api.get(f"/v1/{table}", accept="application/vnd.apache.parquet").content))
    lines = list(csv.DictReader(io.StringIO(api.get(f"/v1/{table}?format=csv").content.decode("utf-8-sig"))))

    assert arrow.equals(parquet)
    assert arrow.num_rows == len(rows) == len(lines) > 0
    for row, line, values in zip(rows, lines, arrow.to_pylist(), strict=True):
        assert row == {name: in_json(value) for name, value in values.items()}
        assert line == {name: in_csv(value) for name, value in values.items()}


def in_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    return value.isoformat() if isinstance(value, date) else value


def in_csv(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case str() if value.startswith("="):
            return f"'{value}"
        case _:
            return str(value)


def test_csv_opens_in_excel_and_runs_nothing_there(api: Api) -> None:
    content = api.get(f"{EVENTS}.csv").content

    assert content.startswith("\ufeff".encode())
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    kinds = {row[rows[0].index("event_type")] for row in rows[1:]}
    assert all(kind.startswith("'=1+1 ") for kind in kinds)
    assert not any(cell[:1] in tuple("=+-@\t\r") for row in rows for cell in row if cell)
    assert rows[1][rows[0].index("event_time")] == "2025-01-01 00:00:00"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/csv;q=0.1, application/json;q=0.9", "application/json"),
        ("text/*", "text/csv; charset=utf-8"),
        ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
        ("text/csv;q=x, */*", "application/json"),
    ],
)
def test_accept_chooses_the_format(api: Api, accept: str, kind: str) -> None:
    assert api.get("/v1/protocols", accept=accept).headers["content-type"] == kind


@pytest.mark.parametrize("accept", ["application/pdf", "application/json;q=0", ""])
def test_other_formats_are_refused(api: Api, accept: str) -> None:
    answer = api.get("/v1/protocols", accept=accept)

    assert (answer.status_code, answer.headers["content-type"]) == (
        (200, "application/json") if not accept else (406, "application/problem+json")
    )


def test_odd_values_have_a_form_in_every_format(tmp_path: Path, serve: Callable[..., Api]) -> None:
    """Infinite instants, numbers that are none, quotes and line ends."""
    settings = publish_example(
        tmp_path / "data",
        experiment_protocols="""
            SELECT 'p' || i AS id, 'l' AS "userId", E'a "b"\\n;c' AS "protocolName",
                (['-infinity', '2025-01-01 00:00:00.125', NULL])[i]::TIMESTAMP AS "startDate",
                'infinity'::TIMESTAMP AS "endDate"
            FROM range(1, 4) AS r(i)""",
        behavioral_events="""
            SELECT 'e' || i AS id, TIMESTAMP '2025-01-02' AS timestamp, 'l' AS "userId", 'p2' AS experiment_id,
                (['NaN', 'Infinity', '0.1'])[i]::DOUBLE AS "sessionPerformanceScore"
            FROM range(1, 4) AS r(i)""",
    )
    api = serve(settings)
    rows = api.rows("/v1/protocols")
    lines = list(csv.DictReader(io.StringIO(api.get("/v1/protocols.csv").content.decode("utf-8-sig"))))

    assert [row["starts_at"] for row in rows] == ["-infinity", "2025-01-01T00:00:00.125Z", None]
    assert {row["ends_at"] for row in rows} == {"infinity"}
    assert {row["protocol_name"] for row in rows} == {'a "b"\n;c'}
    assert [line["starts_at"] for line in lines] == ["-infinity", "2025-01-01 00:00:00.125", ""]
    assert [row["score"] for row in api.rows("/v1/protocols/p2/events")] == [None, None, 0.1]
    assert pq.read_table(io.BytesIO(api.get("/v1/protocols.parquet").content)).num_rows == 3


@pytest.mark.slow
def test_a_file_without_runs_has_protocols_and_says_what_it_lacks(tmp_path: Path, serve: Callable[..., Api]) -> None:
    from americano_pipelines.settings import load_settings
    from americano_pipelines_tests.warehouse.helpers import synced, write_parquet

    files: dict[str, Any] = {
        f"{name}_parquet": str(write_parquet(tmp_path / f"{name}.parquet", tables()[name]))
        for name in ("behavioral_events", "experiment_protocols")
    }
    settings = load_settings(americano_data_dir=tmp_path / "data", **files)
    synced(settings)
    api = serve(settings)

    assert len(api.rows("/v1/protocols")) == 8
    assert api.rows("/v1/protocols")[0]["verdict"] is None
    assert api.rows("/v1/analyses") == []
    snapshot = api.get("/v1/protocols").headers["x-americano-snapshot"]
    answer = api.get(f"/v1/analyses/r?snapshot={snapshot}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-in-snapshot")
    assert "research.analysis_runs" in answer.json()["detail"]


@pytest.mark.slow
def test_events_alone_have_reports_and_no_protocols(tmp_path: Path, serve: Callable[..., Api]) -> None:
    from americano_pipelines.settings import load_settings
    from americano_pipelines_tests.warehouse.helpers import synced, write_parquet

    query = f"SELECT *, 'p' AS experiment_id FROM ({tables()['behavioral_events']})"
    settings = load_settings(
        americano_data_dir=tmp_path / "data",
        behavioral_events_parquet=str(write_parquet(tmp_path / "events.parquet", query)),
    )
    synced(settings)
    api = serve(settings)

    assert len(api.rows("/v1/reports/daily")) == 28
    assert api.rows("/v1/reports/by-protocol") == [{"protocol_id": "p", "events": 1_600}]
    for path in ("protocols", "protocols/p", "protocols/p/events", "protocols/p/series", "analyses"):
        answer = api.get(f"/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-in-snapshot"), path
    assert api.get("/v1/analyses/r/provenance").json()["code"] == "not-found"


def test_before_the_first_sync_it_says_so(settings_for: Callable[..., Settings], serve: Callable[..., Api]) -> None:
    settings = settings_for()
    api = serve(settings)

    answer = api.get("/v1/protocols")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "americano sync" in answer.json()["detail"]
    assert api.get("/v1/ready").status_code == 503
    assert api.get("/v1/metrics").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/health", "/v1/protocols", "/v1/reports/daily.parquet", "/v1/nothing", "/protocols", "/v1/protocols?limit=0"],
)
def test_head_is_get_without_the_body(api: Api, path: str) -> None:
    headers = {"authorization": f"Bearer {api.key('admin')}"}
    answer = api.get(path)
    head = httpx.head(f"{api.url.removesuffix('/v1')}{path}", headers=headers)

    assert (head.status_code, head.content) == (answer.status_code, b"")
    for name in ("etag", "content-type", "content-length", "x-americano-snapshot"):
        assert head.headers.get(name) == answer.headers.get(name), name


def test_head_starts_nothing(api: Api) -> None:
    headers = {"authorization": f"Bearer {api.key('admin')}"}
    assert httpx.head(f"{api.url}/syncs", headers=headers).status_code == 405


def test_headers_in_several_lines_count_as_one(api: Api) -> None:
    def ask(*lines: tuple[str, str]) -> httpx.Response:
        credentials = ("authorization", f"Bearer {api.key('admin')}")
        return httpx.get(f"{api.url}/protocols", headers=[credentials, *lines])

    tag = ask().headers["etag"]
    for _ in range(2):
        assert ask(("if-none-match", '"other"'), ("if-none-match", tag)).status_code == 304
        answer = ask(("accept", "image/png"), ("accept", "text/csv"))
        assert answer.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("protocols?format=csv&format=json", "format"),
        ("protocols?limit=1&limit=1000", "limit"),
        ("analyses?status=FAILED&status=COMPLETED", "status"),
        ("protocols.csv?format=json", "format"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(api: Api, path: str, named: str) -> None:
    for _ in range(2):
        answer = api.get(f"/v1/{path}")
        assert answer.status_code == 422
        assert [error["parameter"] for error in answer.json()["errors"]] == [named]
    assert api.get("/v1/protocols.csv?format=csv").status_code == 200
