"""Tables and databases with the same names, row counts and row versions, but other rows."""

import pytest
from psycopg2 import sql

from americano_pipelines_tests.conftest import SYNC_ROLE, Database
from americano_pipelines_tests.sync.faults import EVENTS, SCANNER_SLOW, MakeSettings
from americano_pipelines_tests.sync.support import published_rows, source_rows, sync

COPY = f"""
CREATE TABLE {{0}} (LIKE behavioral_events INCLUDING ALL);
INSERT INTO {{0}} SELECT * FROM behavioral_events;
GRANT SELECT ON {{0}} TO {SYNC_ROLE};
"""
CORRECT = 'UPDATE fresh SET "timeOfDay" = 23'
# Filled in one transaction, both have the same (id, xmin).
PREPARED = {
    "before the sync": COPY.format("fresh") + CORRECT,
    "in one transaction": (
        f"BEGIN; {COPY.format('twin')} {COPY.format('fresh')} "
        f"{CORRECT}; DROP TABLE behavioral_events; ALTER TABLE twin RENAME TO behavioral_events; COMMIT"
    ),
}
SWAP = "BEGIN; ALTER TABLE behavioral_events RENAME TO old; ALTER TABLE fresh RENAME TO behavioral_events; COMMIT"


@SCANNER_SLOW
@pytest.mark.parametrize("prepare", PREPARED.values(), ids=PREPARED)
def test_a_table_swapped_in_by_renaming_is_published(
    prisma: Database, settings_for: MakeSettings, prepare: str, *, scanner: bool
) -> None:
    prisma.execute(prepare)
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    prisma.execute(SWAP)

    assert sync(settings).changed

    assert published_rows(settings, EVENTS) == source_rows(prisma, EVENTS)
    assert not sync(settings).changed


@SCANNER_SLOW
@pytest.mark.parametrize(
    ("kind", "value"),
    [("regclass", "'audited'"), ("audit", "ROW('audited')"), ("names[]", "ARRAY['audited']::names[]")],
)
def test_a_new_name_of_what_a_value_names_is_published(
    prisma: Database, settings_for: MakeSettings, kind: str, value: str, *, scanner: bool
) -> None:
    prisma.execute(
        "CREATE TABLE audited(i int); CREATE DOMAIN names AS regclass; CREATE TYPE audit AS (at regclass);"
        f"ALTER TABLE behavioral_events ADD COLUMN place {kind}; UPDATE behavioral_events SET place = {value}"
    )
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    assert not sync(settings).changed
    prisma.execute("ALTER TABLE audited RENAME TO archived")

    assert sync(settings).changed

    places = {str(row[-1]) for row in published_rows(settings, EVENTS)[1:]}
    assert len(places) == 1
    assert "archived" in places.pop()
    assert not sync(settings).changed


@SCANNER_SLOW
def test_a_copy_of_the_database_is_another_source_under_any_name(
    prisma: Database, settings_for: MakeSettings, *, scanner: bool
) -> None:
    server = Database(prisma.server, "postgres")
    copy = Database(prisma.server, f"{prisma.name}_copy")
    server.execute(f"CREATE DATABASE {copy.name} TEMPLATE {prisma.name}")
    try:
        copy.execute('UPDATE behavioral_events SET "timeOfDay" = 22')
        sync(settings_for(**copy.variables(duckdb_use_postgres_scanner=scanner)))
        settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))

        assert sync(settings).changed
        assert published_rows(settings, EVENTS) == source_rows(prisma, EVENTS)

        aside = f"{prisma.name}_aside"
        for name, new in ((prisma.name, aside), (copy.name, prisma.name)):
            server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new)))
        try:
            assert sync(settings).changed
            assert published_rows(settings, EVENTS) == source_rows(prisma, EVENTS)
        finally:
            server.execute(f"DROP DATABASE {aside} WITH (FORCE)")
    finally:
        server.execute(f"DROP DATABASE IF EXISTS {copy.name} WITH (FORCE)")
