"""A table that another session locks: how long it is waited for, and what the message names."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from americano_pipelines.errors import LockedSourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources import snapshot_connections
from americano_pipelines.sources.postgres_catalog import find_tables
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sources.helpers import opened
from americano_pipelines_tests.sync.faults import wait_for

MakeSettings = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_connections, "LOCK_TIMEOUT_MS", 200)


@contextmanager
def transaction(database: Database, statement: str) -> Iterator[int]:
    """A transaction that is open for the block; gives its process."""
    with closing(database.server.connect(database.name)) as link:
        link.autocommit = False
        link.cursor().execute("SET application_name = 'migration'")
        link.cursor().execute(statement)
        yield int(link.get_backend_pid())


# Statement of the migration, the table that the sync waits for, what is locked.
LOCKS = {
    "a column added": ("ALTER TABLE behavioral_events ADD note text DEFAULT 'n'", *["behavioral_events"] * 2),
    "emptied": ("TRUNCATE behavioral_events", *["behavioral_events"] * 2),
    "another table": ("LOCK TABLE phase_assignments", *["phase_assignments"] * 2),
    "below a view": ("LOCK TABLE kept_runs", "analysis_runs", "kept_runs"),
    "a partition": ("LOCK TABLE late_protocols", "experiment_protocols", "late_protocols"),
}
RUNS_AS_VIEW = """
ALTER TABLE analysis_runs RENAME TO kept_runs;
CREATE VIEW analysis_runs AS SELECT * FROM kept_runs;
GRANT SELECT ON analysis_runs TO americano_sync
"""
PROTOCOLS_IN_PARTS = """
ALTER TABLE experiment_protocols RENAME TO kept_protocols;
CREATE TABLE experiment_protocols (LIKE kept_protocols) PARTITION BY LIST ("userId");
CREATE TABLE late_protocols PARTITION OF experiment_protocols DEFAULT;
GRANT SELECT ON experiment_protocols, late_protocols TO americano_sync
"""


@pytest.mark.parametrize(("statement", "table", "locked"), LOCKS.values(), ids=LOCKS)
def test_the_message_names_the_table_who_locks_it_and_what_helps(
    prisma: Database, settings_for: MakeSettings, statement: str, table: str, locked: str
) -> None:
    prisma.execute(RUNS_AS_VIEW)
    prisma.execute(PROTOCOLS_IN_PARTS)
    settings = settings_for(**prisma.variables())

    with (
        transaction(prisma, statement) as pid,
        pytest.raises(LockedSourceError, match=rf"table public\.{table}( or \S+)?: another session locks it") as failed,
        opened(settings) as snapshot,
    ):
        find_tables(snapshot, settings)

    assert f"Process {pid} (role 'postgres', application 'migration'" in str(failed.value)
    assert f"locks public.{locked}; SELECT pg_terminate_backend({pid}) ends it" in str(failed.value)


def test_so_does_the_message_where_the_tables_are_only_looked_at(prisma: Database, settings_for: MakeSettings) -> None:
    settings = settings_for(**prisma.variables())

    with (
        transaction(prisma, LOCKS["a column added"][0]) as pid,
        pytest.raises(LockedSourceError, match=rf"table public\.behavioral_events: .*Process {pid}"),
        opened(settings) as snapshot,
    ):
        find_tables(snapshot, settings, hold=False)


def test_a_migration_that_waits_itself_is_named_as_waiting(prisma: Database, settings_for: MakeSettings) -> None:
    settings = settings_for(**prisma.variables())
    with closing(prisma.server.connect(prisma.name)) as reader, closing(prisma.server.connect(prisma.name)) as link:
        reader.autocommit = link.autocommit = False
        reader.cursor().execute("SELECT count(*) FROM behavioral_events")
        migration = threading.Thread(target=link.cursor().execute, args=("LOCK TABLE behavioral_events",))
        migration.start()
        try:
            wait_for(lambda: prisma.execute("SELECT 1 FROM pg_locks WHERE NOT granted"), "the migration to wait")
            with pytest.raises(LockedSourceError) as failed, opened(settings) as snapshot:
                find_tables(snapshot, settings)
        finally:
            reader.rollback()
            migration.join(timeout=30)

        assert f"Process {link.get_backend_pid()} " in str(failed.value)
    assert "waits to lock public.behavioral_events" in str(failed.value)
