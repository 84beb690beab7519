"""The `research` schema agrees with independent SQL on the same rows."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.warehouse.helpers import rows, synced, write_parquet

# Each phase's window, said another way than the view does: by looking for the next phase, not by a window function.
WINDOWS = """
SELECT p.id AS phase_id, p."protocolId" AS protocol_id, q."userId" AS learner_id, p."startDate" AS starts_at,
    CASE
        WHEN p."endDate" IS NOT NULL THEN p."endDate"
        WHEN EXISTS (SELECT FROM phase_assignments n WHERE n."protocolId" = p."protocolId"
            AND n."startDate" > p."startDate")
        THEN (SELECT min(n."startDate") FROM phase_assignments n WHERE n."protocolId" = p."protocolId"
            AND n."startDate" > p."startDate")
        WHEN q."endDate" IS NOT NULL THEN q."endDate"
        ELSE p."startDate" + p."plannedDuration" * interval '1 day'
    END AS ends_at
FROM phase_assignments p JOIN experiment_protocols q ON q.id = p."protocolId"
"""
EVENT = "SELECT i::VARCHAR AS id, 'u' AS user_id, t::TIMESTAMP AS ts FROM (VALUES {}) AS v(i, t)"
PROTOCOL = "SELECT id, 'u' AS user_id, e::TIMESTAMP AS end_date FROM (VALUES {}) AS v(id, e)"
PHASE = """SELECT id, protocol AS protocol_id, 'A' AS phase, s::TIMESTAMP AS start_date, e::TIMESTAMP AS end_date,
d AS planned_days FROM (VALUES {}) AS v(id, protocol, s, e, d)"""


@pytest.fixture
def small(settings_for: Callable[..., Settings], tmp_path: Path) -> Callable[..., Settings]:
    """Publish a handful of rows, each table given by a query; without one it is missing."""

    def make(**queries: str) -> Settings:
        names = {"events": "behavioral_events", "protocols": "experiment_protocols", "phases": "phase_assignments"}
        files = {
            f"{names[name]}_parquet": str(write_parquet(tmp_path / "in" / f"{name}.parquet", query))
            for name, query in queries.items()
        }
        settings = settings_for(**files)
        assert synced(settings).blocked_by == []
        return settings

    return make


def test_rollups_and_windows_agree_with_independent_sql_on_the_source(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    prisma.execute("""UPDATE experiment_protocols SET "endDate" = NULL WHERE id = 'protocol_1'""")
    prisma.execute("""UPDATE phase_assignments SET "endDate" = NULL WHERE id IN ('phase_0_2', 'phase_1_3')""")
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=True))
    synced(settings)
    counts = 'count(*), count(DISTINCT "userId") FROM behavioral_events GROUP BY 1'

    def agree(model: str, query: str) -> list[tuple[Any, ...]]:
        published = rows(settings, f"FROM research.{model} ORDER BY ALL NULLS LAST")
        assert published == prisma.execute(query)
        return published

    assert len(agree("daily_events", f'SELECT "timestamp"::date, {counts} ORDER BY 1')) == 148
    agree(
        "weekly_events",
        f"""SELECT "timestamp"::date - (extract(isodow FROM "timestamp")::int - 1), {counts}
    ORDER BY 1""",
    )
    assert [row[0] for row in agree("events_by_phase", f'SELECT "experimentPhase", {counts} ORDER BY 1')] == [
        "baseline_1",
        None,
    ]
    agree(
        "events_by_protocol",
        f"""WITH w AS ({WINDOWS})
    SELECT w.protocol_id, count(*), count(DISTINCT e."userId") FROM behavioral_events e JOIN w
    ON w.learner_id = e."userId" AND e."timestamp" >= w.starts_at AND e."timestamp" < w.ends_at
    GROUP BY 1 ORDER BY 1""",
    )
    windows = rows(settings, "SELECT phase_id, protocol_id, learner_id, starts_at, ends_at FROM research.phases")
    assert sorted(windows) == sorted(prisma.execute(WINDOWS))
    events = rows(settings, "FROM research.events ORDER BY event_id")
    assert events == prisma.execute(
        """SELECT id, "timestamp", "userId", "experimentPhase", NULL, "eventType"::text, "sessionPerformanceScore",
        "engagementLevel"::text, "completionQuality"::text FROM behavioral_events ORDER BY id"""
    )
    assert rows(settings, "SELECT protocol_id, primary_outcome FROM research.protocols ORDER BY 1")[0] == (
        "protocol_0",
        "sessionPerformanceScore",
    )
    assert rows(settings, "SELECT status FROM research.analysis_runs") == [("PENDING",)] * 2


@pytest.mark.parametrize(
    ("phases", "protocol_end", "ends"),
    [
        ("('a', 'p', '2025-01-01', '2025-01-05', 9), ('b', 'p', '2025-01-10', NULL, 9)", "2025-02-01", ["05", "01"]),
        ("('a', 'p', '2025-01-01', NULL, 9), ('b', 'p', '2025-01-10', '2025-01-15', 9)", "2025-02-01", ["10", "15"]),
        ("('a', 'p', '2025-01-01', NULL, 9)", None, ["10"]),
        ("('a', 'p', '2025-01-01', NULL, NULL)", None, [None]),
        ("('a', 'p', '2025-01-01', NULL, 9), ('b', 'other', '2025-01-03', NULL, 2)", None, ["10", "05"]),
        ("('a', 'p', NULL, NULL, 9), ('b', 'p', '2025-01-03', NULL, 2)", None, [None, "05"]),
    ],
    ids=["stated, then protocol's", "next start", "as planned", "unknown", "never another protocol's", "no start"],
)
def test_a_phase_ends_as_stated_at_the_next_or_with_its_protocol(
    small: Callable[..., Settings], phases: str, protocol_end: str | None, ends: list[str | None]
) -> None:
    end = f"'{protocol_end}'" if protocol_end else "NULL"
    settings = small(
        events=EVENT.format("(1, '2025-01-02')"),
        protocols=PROTOCOL.format(f"('p', {end}), ('other', NULL)"),
        phases=PHASE.format(phases),
    )

    windows = rows(settings, "SELECT strftime(ends_at, '%d') FROM research.phases ORDER BY phase_id")

    assert [end for (end,) in windows] == ends


def test_a_window_includes_its_start_and_excludes_its_end(small: Callable[..., Settings]) -> None:
    times = ["2024-12-31 23:59:59.999", "2025-01-01", "2025-01-04 23:59:59.999999", "2025-01-05"]
    settings = small(
        events=EVENT.format(", ".join(f"({i}, '{time}')" for i, time in enumerate(times))),
        protocols=PROTOCOL.format("('p', NULL)"),
        phases=PHASE.format("('a', 'p', '2025-01-01', '2025-01-05', 1)"),
    )

    assert rows(settings, "SELECT event_id FROM research.protocol_events ORDER BY 1") == [("1",), ("2",)]


def test_an_event_counts_once_in_each_of_two_overlapping_protocols(
    small: Callable[..., Settings],
) -> None:
    settings = small(
        events=EVENT.format("(1, '2025-01-02'), (2, '2025-01-12'), (3, '2025-01-25'), (4, '2025-01-31')"),
        protocols=PROTOCOL.format("('p', NULL), ('q', NULL)"),
        phases=PHASE.format(
            "('a', 'p', '2025-01-01', '2025-01-31', 1), ('b', 'p', '2025-01-10', '2025-01-20', 1),"
            "('c', 'q', '2025-01-11', '2025-01-26', 1), ('d', 'q', '2025-01-11', '2025-01-13', 1)"
        ),
    )

    belongs = rows(settings, "SELECT protocol_id, event_id, phase_id FROM research.protocol_events ORDER BY ALL")

    assert belongs == [("p", "1", "a"), ("p", "2", "b"), ("p", "3", "a"), ("q", "2", "d"), ("q", "3", "c")]
    assert rows(settings, "FROM research.events_by_protocol") == [("p", 3, 1), ("q", 2, 1)]


def test_another_learners_events_do_not_belong(small: Callable[..., Settings]) -> None:
    settings = small(
        events="SELECT 1 AS id, 'someone else' AS user_id, TIMESTAMP '2025-01-02' AS ts",
        protocols=PROTOCOL.format("('p', NULL)"),
        phases=PHASE.format("('a', 'p', '2025-01-01', '2025-01-05', 1)"),
    )

    assert rows(settings, "FROM research.events_by_protocol") == []


EVENTS = "SELECT 1 AS id, 'u' AS user_id, 'x' AS phase, TIMESTAMP '2025-01-02' AS ts"
PROTOCOLS = "SELECT 'p' AS id, 'u' AS user_id, NULL::TIMESTAMP AS end_date"
PHASES = "SELECT 'a' AS id, 'p' AS protocol_id, TIMESTAMP '2025-01-01' AS start_date, 9 AS planned_days"


@pytest.mark.parametrize(
    ("queries", "model", "reason"),
    [
        ({"events": EVENTS.replace("AS user_id", "AS who")}, "daily_events", "behavioral_events has no learner column"),
        ({"events": EVENTS.replace("AS phase", "AS f")}, "events_by_phase", "behavioral_events has no phase column"),
        ({"events": EVENTS}, "events_by_protocol", "there is no experiment_protocols"),
        ({"events": EVENTS, "protocols": PROTOCOLS}, "events_by_protocol", "there is no phase_assignments"),
        ({"protocols": PROTOCOLS}, "weekly_events", "there is no behavioral_events"),
        (
            {"events": EVENTS, "protocols": PROTOCOLS.replace("AS user_id", "AS who"), "phases": PHASES},
            "events_by_protocol",
            "experiment_protocols has no learner column",
        ),
        (
            {"events": EVENTS, "protocols": PROTOCOLS, "phases": PHASES.replace("AS start_date", "AS began")},
            "phases",
            "phase_assignments has no start column (none of start_date, started_at)",
        ),
    ],
)
def test_a_model_without_its_inputs_is_left_out_and_names_them(
    small: Callable[..., Settings], queries: dict[str, str], model: str, reason: str
) -> None:
    settings = small(**queries)

    (document,) = rows(settings, "SELECT document->'skipped'->>$$research." + model + "$$ FROM meta.snapshot")
    assert reason in document[0]
    with pytest.raises(duckdb.CatalogException):
        rows(settings, f"FROM research.{model}")


def test_events_that_name_their_protocol_need_neither_protocols_nor_phases(small: Callable[..., Settings]) -> None:
    settings = small(
        events="""SELECT i AS event_id, 'l' || i % 2 AS learner_id, TIMESTAMP '2025-01-02' AS event_time,
        CASE WHEN i % 3 > 0 THEN 'x' || i % 3 END AS experiment_id FROM range(9) AS t(i)"""
    )

    assert rows(settings, "FROM research.events_by_protocol") == [("x1", 3, 2), ("x2", 3, 2)]


def test_infinite_times_and_times_before_our_era_do_not_break_the_rollups(small: Callable[..., Settings]) -> None:
    times = ["infinity", "-infinity", "0044-03-15 (BC) 12:00:00", "2025-01-05"]
    settings = small(events=EVENT.format(", ".join(f"({i}, '{time}')" for i, time in enumerate(times))))

    assert rows(settings, "SELECT sum(events) FROM research.daily_events") == [(4,)]
    assert rows(settings, "SELECT week FROM research.weekly_events WHERE isfinite(week) AND week > '2000-01-01'") == [
        (date(2024, 12, 30),)
    ]
