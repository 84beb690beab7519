"""Each mode end to end, in this process: the published rows are the source's rows."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import learner_index, snapshots
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.warehouse.helpers import published, rows, synced, write_parquet

ODD_TIMES = ["infinity", "-infinity", "0044-03-15 12:00 BC", "10000-01-01", "0001-01-01", "9999-12-31 23:59:59.999"]
TABLES = {"behavioral_events", "experiment_protocols", "phase_assignments", "analysis_runs"}


def add_odd_times(database: Database) -> None:
    for number, time in enumerate(ODD_TIMES):
        database.execute(
            """INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp")
            VALUES (%s, 'x', 'CARD_REVIEWED', '{}', %s)""",
            (f"odd{number}", time),
        )


def source_rows(database: Database, table: str, *, order: str = "id") -> list[tuple[Any, ...]]:
    """Every column of every row as psycopg2 reads it, enums and JSON as text."""
    with closing(database.server.connect(database.name)) as link, link.cursor() as cursor:
        cursor.execute(f'SELECT * FROM "{table}" LIMIT 0')
        names = [column.name for column in cursor.description]
        kinds = dict(
            database.execute("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute a "
                             "JOIN pg_class c ON c.oid = attrelid WHERE relname = %s", (table,))
        )  # fmt: skip
        select = ", ".join(f'"{name}"{"::text" if kinds[name] == "jsonb" else ""}' for name in names)
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(f'SELECT {select} FROM "{table}" ORDER BY {order}')
        return cursor.fetchall()


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_published_rows_are_the_source_rows(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))

    outcome = synced(settings)

    assert outcome.changed
    assert outcome.blocked_by == []
    assert outcome.document.skipped == {}
    for table in TABLES:
        assert rows(settings, f"FROM analytics.{table} ORDER BY id") == source_rows(prisma, table)
        built = outcome.document.tables[table]
        assert built.rows == built.source_rows == prisma.execute(f"SELECT count(*) FROM {table}")[0][0]


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_the_older_naming_is_published_under_its_own_column_names(
    older: Database, settings_for: Callable[..., Settings], *, scanner: bool
) -> None:
    settings = settings_for(**older.variables(duckdb_use_postgres_scanner=scanner))

    outcome = synced(settings)

    events = rows(settings, "FROM analytics.behavioral_events ORDER BY event_id")
    assert events == source_rows(older, "BehavioralEvent", order='event_id COLLATE "C"')
    assert outcome.document.tables["behavioral_events"].found_as == "public.BehavioralEvent"
    assert set(outcome.missing) == TABLES - {"behavioral_events"}
    assert rows(settings, "FROM research.events_by_protocol") == older.execute(
        'SELECT experiment_id, count(*), count(DISTINCT learner_id) FROM "BehavioralEvent" '
        "WHERE experiment_id IS NOT NULL GROUP BY 1 ORDER BY 1"
    )


def test_all_modes_publish_the_same_tables(
    prisma: Database, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    add_odd_times(prisma)
    lake = settings_for(**prisma.variables())
    scanner = settings_for(**prisma.variables(duckdb_use_postgres_scanner=True), duckdb_db_path=tmp_path / "s.duckdb")
    synced(lake)
    synced(scanner)
    exports = {}
    for table in TABLES:
        file = write_parquet(
            tmp_path / f"{table}.parquet",
            f"FROM read_parquet('{lake.paths.lake}/{table}/*/*.parquet', hive_partitioning = false) ORDER BY hash(id)",
        )
        exports[f"{table}_parquet"] = str(file)
    files = settings_for(**exports, duckdb_db_path=tmp_path / "f.duckdb", americano_data_dir=tmp_path / "other")
    synced(files)

    with duckdb.connect() as connection:
        for name, settings in {"lake": lake, "scanner": scanner, "files": files}.items():
            connection.execute(f"ATTACH '{snapshots.current(settings.paths)}' AS {name} (READ_ONLY)")
        relations = [f"analytics.{table}" for table in TABLES]
        relations += [f"research.{model}" for model in synced(lake).document.models]
        assert len(relations) == 15
        for relation in relations:
            for left, right in [("lake", "scanner"), ("scanner", "lake"), ("lake", "files"), ("files", "lake")]:
                extra = connection.execute(f"FROM {left}.{relation} EXCEPT ALL FROM {right}.{relation}").fetchall()
                assert extra == [], (relation, left, right)
            types = [
                [row[:2] for row in connection.execute(f"DESCRIBE {name}.{relation}").fetchall()]
                for name in ("lake", "scanner", "files")
            ]
            assert types[0] == types[1] == types[2]


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_events_are_ordered_by_month_learner_and_time(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool
) -> None:
    add_odd_times(prisma)
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))

    outcome = synced(settings)

    assert outcome.blocked_by == []
    assert outcome.document.tables["behavioral_events"].rows == 4006
    sort_key = outcome.document.tables["behavioral_events"].sort_key
    assert sort_key == ["month of timestamp", "userId", "timestamp", "id"]
    month = """CASE WHEN "timestamp" < '0001-01-01' THEN '-infinity' WHEN "timestamp" >= '10000-01-01' THEN 'infinity'
        ELSE date_trunc('month', "timestamp") END"""
    ordered = (
        f"""SELECT id FROM behavioral_events ORDER BY {month}, "userId" COLLATE "C", "timestamp", id COLLATE "C" """
    )
    assert rows(settings, "SELECT id FROM analytics.behavioral_events ORDER BY rowid") == prisma.execute(ordered)
    unsorted = "SELECT id FROM behavioral_events ORDER BY ctid"
    assert prisma.execute(unsorted) != prisma.execute(ordered)


@pytest.mark.parametrize("learners", [40, 5000])
@pytest.mark.parametrize("when", ["auto", "always", "never"])
def test_the_index_on_the_learner_is_there_where_it_pays(
    settings_for: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    learners: int,
    when: str,
) -> None:
    monkeypatch.setattr(learner_index, "MIN_ROWS", 100_000)
    monkeypatch.setattr(learner_index, "MIN_LEARNERS", 1000)
    events = write_parquet(
        tmp_path / "events.parquet",
        f"""SELECT i::VARCHAR AS id, 'u' || (i % {learners}) AS "userId", TIMESTAMP '2025-01-01' + to_seconds(i) AS ts
        FROM range(100_000) AS t(i)""",
    )
    settings = settings_for(behavioral_events_parquet=str(events), americano_learner_index=when)

    outcome = synced(settings)

    indexed = when == "always" or (when == "auto" and learners == 5000)
    assert outcome.document.tables["behavioral_events"].indexes == ["userId"] * indexed
    assert rows(settings, "SELECT count(*) FROM duckdb_indexes()") == [(indexed,)]


def test_another_setting_of_the_index_builds_the_file_anew(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    synced(settings_for(**prisma.variables()))

    outcome = synced(settings_for(**prisma.variables(americano_learner_index="always")))

    assert outcome.document.built == "build: the published file was built with another setting of the learner index"
    assert outcome.document.tables["behavioral_events"].indexes == ["userId"]


def test_one_index_on_the_learner_is_used_and_nothing_is_unique(
    settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    events = write_parquet(
        tmp_path / "events.parquet",
        """SELECT i::VARCHAR AS id, 'u' || (i % 5000) AS "userId", TIMESTAMP '2025-01-01' + to_seconds(i) AS ts
        FROM range(200_000) AS t(i)""",
    )
    settings = settings_for(behavioral_events_parquet=str(events), americano_learner_index="always")

    synced(settings)

    assert rows(settings, "SELECT table_name, expressions, is_unique FROM duckdb_indexes()") == [
        ("behavioral_events", "[userId]", False)
    ]
    kinds = "SELECT count(*) FROM duckdb_constraints() WHERE constraint_type IN ('PRIMARY KEY', 'UNIQUE')"
    assert rows(settings, kinds) == [(0,)]
    plan = rows(settings, """EXPLAIN ANALYZE SELECT * FROM analytics.behavioral_events WHERE "userId" = 'u77'""")
    assert "Index Scan" in plan[0][1]
    assert rows(settings, """SELECT count(*) FROM analytics.behavioral_events WHERE "userId" = 'u77'""") == [(40,)]


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_an_unchanged_source_publishes_no_new_file(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    first = synced(settings)
    before = published(settings)

    second = synced(settings)

    assert not second.changed
    assert second.document == first.document
    assert second.before == first.document.states
    assert published(settings) == before


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_a_changed_source_publishes_a_new_file(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    first = synced(settings)
    prisma.execute("""UPDATE phase_assignments SET "plannedDuration" = 15 WHERE id = 'phase_0_1'""")

    second = synced(settings)

    assert second.changed
    assert second.document.snapshot_id != first.document.snapshot_id
    before, after = first.document.states, second.document.states
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        "analytics.phase_assignments",
        "research.phases",
        "research.daily_outcomes",
        "research.protocol_events",
        "research.events_by_protocol",
    }


def test_a_table_whose_source_is_gone_goes_with_the_next_build(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables())
    synced(settings)
    prisma.execute("DROP TABLE analysis_runs")

    outcome = synced(settings)

    assert "analysis_runs" not in outcome.document.tables
    assert set(outcome.document.skipped) == {
        "analytics.analysis_runs", "research.analysis_runs", "research.verdicts"
    }  # fmt: skip
    assert outcome.document.skipped["research.analysis_runs"] == "there is no analysis_runs"
    assert rows(settings, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'analysis_runs'") == [(0,)]


def test_empty_source_tables_are_published_empty(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    prisma.execute("TRUNCATE behavioral_events, experiment_protocols CASCADE")
    for scanner in (False, True):
        settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))

        outcome = synced(settings)

        assert outcome.blocked_by == []
        assert {table.rows for table in outcome.document.tables.values()} == {0}
        assert rows(settings, "SELECT count(*) FROM research.daily_events") == [(0,)]


def test_columns_may_have_any_name(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    names = ["it's", 'who "{x}"', "100 % -- ä", "when; DROP"]
    events = write_parquet(
        tmp_path / "e.parquet",
        """SELECT 1 AS "it's", 'u' AS "who ""{x}\""", 2 AS "100 % -- ä", TIMESTAMP '2025-01-01' AS "when; DROP\"""",
    )
    roles = {"id": names[0], "learner": names[1], "time": names[3]}
    columns = {f"behavioral_events.{role}": name for role, name in roles.items()}
    settings = settings_for(behavioral_events_parquet=str(events), americano_columns=columns)

    outcome = synced(settings)

    built = outcome.document.tables["behavioral_events"]
    assert built.lineage == {name: [("source.behavioral_events", name)] for name in names}
    assert rows(settings, "SELECT event_id, learner_id FROM research.events") == [("1", "u")]
