"""Both engines compute the same figures, and a fingerprint changes when a row does."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extras import execute_values

from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.change_detection import State
from americano_pipelines.sources.checksums import BucketChecksum, total
from americano_pipelines_tests.conftest import SYNC_ROLE, Database
from americano_pipelines_tests.sources.helpers import both_figures, events, events_state, opened

TIMES = st.one_of(
    st.none(),
    st.datetimes().map(lambda time: time.isoformat(sep=" ")),
    st.sampled_from(
        """
        infinity|-infinity|4713-01-01 BC|0001-12-31 23:59:59.999999 BC|0001-01-01|0999-05-05|1970-01-01
        1969-12-31 23:59:59.999999|2024-02-29 12:00:00.000001|2024-03-31 23:30:00+00|9999-12-31 23:59:59.999999
        10000-01-01|290000-01-01
        """.strip()
        .replace("\n", "|")
        .split("|")
    ),
)
IDS = {
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    "uuid": st.uuids().map(str),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
}
TIME_TYPES = {"text": "timestamp", "uuid": "date", "bigint": "timestamptz"}


@pytest.fixture
def fill(older: Database) -> Iterator[Callable[..., None]]:
    """Make `behavioral_events` anew, with these types and rows."""
    with closing(older.server.connect(older.name)) as link, link.cursor() as cursor:

        def make(id_type: str, time_type: str, rows: list[tuple[Any, Any]]) -> None:
            cursor.execute("DROP TABLE IF EXISTS behavioral_events")
            cursor.execute(
                f"CREATE TABLE behavioral_events (event_id {id_type}, event_time {time_type}, score integer)"
            )
            cursor.execute(f"GRANT SELECT ON behavioral_events TO {SYNC_ROLE}")
            template = f"(%s::{id_type}, %s::{time_type}, 1)"
            if rows:
                execute_values(cursor, "INSERT INTO behavioral_events VALUES %s", rows, template)

        yield make


@pytest.mark.parametrize(
    "id_type", ["text", *(pytest.param(name, marks=pytest.mark.slow) for name in IDS if name != "text")]
)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_both_engines_count_any_rows_alike(
    id_type: str,
    data: st.DataObject,
    older: Database,
    fill: Callable[..., None],
    settings_for: Callable[..., Settings],
) -> None:
    rows = data.draw(st.lists(st.tuples(st.none() | IDS[id_type], TIMES), max_size=30))
    fill(id_type, TIME_TYPES[id_type], rows)
    values = settings_for(**older.variables())
    with opened(values) as snapshot:
        in_postgres, in_duckdb = both_figures(snapshot, events(snapshot, values))

    assert in_postgres == in_duckdb
    assert total(in_postgres) == len(rows)
    assert {bucket: state.rows for bucket, state in events_state(values).items()} == {
        bucket: figures.rows for bucket, figures in in_postgres.items()
    }


def figures_of(database: Database, settings_for: Callable[..., Settings]) -> dict[str, BucketChecksum]:
    values = settings_for(**database.variables())
    with opened(values) as snapshot:
        in_postgres, in_duckdb = both_figures(snapshot, events(snapshot, values))
    assert in_postgres == in_duckdb
    return in_postgres


def microseconds(time: datetime) -> int:
    return round((time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def test_figures_are_those_of_the_month_in_utc(
    older: Database, fill: Callable[..., None], settings_for: Callable[..., Settings]
) -> None:
    fill("text", "timestamptz", [("a", "2024-02-01 01:30+02"), ("b", "2024-02-01 00:00:00.000001+00"), ("c", None)])

    months = figures_of(older, settings_for)

    assert {bucket: figures.rows for bucket, figures in months.items()} == {"2024-01": 1, "2024-02": 1, "none": 1}
    assert months["2024-01"].min_us == microseconds(datetime(2024, 1, 31, 23, 30, tzinfo=UTC))
    assert months["2024-02"].max_us == microseconds(datetime(2024, 2, 1, 0, 0, 0, 1, tzinfo=UTC))


def test_an_empty_table_has_no_figures_and_no_state(
    older: Database, fill: Callable[..., None], settings_for: Callable[..., Settings]
) -> None:
    fill("text", "timestamp", [])

    assert figures_of(older, settings_for) == {}
    assert events_state(settings_for(**older.variables())) == {}


def test_figures_tell_rows_apart_that_swap_their_times(
    older: Database, fill: Callable[..., None], settings_for: Callable[..., Settings]
) -> None:
    fill("text", "timestamp", [("a", "2024-01-01 10:00"), ("b", "2024-01-20 12:34:56.789")])
    before = figures_of(older, settings_for)
    fill("text", "timestamp", [("b", "2024-01-01 10:00"), ("a", "2024-01-20 12:34:56.789")])

    assert figures_of(older, settings_for) != before


def test_a_time_that_duckdb_cannot_hold_is_refused_by_column(
    older: Database, fill: Callable[..., None], settings_for: Callable[..., Settings]
) -> None:
    fill("text", "timestamp", [("a", "294276-12-31")])  # read by the extension as a time BC
    values = settings_for(**older.variables())

    with (
        pytest.raises(SourceError, match=r"a time after the year 294246.*'event_time' in 1 rows"),
        opened(values) as snapshot,
    ):
        both_figures(snapshot, events(snapshot, values))


def test_a_date_beyond_all_timestamps_is_a_lasting_error_of_its_table(
    older: Database, fill: Callable[..., None], settings_for: Callable[..., Settings]
) -> None:
    fill("text", "date", [("a", "5000000-01-01")])

    with pytest.raises(SourceError, match=r"table public\.behavioral_events: date out of range") as failed:
        events_state(settings_for(**older.variables()))
    assert not isinstance(failed.value, TransientSourceError)


ROWS = [("a", "2024-01-05"), ("b", "2024-01-06"), ("c", "2024-02-07"), ("d", "2024-03-08"), ("n", None)]
CHANGES = [
    ("INSERT INTO behavioral_events VALUES ('e', '2024-01-09', 1)", {"2024-01"}),
    ("INSERT INTO behavioral_events VALUES ('e', '2024-07-09', 1)", {"2024-07"}),
    ("UPDATE behavioral_events SET score = 2 WHERE event_id = 'c'", {"2024-02"}),
    ("UPDATE behavioral_events SET score = score WHERE event_id = 'n'", {"none"}),
    ("DELETE FROM behavioral_events WHERE event_id = 'c'", {"2024-02"}),
    ("UPDATE behavioral_events SET event_time = '2024-03-01' WHERE event_id = 'a'", {"2024-01", "2024-03"}),
    ("UPDATE behavioral_events SET event_time = 'infinity' WHERE event_id = 'd'", {"2024-03", "none"}),
    (
        """DELETE FROM behavioral_events WHERE event_id = 'b';
        INSERT INTO behavioral_events VALUES ('b', '2024-01-06', 1)""",
        {"2024-01"},
    ),
]


def changed(before: dict[str, State], after: dict[str, State]) -> set[str]:
    return {bucket for bucket in before | after if before.get(bucket) != after.get(bucket)}


def test_a_fingerprint_changes_with_its_month_and_with_nothing_else(
    older: Database, fill: Callable[..., None], settings_for: Callable[..., Settings]
) -> None:
    values = settings_for(**older.variables())
    for statement, months in CHANGES:
        fill("text", "timestamp", ROWS)
        before = events_state(values)
        older.execute(statement)
        assert changed(before, events_state(values)) == months, statement


@pytest.mark.parametrize("id_type", ["text", "bigint"])
@pytest.mark.parametrize("same_id", [None, 7], ids=["null ids", "equal ids"])
def test_rows_without_an_id_of_their_own_are_watched_too(
    older: Database, fill: Callable[..., None], settings_for: Callable[..., Settings], id_type: str, same_id: int | None
) -> None:
    values = settings_for(**older.variables())
    fill(id_type, "timestamp", [(same_id, "2024-01-05")] * 4)
    states = [events_state(values)]
    for score in (2, 3):
        older.execute("UPDATE behavioral_events SET score = %s", (score,))
        states.append(events_state(values))

    assert [changed(a, b) for a, b in pairwise(states)] == [{"2024-01"}, {"2024-01"}]


def test_a_view_is_watched_by_what_its_rows_read(
    older: Database, fill: Callable[..., None], settings_for: Callable[..., Settings]
) -> None:
    fill("text", "timestamp", ROWS)
    older.execute("ALTER TABLE behavioral_events RENAME TO kept")
    older.execute("ALTER TABLE kept ADD COLUMN extra jsonb DEFAULT '1.0', ADD COLUMN weight float8 DEFAULT 0")
    older.execute("CREATE VIEW behavioral_events AS SELECT k.* FROM kept AS k, generate_series(1, 2)")  # all twice
    older.execute(f"GRANT SELECT ON behavioral_events TO {SYNC_ROLE}")
    values = settings_for(**older.variables())
    before = events_state(values)
    older.execute("UPDATE kept SET score = score")
    assert events_state(values) == before

    for change in ("score = 2", "extra = '1.00'", "weight = '-0'"):
        older.execute(f"UPDATE kept SET {change} WHERE event_id = 'c'")
        after = events_state(values)
        assert changed(before, after) == {"2024-02"}, change
        before = after
    older.execute("DROP VIEW behavioral_events")
    older.execute("DROP TABLE kept")


def test_reading_again_and_vacuum_change_no_fingerprint(
    older: Database, fill: Callable[..., None], settings_for: Callable[..., Settings]
) -> None:
    fill("text", "timestamp", [(str(i), f"2024-0{1 + i % 5}-01") for i in range(1000)])
    older.execute("DELETE FROM behavioral_events WHERE event_id < '3'")
    values = settings_for(**older.variables())
    before = events_state(values)
    assert events_state(values) == before

    for statement in ("VACUUM behavioral_events", "VACUUM FREEZE behavioral_events", "ANALYZE behavioral_events"):
        older.execute(statement)
        assert events_state(values) == before, statement
