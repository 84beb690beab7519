"""Changes that a snapshot cannot see or that leave every row unchanged; one test for each that once failed."""

import os
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources import postgres_catalog
from americano_pipelines_tests.conftest import SYNC_ROLE, Database
from americano_pipelines_tests.sync.faults import BOTH, SCANNER_SLOW, MakeSettings
from americano_pipelines_tests.sync.support import published_rows, source_rows, sync

COPY_OF_PHASES = f"""
CREATE TABLE fresh (LIKE phase_assignments INCLUDING ALL);
INSERT INTO fresh SELECT * FROM phase_assignments;
GRANT SELECT ON fresh TO {SYNC_ROLE};
"""
REPLACING = {
    "emptied and filled again": """
        CREATE TEMP TABLE aside AS SELECT * FROM phase_assignments;
        TRUNCATE phase_assignments;
        INSERT INTO phase_assignments SELECT * FROM aside;""",
    "dropped, another given its name": f"""{COPY_OF_PHASES}
        DROP TABLE phase_assignments;
        ALTER TABLE fresh RENAME TO phase_assignments;""",
    "renamed, another given its name": f"""{COPY_OF_PHASES}
        ALTER TABLE phase_assignments RENAME TO phases_before;
        ALTER TABLE fresh RENAME TO phase_assignments;""",
    "rewritten": 'ALTER TABLE phase_assignments ALTER COLUMN "plannedDuration" TYPE bigint',
}
EVENTS_AS_VIEW = f"""
ALTER TABLE behavioral_events RENAME TO raw_events;
CREATE VIEW behavioral_events AS SELECT * %s FROM raw_events;
GRANT SELECT ON behavioral_events TO {SYNC_ROLE};
"""
EVENTS_IN_PARTS = f"""
ALTER TABLE behavioral_events RENAME TO raw_events;
CREATE TABLE behavioral_events (LIKE raw_events) PARTITION BY RANGE ("timestamp");
CREATE TABLE early_part PARTITION OF behavioral_events FOR VALUES FROM (MINVALUE) TO ('2025-03-01');
CREATE TABLE late_part PARTITION OF behavioral_events FOR VALUES FROM ('2025-03-01') TO (MAXVALUE);
INSERT INTO behavioral_events SELECT * FROM raw_events;
GRANT SELECT ON behavioral_events TO {SYNC_ROLE};
"""


@pytest.fixture
def once_begun(monkeypatch: pytest.MonkeyPatch) -> Callable[[Database, str], None]:
    """Have another session commit a change once the snapshot is taken and before the tables are locked."""
    original = postgres_catalog._lock_tables  # noqa: SLF001 - the one moment between the two

    def arrange(database: Database, change: str) -> None:
        def hold_still(*arguments: Any) -> Any:
            database.execute(change)
            return original(*arguments)

        monkeypatch.setattr(postgres_catalog, "_lock_tables", hold_still)

    return arrange


def check_nothing_is_published_until_the_next(
    settings: Settings, database: Database, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync that met the change says so and leaves what was published; one after it has every row."""
    before = settings.paths.published.resolve()
    rows = published_rows(settings, table)
    with pytest.raises(TransientSourceError, match="was emptied, rewritten or replaced while the copy began"):
        sync(settings)
    assert settings.paths.published.resolve() == before
    assert published_rows(settings, table) == rows
    monkeypatch.undo()
    assert sync(settings).blocked_by == []
    assert published_rows(settings, table) == source_rows(database, table)
    assert len(rows) > 8


@SCANNER_SLOW
@pytest.mark.parametrize("change", REPLACING.values(), ids=REPLACING)
def test_a_table_replaced_after_the_snapshot_is_not_published_as_empty(
    prisma: Database,
    settings_for: MakeSettings,
    once_begun: Callable[[Database, str], None],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    *,
    scanner: bool,
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    once_begun(prisma, change)

    check_nothing_is_published_until_the_next(settings, prisma, "phase_assignments", monkeypatch)


UNDER_WAY = {
    "renamed, another added under its name": """
        ALTER TABLE phase_assignments RENAME COLUMN "phaseType" TO type_before;
        ALTER TABLE phase_assignments ADD COLUMN "phaseType" text""",
    "two names swapped": """
        ALTER TABLE phase_assignments RENAME COLUMN "phaseType" TO aside;
        ALTER TABLE phase_assignments RENAME COLUMN "phaseLabel" TO "phaseType";
        ALTER TABLE phase_assignments RENAME COLUMN aside TO "phaseLabel";
    """,
    "dropped": 'ALTER TABLE phase_assignments DROP COLUMN "phaseType"',
    "a type widened": "ALTER TABLE phase_assignments ALTER COLUMN note TYPE varchar(20)",
    "a label renamed": "ALTER TYPE mood RENAME VALUE 'calm' TO 'quiet'",
    "the table removed": "ALTER TABLE phase_assignments RENAME TO phases_before",
}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=name, marks=[] if name in {"dropped", "a label renamed"} else pytest.mark.slow)
        for name, change in UNDER_WAY.items()
    ],
)
def test_a_migration_that_was_under_way_at_the_snapshot_is_a_new_attempt(
    prisma: Database,
    settings_for: MakeSettings,
    once_begun: Callable[[Database, str], None],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    prisma.execute("CREATE TYPE mood AS ENUM ('calm')")
    prisma.execute("ALTER TABLE phase_assignments ADD note varchar(10) DEFAULT 'n', ADD mood mood DEFAULT 'calm'")
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=True))
    sync(settings)
    before = settings.paths.published.resolve()
    once_begun(prisma, change)

    # All is read again, as it is when rows changed meanwhile. A scan may meet a new label itself.
    with pytest.raises(
        TransientSourceError, match=r"was changed, swapped or removed while it was read|Could not map ENUM value"
    ):
        sync(settings, full=True)

    assert settings.paths.published.resolve() == before
    monkeypatch.undo()
    if "phases_before" in change:
        prisma.execute("ALTER TABLE phases_before RENAME TO phase_assignments")
    assert sync(settings).blocked_by == []
    assert published_rows(settings, "phase_assignments") == source_rows(prisma, "phase_assignments")


def test_the_first_sync_publishes_no_table_emptied_after_its_snapshot(
    prisma: Database, settings_for: MakeSettings, once_begun: Callable[[Database, str], None]
) -> None:
    settings = settings_for(**prisma.variables())
    once_begun(prisma, REPLACING["emptied and filled again"])

    with pytest.raises(TransientSourceError, match=r"public\.phase_assignments: phase_assignments was emptied"):
        sync(settings)

    assert not settings.paths.published.exists()


def test_a_table_of_a_view_emptied_after_the_snapshot_is_noticed(
    prisma: Database, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prisma.execute(EVENTS_AS_VIEW % "")
    settings = settings_for(**prisma.variables())
    sync(settings)
    emptied = []

    def look(*arguments: Any) -> Any:
        # Before the view is looked at: its definition is read under a lock on what lies below it.
        if not emptied:
            emptied.append(
                prisma.execute(
                    "CREATE TEMP TABLE aside AS SELECT * FROM raw_events; TRUNCATE raw_events;"
                    "INSERT INTO raw_events SELECT * FROM aside"
                )
            )
        return names(*arguments)

    names = postgres_catalog.source_names
    monkeypatch.setattr(postgres_catalog, "source_names", look)

    check_nothing_is_published_until_the_next(settings, prisma, "behavioral_events", monkeypatch)


PARTS = {
    "emptied": """
        CREATE TEMP TABLE aside AS SELECT * FROM late_part;
        TRUNCATE late_part;
        INSERT INTO late_part SELECT * FROM aside;""",
    "exchanged": """
        CREATE TABLE fresh AS SELECT * FROM late_part;
        ALTER TABLE behavioral_events DETACH PARTITION late_part;
        ALTER TABLE fresh ALTER id SET NOT NULL, ALTER "userId" SET NOT NULL, ALTER "eventType" SET NOT NULL,
            ALTER "eventData" SET NOT NULL, ALTER "timestamp" SET NOT NULL;
        ALTER TABLE behavioral_events ATTACH PARTITION fresh FOR VALUES FROM ('2025-03-01') TO (MAXVALUE);""",
}


@pytest.mark.parametrize("change", PARTS.values(), ids=PARTS)
def test_a_partition_replaced_after_the_snapshot_is_noticed(
    prisma: Database,
    settings_for: MakeSettings,
    once_begun: Callable[[Database, str], None],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    prisma.execute(EVENTS_IN_PARTS)
    settings = settings_for(**prisma.variables())
    sync(settings)
    once_begun(prisma, change)

    check_nothing_is_published_until_the_next(settings, prisma, "behavioral_events", monkeypatch)


@SCANNER_SLOW
def test_a_column_dropped_and_added_again_is_seen(
    prisma: Database, settings_for: MakeSettings, *, scanner: bool
) -> None:
    prisma.execute("""UPDATE analysis_runs SET "errorMessage" = 'it failed'""")
    prisma.execute("ALTER TABLE analysis_runs DROP COLUMN status")  # so the column is the last before and after
    prisma.execute("ALTER TABLE phase_assignments ADD COLUMN extra text DEFAULT 'one'")
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    prisma.execute('ALTER TABLE analysis_runs DROP COLUMN "errorMessage", ADD COLUMN "errorMessage" text')
    prisma.execute("ALTER TABLE phase_assignments DROP COLUMN extra")
    prisma.execute("ALTER TABLE phase_assignments ADD COLUMN extra text DEFAULT 'two'")
    prisma.execute("ALTER TABLE phase_assignments ALTER COLUMN extra SET DEFAULT 'one'")

    assert sync(settings).changed

    for table in ("analysis_runs", "phase_assignments"):
        assert published_rows(settings, table) == source_rows(prisma, table)


@BOTH
@pytest.mark.parametrize("name", ["t", '"ROW"', "behavioral_events"])
@pytest.mark.slow
def test_a_change_is_seen_in_a_view_with_a_column_of_any_name(
    prisma: Database, settings_for: MakeSettings, name: str, *, scanner: bool
) -> None:
    prisma.execute(EVENTS_AS_VIEW % f", 1 AS {name}")
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    prisma.execute("""UPDATE raw_events SET "contentType" = 'changed' WHERE id = (SELECT min(id) FROM raw_events)""")

    assert sync(settings).changed

    assert published_rows(settings, "behavioral_events") == source_rows(prisma, "behavioral_events")


@BOTH
@pytest.mark.parametrize(
    ("table", "column"), [("analysis_runs", "completedAt"), ("phase_assignments", "plannedDuration")]
)
def test_text_where_a_role_needs_time_or_number_is_refused_by_column(
    prisma: Database, settings_for: MakeSettings, table: str, column: str, *, scanner: bool
) -> None:
    prisma.execute(f'ALTER TABLE {table} ALTER COLUMN "{column}" TYPE text')
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))

    with pytest.raises(SourceError, match=rf"public\.{table}: the \w+ column '{column}' has type text"):
        sync(settings)

    assert not settings.paths.published.exists()


@BOTH
def test_what_libpq_takes_from_the_environment_changes_nothing(
    older: Database, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch, *, scanner: bool
) -> None:
    # A range is published as Postgres's own text, which depends on time zone and date style.
    older.execute('ALTER TABLE "BehavioralEvent" ADD COLUMN span tstzrange')
    older.execute(
        """UPDATE "BehavioralEvent" SET span = tstzrange(event_time, NULL), event_type = 'Größe 数' || event_id"""
    )
    settings = settings_for(**older.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    expected = published_rows(settings, "behavioral_events")
    outside = {"PGTZ": "America/New_York", "PGDATESTYLE": "SQL, DMY", "PGCLIENTENCODING": "LATIN1"}
    for name, value in outside.items():
        monkeypatch.setenv(name, value)

    assert sync(settings, full=True).changed

    assert published_rows(settings, "behavioral_events") == expected
    assert any("Größe 数" in str(row) and "+00" in str(row) for row in expected)
    assert {name: os.environ.get(name) for name in outside} == outside


def test_the_environment_is_put_back_after_a_failure_too(
    prisma: Database, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "America/New_York")
    with pytest.raises(SourceError, match="authentication failed"):
        sync(settings_for(**prisma.variables(pg_password="wrong")))  # noqa: S106 - made up

    assert os.environ["PGTZ"] == "America/New_York"


def seen_from(settings: Settings, zone: str, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.paths.published), read_only=True) as connection:
        return connection.execute(f"SET TimeZone = '{zone}'").execute(query).fetchall()


def test_events_with_a_time_zone_are_read_in_utc_from_any_zone(older: Database, settings_for: MakeSettings) -> None:
    settings = settings_for(**older.variables())
    sync(settings)
    days = "SELECT CAST(event_time AS DATE) AS day, count(*) FROM research.events GROUP BY 1 ORDER BY 1"

    days_in_new_york = seen_from(settings, "America/New_York", days)

    assert days_in_new_york == seen_from(settings, "UTC", "SELECT day, events FROM research.daily_events ORDER BY day")
    assert days_in_new_york == older.execute(
        "SELECT (event_time AT TIME ZONE 'UTC')::date, count(*) FROM \"BehavioralEvent\" GROUP BY 1 ORDER BY 1"
    )


def test_phases_with_a_time_zone_cover_the_same_events_from_any_zone(
    prisma: Database, settings_for: MakeSettings
) -> None:
    for column in ("startDate", "endDate"):
        prisma.execute(
            f"""ALTER TABLE phase_assignments ALTER "{column}" TYPE timestamptz USING "{column}" AT TIME ZONE 'UTC'"""
        )
    settings = settings_for(**prisma.variables())
    sync(settings)

    for query in (
        "SELECT phase_id, starts_at, ends_at FROM research.phases ORDER BY 1",
        "SELECT count(*), min(event_time) FROM research.protocol_events",
    ):
        assert seen_from(settings, "America/New_York", query) == seen_from(settings, "UTC", query)
    starts = seen_from(settings, "America/New_York", "SELECT min(starts_at) FROM research.phases")
    assert starts == prisma.execute("""SELECT min("startDate") AT TIME ZONE 'UTC' FROM phase_assignments""")


@SCANNER_SLOW
def test_rows_that_belong_to_no_month_come_change_and_go_like_any_others(
    prisma: Database, settings_for: MakeSettings, *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    none = 'WHERE NOT isfinite("timestamp") OR "timestamp" < \'0001-01-01\''
    two = 'WHERE id IN (SELECT id FROM behavioral_events WHERE isfinite("timestamp") ORDER BY id LIMIT 2)'
    first = f"(SELECT min(id) FROM behavioral_events {none})"
    changes = [
        f"UPDATE behavioral_events SET \"timestamp\" = 'infinity' {two}",
        f"UPDATE behavioral_events SET \"timestamp\" = '-infinity' {two}",
        f"UPDATE behavioral_events SET \"timestamp\" = '0044-03-15 BC' {two}",
        f'UPDATE behavioral_events SET "timeOfDay" = 77 {none}',
        f"UPDATE behavioral_events SET \"timestamp\" = '2025-02-03' WHERE id = {first}",
        f"DELETE FROM behavioral_events {none}",
    ]

    patched = 0
    for change in changes:
        prisma.execute(change)
        outcome = sync(settings)
        assert outcome.path is not None
        patched += outcome.document.built.startswith("patch")
        assert published_rows(settings, "behavioral_events") == source_rows(prisma, "behavioral_events")
    assert patched >= 3, "a build from nothing reads all months at once"
