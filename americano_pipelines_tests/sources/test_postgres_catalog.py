"""Source tables in the catalog: names, columns, and tables that are refused."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from americano_pipelines.errors import ConfigError, SourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.postgres_catalog import PostgresTable, find_tables
from americano_pipelines_tests.conftest import SYNC_ROLE, Database
from americano_pipelines_tests.sources.helpers import both_figures, events, opened

EXACT = {
    "text": "VARCHAR",
    "varchar(20)": "VARCHAR",
    "boolean": "BOOLEAN",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "real": "FLOAT",
    "double precision": "DOUBLE",
    "uuid": "UUID",
    "bytea": "BLOB",
    "date": "DATE",
    "timestamp(3)": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "json": "JSON",
    "jsonb": "JSON",
    "text[]": "VARCHAR[]",
    "integer[]": "INTEGER[]",
    '"EventType"': "VARCHAR",
    '"EventType"[]': "VARCHAR[]",
}
TEXT_ONLY = [
    "numeric",
    "numeric(39,2)",
    "numeric(5,-2)",
    "interval",
    "time",
    "inet",
    "point",
    "char(3)",
    "text[][]",
    "numeric[]",
    "score",
]


@pytest.fixture
def find(settings_for: Callable[..., Settings]) -> Callable[..., PostgresTable]:
    """The events table of a database, under these settings."""

    def find_table(database: Database, **values: Any) -> PostgresTable:
        settings = settings_for(**database.variables(**values))
        with opened(settings) as snapshot:
            table = events(snapshot, settings)
            in_postgres, in_duckdb = both_figures(snapshot, table)
            assert in_postgres == in_duckdb
            return table

    return find_table


def granted(database: Database, *statements: str) -> None:
    for statement in statements:
        database.execute(statement)
    database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {SYNC_ROLE}")


def test_the_prisma_naming_is_found(prisma: Database, find: Callable[..., PostgresTable]) -> None:
    table = find(prisma)

    assert table.found_as == "public.behavioral_events"
    assert dict(table.roles) == {
        "id": "id",
        "time": "timestamp",
        "learner": "userId",
        "phase": "experimentPhase",
        "type": "eventType",
        "score": "sessionPerformanceScore",
        "engagement": "engagementLevel",
        "quality": "completionQuality",
    }


def test_the_older_naming_is_found(older: Database, find: Callable[..., PostgresTable]) -> None:
    table = find(older)

    assert table.found_as == "public.BehavioralEvent"
    assert dict(table.roles) == {
        "id": "event_id",
        "time": "event_time",
        "learner": "learner_id",
        "phase": "phase",
        "protocol": "experiment_id",
        "type": "event_type",
        "score": "score",
    }


def test_tables_that_are_not_there_are_skipped_with_the_names_tried(
    older: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**older.variables())
    with opened(settings) as snapshot:
        tables, skipped = find_tables(snapshot, settings)

    assert list(tables) == ["behavioral_events"]
    assert sorted(skipped) == ["analysis_runs", "experiment_protocols", "phase_assignments"]
    assert "public.analysis_runs or public.AnalysisRun" in skipped["analysis_runs"]


def test_without_events_nothing_can_be_read(older: Database, settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(**older.variables())
    older.execute('DROP TABLE "BehavioralEvent"')
    with pytest.raises(SourceError, match="Set PG_EVENTS_TABLE"), opened(settings) as snapshot:
        find_tables(snapshot, settings)


def test_of_both_names_the_snake_case_one_is_taken(older: Database, find: Callable[..., PostgresTable]) -> None:
    granted(older, 'CREATE TABLE behavioral_events AS SELECT * FROM "BehavioralEvent" LIMIT 7')

    assert find(older).found_as == "public.behavioral_events"


@pytest.mark.parametrize(
    ("name", "found_as"),
    [
        ("odd_events", "public.odd_events"),
        ("BehavioralEvent", "public.BehavioralEvent"),
        ('"BehavioralEvent"', "public.BehavioralEvent"),
        ("App.Events", "App.Events"),
        ('"App"."Events"', "App.Events"),
        ('"odd."', "public.odd."),
    ],
)
def test_the_events_table_may_have_a_name_of_its_own(
    older: Database, find: Callable[..., PostgresTable], name: str, found_as: str
) -> None:
    granted(
        older,
        'CREATE SCHEMA "App"',
        f'GRANT USAGE ON SCHEMA "App" TO {SYNC_ROLE}',
        *(
            f'CREATE TABLE {table} AS SELECT * FROM "BehavioralEvent" LIMIT 3'
            for table in ("odd_events", "behavioral_events", '"App"."Events"', '"odd."')
        ),
        f'GRANT SELECT ON "App"."Events" TO {SYNC_ROLE}',
    )

    assert find(older, pg_events_table=name).found_as == found_as


def test_the_schema_of_a_prisma_address_is_where_tables_are_looked_for(
    older: Database, settings_for: Callable[..., Settings]
) -> None:
    older.execute(
        'CREATE SCHEMA app; ALTER TABLE "BehavioralEvent" SET SCHEMA app; GRANT USAGE ON SCHEMA app TO PUBLIC'
    )
    settings = settings_for(database_url=url_of(older, "schema=app&connection_limit=1"))
    with opened(settings) as snapshot:
        assert events(snapshot, settings).found_as == "app.BehavioralEvent"


def url_of(database: Database, query: str) -> str:
    server = database.server
    return (
        f"postgresql://{SYNC_ROLE}:{quote(server.password, safe='')}@127.0.0.1:{server.postgres.port}"
        f"/{database.name}?{query}"
    )


@pytest.mark.parametrize("kind", ["text[]", "bytea[]", "numeric[]", "text[][]", "person"])
def test_a_learner_of_several_values_is_refused_by_table_and_column(
    older: Database, find: Callable[..., PostgresTable], kind: str
) -> None:
    older.execute("CREATE TYPE person AS (school text, number int)")
    older.execute(f'ALTER TABLE "BehavioralEvent" ALTER learner_id TYPE {kind} USING NULL')

    with pytest.raises(SourceError) as refused:
        find(older)

    assert str(refused.value).startswith("public.BehavioralEvent: the learner column 'learner_id' has type ")
    assert "it must be a single value" in str(refused.value)


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_a_view_can_be_the_source(older: Database, find: Callable[..., PostgresTable], kind: str) -> None:
    granted(older, f'CREATE {kind} behavioral_events AS SELECT *, \'{{"a": 1}}\'::json AS extra FROM "BehavioralEvent"')

    table = find(older)

    assert table.found_as == "public.behavioral_events"
    assert not table.has_row_versions


def test_a_partitioned_table_is_read_whole(older: Database, find: Callable[..., PostgresTable]) -> None:
    granted(
        older,
        "CREATE TABLE behavioral_events (event_id text, event_time timestamp) PARTITION BY RANGE (event_time)",
        "CREATE TABLE one PARTITION OF behavioral_events FOR VALUES FROM ('2024-06-01') TO ('2024-06-10')",
        "CREATE TABLE rest PARTITION OF behavioral_events DEFAULT",
        'INSERT INTO behavioral_events SELECT event_id, event_time FROM "BehavioralEvent"',
        "ANALYZE",
    )

    assert not find(older).has_row_versions


def test_every_type_that_is_known_is_copied_exactly(prisma: Database, find: Callable[..., PostgresTable]) -> None:
    for number, type_name in enumerate(EXACT):
        prisma.execute(f"ALTER TABLE behavioral_events ADD COLUMN c{number} {type_name}")
    columns = {column.name: column for column in find(prisma).columns}

    assert {name: columns[f"c{number}"].type for number, name in enumerate(EXACT)} == EXACT
    assert not columns["id"].nullable
    assert '["RUSHED","NORMAL","THOROUGH"]' in columns["completionQuality"].detail
    assert "default" in columns["timestamp"].detail


def test_types_without_an_exact_equal_are_copied_as_text(prisma: Database, find: Callable[..., PostgresTable]) -> None:
    prisma.execute("CREATE DOMAIN score AS integer CHECK (VALUE >= 0)")
    for number, type_name in enumerate(TEXT_ONLY):
        prisma.execute(f"ALTER TABLE behavioral_events ADD COLUMN c{number} {type_name}")
    columns = {column.name: column for column in find(prisma).columns}

    for number, type_name in enumerate(TEXT_ONLY):
        column = columns[f"c{number}"]
        assert (column.type, column.as_text) == ("VARCHAR", True), type_name
    assert not columns["id"].as_text


def test_columns_that_differ_only_in_case_are_refused(prisma: Database, find: Callable[..., PostgresTable]) -> None:
    prisma.execute("ALTER TABLE behavioral_events ADD COLUMN userid text")

    with pytest.raises(SourceError, match=r"public\.behavioral_events: the columns userId, userid differ only in case"):
        find(prisma)


@pytest.mark.parametrize("type_name", ["text", "bigint", "boolean", "timestamp[]"])
def test_times_of_a_wrong_type_are_refused(older: Database, find: Callable[..., PostgresTable], type_name: str) -> None:
    granted(older, f"CREATE TABLE behavioral_events (id text, event_time {type_name})")

    with pytest.raises(SourceError, match=r"the time column 'event_time' has type .*must be a date or a timestamp"):
        find(older)


def test_events_without_a_time_are_refused_with_the_names_tried(
    older: Database, find: Callable[..., PostgresTable]
) -> None:
    granted(older, "CREATE TABLE behavioral_events (id text, happened timestamp)")

    with pytest.raises(SourceError, match=r"no time column: none of event_time, .*\(id, happened\).*AMERICANO_COLUMNS"):
        find(older)
    named = find(older, americano_columns={"behavioral_events.time": "happened"})
    assert named.roles["time"] == "happened"
    with pytest.raises(ConfigError, match=r"AMERICANO_COLUMNS: behavioral_events\.time is set to 'Happened', but"):
        find(older, americano_columns={"behavioral_events.time": "Happened"})


def test_a_change_that_touches_no_row_shows_in_the_schema_hash(
    prisma: Database, find: Callable[..., PostgresTable]
) -> None:
    hashes = [find(prisma).schema_sha256]
    for change in (
        """ALTER TYPE "CompletionQuality" RENAME VALUE 'RUSHED' TO 'HURRIED'""",
        "ALTER TABLE behavioral_events ADD COLUMN extra integer DEFAULT 7",
        "ALTER TABLE behavioral_events ALTER COLUMN extra TYPE bigint",
        'ALTER TABLE behavioral_events RENAME COLUMN "timeOfDay" TO hour',
        "ALTER TABLE behavioral_events DROP COLUMN hour",
    ):
        prisma.execute(change)
        hashes.append(find(prisma).schema_sha256)

    assert len(set(hashes)) == len(hashes)
    assert find(prisma).schema_sha256 == hashes[-1]


def test_a_type_changed_anywhere_below_a_column_changes_the_hash(
    prisma: Database, find: Callable[..., PostgresTable]
) -> None:
    prisma.execute(
        """
        CREATE TYPE mood AS ENUM ('a,b', 'c');
        CREATE DOMAIN feeling AS mood;
        CREATE TYPE place AS (felt feeling[], number integer);
        CREATE TYPE span AS RANGE (SUBTYPE = feeling);
        ALTER TABLE behavioral_events ADD x place[]
        """
    )
    hashes = [find(prisma).schema_sha256]
    for change in (
        "ALTER TYPE mood RENAME VALUE 'c' TO 'b,c'; ALTER TYPE mood RENAME VALUE 'a,b' TO 'a'",
        "ALTER TYPE place ADD ATTRIBUTE more text CASCADE",
        "ALTER TYPE place DROP ATTRIBUTE number CASCADE",
        "ALTER TYPE place RENAME ATTRIBUTE more TO much CASCADE",
        "ALTER TABLE behavioral_events ADD y span",
        "ALTER TYPE mood RENAME VALUE 'a' TO 'z'",
    ):
        prisma.execute(change)
        hashes.append(find(prisma).schema_sha256)
    prisma.execute("ALTER TABLE behavioral_events DROP x")
    hashes.append(find(prisma).schema_sha256)
    prisma.execute("ALTER TYPE mood RENAME VALUE 'z' TO 'only below a range'")
    hashes.append(find(prisma).schema_sha256)

    assert len(set(hashes)) == len(hashes)
