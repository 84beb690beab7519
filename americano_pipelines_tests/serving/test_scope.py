"""No principal gets a row outside of their scope: in any route, format, cache, ETag, count, page or error."""

import io
import json
import re
from dataclasses import dataclass, replace

import duckdb
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from americano_pipelines.analysis.app_types import REQUESTABLE
from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.provenance import request_cards
from americano_pipelines.serving import answer_tables
from americano_pipelines.serving.answer_tables import TABLES, AnswerTable, Statement
from americano_pipelines.serving.principals import Principal, Scope
from americano_pipelines.serving.problem_details import MEDIA_TYPE
from americano_pipelines_tests.serving.conftest import TLS, Api
from americano_pipelines_tests.serving.published import LEARNERS, TENANT_OF, learner_of

FORMATS = ("json", "csv", "arrow", "parquet")
LISTS = ("reports/daily", "reports/weekly", "reports/by-phase", "reports/by-protocol", "protocols", "analyses")
OF_PROTOCOL = ("", "/phases", "/series", "/events")
OF_ANALYSIS = ("", "/provenance", "/comparisons", "/extract", "/report.html", "/pictures/series.png", "/verify")
EVENTS_OF_A_LEARNER = 200


@dataclass(frozen=True)
class Asker:
    """A principal and the learners whose rows they may see."""

    scopes: tuple[str, ...]
    tenants: tuple[str, ...] | None = None
    learner: str | None = None

    @property
    def allowed(self) -> set[str]:
        if "admin" in self.scopes or ("read" in self.scopes and self.tenants is None):
            return set(LEARNERS)
        by_tenant = {learner for learner in LEARNERS if TENANT_OF[learner] in (self.tenants or ())}
        return by_tenant | ({self.learner} if self.learner is not None else set())

    def key(self, api: Api) -> str:
        return api.key(*self.scopes, tenants=self.tenants, learner=self.learner)


TENANTS = st.lists(st.sampled_from([*sorted(set(TENANT_OF.values())), "school-9", "' OR 1=1"]), max_size=2, unique=True)
ASKERS = st.one_of(
    st.builds(Asker, st.just(("learner",)), st.none(), st.sampled_from([*LEARNERS, "learner", "nobody", "%"])),
    st.builds(Asker, st.just(("read",)), TENANTS.map(tuple)),
    st.builds(Asker, st.just(("learner", "read")), TENANTS.map(tuple), st.sampled_from(LEARNERS)),
    st.just(Asker(("read",))),
    st.just(Asker(("admin",))),
    st.just(Asker(("operator",))),
    st.just(Asker(("trigger",))),
)
PATHS = st.one_of(
    st.tuples(st.sampled_from(LISTS), st.sampled_from(["", *(f".{name}" for name in FORMATS)])).map("".join),
    st.tuples(st.just("protocols/protocol-"), st.sampled_from(LEARNERS), st.sampled_from(OF_PROTOCOL)).map("".join),
    st.tuples(st.just("analyses/run-"), st.sampled_from(LEARNERS), st.sampled_from(OF_ANALYSIS)).map("".join),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "format": st.sampled_from(FORMATS),
        "limit": st.integers(1, 50),
        "protocol": st.sampled_from([f"protocol-{learner}" for learner in LEARNERS]),
        "verdict": st.sampled_from(["benefit", "harm"]),
    },
)


def text_of(answer: httpx.Response) -> str:
    """Everything that an answer says, of any format, with its headers."""
    kind = answer.headers.get("content-type", "")
    if kind.endswith("arrow.stream"):
        body = str(pa.ipc.open_stream(answer.content).read_all().to_pylist())
    elif kind.endswith("parquet"):
        body = str(pq.read_table(io.BytesIO(answer.content)).to_pylist())
    else:
        body = answer.text
    return f"{answer.headers} {body}"


def without_question(text: str, path: str) -> str:
    """A text without the path that was asked for: the address of the next page repeats it."""
    return text.replace(path, "")


@pytest.mark.parametrize("examples", [60, pytest.param(600, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_no_answer_has_a_mark_of_a_learner_outside_of_the_scope(api: Api, examples: int) -> None:
    tags: dict[str, set[frozenset[str]]] = {}

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(asker=ASKERS, path=PATHS, options=OPTIONS)
    def check(asker: Asker, path: str, options: dict[str, str]) -> None:
        query = httpx.QueryParams(options)
        answer = api.get(f"/v1/{path}?{query}", asker.key(api))
        for _ in range(4):  # the following pages too
            shown = learner_of(without_question(text_of(answer), path))
            if "protocol" in options:
                shown -= learner_of(options["protocol"])  # the address of the next page repeats the filter
            assert shown <= asker.allowed, (asker, answer.request.url, shown)
            if (tag := answer.headers.get("etag")) is not None:
                tags.setdefault(tag, set()).add(frozenset(asker.allowed))
                again = api.get(str(answer.request.url), asker.key(api), if_none_match=tag)
                assert (again.status_code, again.content) == (304, b"")
            link = re.search("<(.+)>", answer.headers.get("link", ""))
            if link is None:
                break
            answer = api.get(link[1], asker.key(api))

    check()

    assert tags
    assert {tag for tag, scopes in tags.items() if len(scopes) > 1} == set()


@pytest.mark.parametrize("examples", [40, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_no_principal_starts_what_is_outside_of_the_scope(api: Api, examples: int) -> None:
    """Dagster is away and there is no app, so what may be started is answered with 503, and with nothing else."""
    triggers = ASKERS.map(lambda asker: replace(asker, scopes=tuple(sorted({*asker.scopes, "trigger"}))))

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        asker=st.one_of(ASKERS, triggers),
        learner=st.sampled_from(LEARNERS),
        kind=st.sampled_from([*PROTOCOL_KINDS, *REQUESTABLE]),
        once=st.sampled_from([None, "a", "b"]),
    )
    def check(asker: Asker, learner: str, kind: str, once: str | None) -> None:
        headers = {"authorization": f"Bearer {asker.key(api)}"} | ({"idempotency-key": once} if once else {})
        body = {"protocol": f"protocol-{learner}", "kind": kind}
        answer = httpx.post(f"{api.url}/analyses", json=body, headers=headers, timeout=60, verify=TLS)
        sync = httpx.post(f"{api.url}/syncs", headers=headers, timeout=60, verify=TLS)

        may_start = bool({"trigger", "admin"} & {*asker.scopes}) and bool(
            {"read", "learner", "admin"} & {*asker.scopes}
        )
        assert answer.status_code == (503 if may_start and learner in asker.allowed else 404 if may_start else 403)
        assert learner_of(text_of(answer)) == set()
        assert sync.status_code == (503 if "admin" in asker.scopes else 403)

    check()
    assert request_cards.read_cards(api.settings.paths) == {}


@pytest.mark.parametrize(
    "asker",
    [Asker(("learner",), None, "learner-1"), pytest.param(Asker(("read",), ("school-1",)), marks=pytest.mark.slow)],
)
def test_no_route_in_no_format_shows_another_learner(api: Api, asker: Asker) -> None:
    """What the property above draws, one by one."""
    parts = [f"protocols/protocol-{learner}{part}" for learner in ("learner-1", "learner-2") for part in OF_PROTOCOL]
    parts += [f"analyses/run-{learner}" for learner in ("learner-1", "learner-2")]

    for path in (*LISTS, *parts):
        for name in FORMATS:
            answer = api.get(f"/v1/{path}?format={name}", asker.key(api))
            hidden = learner_of(path) - asker.allowed
            assert answer.status_code == (404 if hidden else 200)
            assert learner_of(without_question(text_of(answer), path)) <= asker.allowed


@pytest.mark.parametrize("path", OF_PROTOCOL)
def test_what_is_hidden_is_answered_like_what_is_not_there(api: Api, path: str) -> None:
    key = api.key("learner", learner="learner-1")

    hidden = api.get(f"/v1/protocols/protocol-learner-2{path}", key)
    absent = api.get(f"/v1/protocols/no-such-protocol{path}", key)

    assert (hidden.status_code, hidden.headers["content-type"]) == (404, MEDIA_TYPE)
    assert (hidden.content, hidden.status_code) == (absent.content, absent.status_code)


def test_an_etag_of_another_scope_is_no_key_to_its_answer(api: Api) -> None:
    admin = api.get("/v1/protocols")
    learner = api.key("learner", learner="learner-1")

    answer = api.get("/v1/protocols", learner, if_none_match=admin.headers["etag"])

    assert answer.status_code == 200
    assert [row["learner_id"] for row in answer.json()["rows"]] == ["learner-1"]


def test_anothers_page_token_shows_ones_own_rows(api: Api) -> None:
    first = api.get("/v1/protocols?limit=1").json()

    rows = api.rows(first["next"], api.key("read", tenants=("school-1",)))

    assert {TENANT_OF[row["learner_id"]] for row in rows} <= {"school-1"}


@pytest.mark.parametrize("path", ["/v1/protocols?limit=7", "/v1/protocols/protocol-learner-1/series?limit=7"])
def test_a_repeated_question_is_answered_for_who_asks(api: Api, path: str) -> None:
    """It is neither routed nor parsed again, but it is authenticated."""
    own = api.key("learner", learner="learner-1")
    stranger = api.key("learner", learner="learner-2")
    whole, counted = api.get(path), requests_of_route(api, path)

    for _ in range(2):
        assert api.get(path).content == whole.content
        assert learner_of(api.get(path, own).text) == {"learner-1"} or "series" in path
        assert api.get(path, stranger).status_code == (404 if "series" in path else 200)
        assert "learner-1" not in api.get(path, stranger).text
        assert api.get(path, api.key("operator")).status_code == 403
        assert api.get(path, "").status_code == 401
        assert api.get(path, "americano_unknown").status_code == 401

    assert requests_of_route(api, path) == counted + 2 + 2 + (0 if "series" in path else 4)


def requests_of_route(api: Api, path: str) -> int:
    """How many requests of a declared path were answered with 200."""
    route = path.partition("?")[0].replace("protocol-learner-1", "{protocol}")
    return int(api.figure(f'americano_api_requests_total{{route="{route}",status="200"}}'))


def test_an_address_that_is_refused_is_refused_again(api: Api) -> None:
    for _ in range(2):
        assert api.get("/v1/protocols?verdict=benefit").status_code == 422
        assert api.get("/v1/protocols?limit=5&page=abc").status_code == 400
        assert api.get("/v1/protocols", accept="image/png").status_code == 406
        assert api.get("/v1/protocols", accept="text/csv").headers["content-type"].startswith("text/csv")
        assert api.get("/v1/protocols").headers["content-type"] == "application/json"


def test_each_principal_sees_all_of_their_own(api: Api) -> None:
    """The property above would hold for a service that shows nothing."""
    for learner in LEARNERS[:3]:
        key = api.key("learner", learner=learner)
        assert [row["learner_id"] for row in api.rows("/v1/protocols", key)] == [learner]
        assert len(api.rows(f"/v1/protocols/protocol-{learner}/events", key)) == EVENTS_OF_A_LEARNER
        assert len(api.rows(f"/v1/protocols/protocol-{learner}/series", key)) == 28
        assert sum(row["events"] for row in api.rows("/v1/reports/daily", key)) == EVENTS_OF_A_LEARNER
        assert api.rows("/v1/reports/by-protocol", key) == [
            {"protocol_id": f"protocol-{learner}", "events": EVENTS_OF_A_LEARNER}
        ]
        assert [row["analysis_run_id"] for row in api.rows("/v1/analyses", key)] == [f"run-{learner}"]
    researcher = api.rows("/v1/protocols", api.key("read", tenants=("school-1", "school-2")))
    assert {row["learner_id"] for row in researcher} == {n for n in LEARNERS if TENANT_OF[n] != "school-0"}
    assert {row["learner_id"] for row in api.rows("/v1/protocols", api.key("read"))} == set(LEARNERS)


def test_counts_over_few_learners_are_withheld_from_all_but_admins(api: Api) -> None:
    """school-1 has 3 learners, which is fewer than 5; all have 8."""
    few = api.rows("/v1/reports/daily", api.key("read", tenants=("school-1",)))
    all_learners = api.rows("/v1/reports/daily", api.key("read"))

    assert {(row["events"], row["learners"], row["withheld"]) for row in few} == {(None, None, True)}
    assert {row["withheld"] for row in all_learners} == {False}
    assert api.rows("/v1/reports/daily") == all_learners


def test_counts_of_a_tenant_are_those_of_its_events(api: Api) -> None:
    key = api.key("read", tenants=("school-0", "school-1"))
    expected = sum(TENANT_OF[learner] != "school-2" for learner in LEARNERS)

    for report in ("daily", "weekly", "by-phase"):
        rows = api.rows(f"/v1/reports/{report}", key)
        assert {row["learners"] for row in rows if not row["withheld"]} <= {expected, None}
        if report != "by-phase":
            assert sum(row["events"] for row in rows) == expected * EVENTS_OF_A_LEARNER


def test_keys_without_a_scope_for_rows_read_none(api: Api) -> None:
    for scopes in (("operator",), ("trigger",)):
        answer = api.get("/v1/protocols", api.key(*scopes))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def statements_of(table: AnswerTable) -> tuple[Statement, ...]:
    return (*table.statements, *((table.slices.bounds, table.slices.statement) if table.slices else ()))


@pytest.mark.parametrize("statement", [s for table in TABLES for s in statements_of(table)], ids=lambda s: s.name)
def test_a_statement_shows_nothing_to_an_empty_scope(statement: Statement, api: Api) -> None:
    """Not only is `$scope` in its text: with nobody in scope it has no row, with everybody it has some."""
    from americano_pipelines.serving.published_pool import PublishedPool

    pool = PublishedPool(api.settings)
    snapshot = pool.lease()
    try:
        cursor = snapshot.cursor()
        record = {"protocol_id": "protocol-learner-1", "record_sha256": "of learner-1"}
        known = {"protocol": "protocol-learner-1", "analysis": "run-learner-1", "least_learners": 0}
        known |= {"records": json.dumps([record])}
        known |= {"slice_rows": 10, "slice_from": 0, "slice_until": 2**60}
        bound = {name: known.get(name) for name in statement.parameters}

        nobody = cursor.execute(statement.text, {**bound, "scope": []}).fetchall()
        everybody = cursor.execute(statement.text, {**bound, "scope": None}).fetchall()
        stranger = cursor.execute(statement.text, {**bound, "scope": ["learner:learner-2"]}).fetchall()
    finally:
        pool.close()

    assert nobody == []
    assert everybody
    assert "learner-1" not in str(stranger)


def test_a_statement_without_the_scope_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_tables.sql, "load", lambda *_: "SELECT * FROM research.protocols")

    with pytest.raises(ValueError, match="does not bind"):
        Statement("protocols", ("protocols",))


def test_a_scope_in_every_form_names_what_it_shows() -> None:
    assert Principal("a", frozenset({Scope.ADMIN}), ("t",)).visible is None
    assert Principal("a", frozenset({Scope.READ})).visible is None
    assert Principal("a", frozenset({Scope.READ}), ()).visible == []
    assert Principal("a", frozenset({Scope.READ}), ("t",)).visible == ["tenant:t"]
    assert Principal("a", frozenset({Scope.LEARNER}), None, "l").visible == ["learner:l"]
    assert Principal("a", frozenset({Scope.LEARNER}), None, None).visible == []
    assert Principal("a", frozenset({Scope.OPERATOR}), None, "l").visible == []


def test_files_of_the_machine_are_out_of_reach(api: Api) -> None:
    """What a statement that somebody forgot to bind could do."""
    from americano_pipelines.serving.published_pool import PublishedPool

    pool = PublishedPool(api.settings)
    cursor = pool.lease().cursor()
    try:
        for statement in (
            "FROM read_csv('/etc/passwd')",
            "ATTACH '/tmp/other.duckdb'",
            "COPY (SELECT 1) TO '/tmp/written'",
            "SET threads = 1",
            "SET enable_external_access = true",
            "CREATE TABLE research.new AS SELECT 1",
            "DELETE FROM analytics.behavioral_events",
            "INSTALL icu",
        ):
            with pytest.raises(duckdb.Error):
                cursor.execute(statement)
    finally:
        pool.close()
