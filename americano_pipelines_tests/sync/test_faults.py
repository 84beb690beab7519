"""Faults of the server during a sync: reported plainly, nothing half done, repaired by the next sync."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.errors import SourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.postgres_snapshot import APPLICATION_NAME
from americano_pipelines_tests.conftest import SYNC_ROLE, Database, Server, cut, new_server
from americano_pipelines_tests.sync.faults import (
    BOTH,
    EVENTS,
    EVERY_EVENT,
    SCANNER_SLOW,
    MakeSettings,
    Place,
    equal,
    synced,
    wait_for,
)
from americano_pipelines_tests.sync.forked import Commands, Running
from americano_pipelines_tests.sync.support import sync

# 8,000 events of 4 kB that do not compress: more than all buffers between the server and a reader that stands still.
MANY = """
INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp")
SELECT 'many' || i, 'learner_' || i % 8, 'CARD_REVIEWED',
    to_jsonb((SELECT string_agg(md5(i::text || n), '') FROM generate_series(1, 128) AS n)),
    timestamp '2025-01-01' + i * interval '40 minutes'
FROM generate_series(1, 8000) AS i
"""
# While a copy stands still: rows it has read and rows it has not, changed, moved, deleted and new.
MEANWHILE = """
UPDATE behavioral_events SET "contentType" = 'meanwhile' WHERE abs(hashtext(id)) % 3 = 0;
UPDATE behavioral_events SET "timestamp" = "timestamp" + interval '31 days' WHERE abs(hashtext(id)) % 7 = 0;
DELETE FROM behavioral_events WHERE abs(hashtext(id)) % 11 = 0;
UPDATE phase_assignments SET "phaseLabel" = 'meanwhile';
"""
COPYING = """
SELECT wait_event FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s
    AND state = 'active' AND query ILIKE '%%COPY%%behavioral_events%%' AND query NOT ILIKE '%%hashtext%%'
"""


@pytest.fixture(scope="module")
def own_server(server_folder: Path) -> Iterator[Server]:
    """A server to stop and to put back, which the suite's is not."""
    with new_server(server_folder / "own") as own:
        yield own


@pytest.fixture(scope="module")
def many_events(own_server: Server) -> Database:
    """A database that takes long enough to copy to be met in the middle of it."""
    database = cut(own_server, "prisma")
    database.execute(MANY)
    return database


@contextmanager
def in_the_middle_of_a_copy(commands: Commands, settings: Settings, **values: Any) -> Iterator[Running]:
    """Start a sync and let it stand still while the server is sending it the events; let it go on after the block."""
    place = values.pop("database")
    running = commands.start("sync", "--json", data_dir=settings.paths.root, **place.variables(**values))

    try:
        # One connection for all looks: the copy takes a tenth of a second.
        with closing(place.server.connect(place.name)) as link, link.cursor() as cursor:

            def waits_for() -> set[Any]:
                cursor.execute(COPYING, (APPLICATION_NAME,))
                return {row[0] for row in cursor.fetchall()}

            def met() -> bool:
                if not waits_for():
                    return False
                running.stop()
                # Until both look at each other, the server waiting for a reader that stands still; or it was the end.
                wait_for(lambda: waits_for() <= {"ClientWrite"}, "the copy that was met")
                if not waits_for():
                    running.go_on()
                    return False
                return True

            wait_for(met, "a copy of the events")
        if not settings.duckdb_use_postgres_scanner:
            assert list(settings.paths.lake.glob(f".tmp-staging-*/{EVENTS}"))
        yield running
    finally:
        running.go_on()


# The server


def stop_at_once(server: Server) -> None:
    """What `pg_ctl stop -m immediate` does: every session ends where it is, without goodbye."""
    pid = int((server.postgres.pgdata / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    wait_for(lambda: not server.postgres.is_running(), "the server's end")


@SCANNER_SLOW
def test_a_server_that_stops_during_a_copy_is_reported(
    many_events: Database, settings_for: MakeSettings, commands: Commands, *, scanner: bool
) -> None:
    server = many_events.server
    settings = settings_for(**many_events.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    before = Place(settings)
    many_events.execute(EVERY_EVENT)
    try:
        with in_the_middle_of_a_copy(
            commands, settings, database=many_events, duckdb_use_postgres_scanner=scanner
        ) as running:
            stop_at_once(server)
        done = running.done()
    finally:
        server.postgres.start()

    assert done.code == 1
    assert done.json["error"].startswith("still failing after 2 retries: americano_sync@127.0.0.1:")
    assert "refused" in done.json["error"]
    assert done.json["error_kind"] == "TransientSourceError"
    before.is_untouched()
    synced(settings, many_events)


@BOTH
@pytest.mark.parametrize("cut_off", [pytest.param("server restarted", marks=pytest.mark.slow), "connection ended"])
def test_a_copy_cut_off_in_the_middle_begins_anew_in_a_new_snapshot(
    many_events: Database, settings_for: MakeSettings, commands: Commands, cut_off: str, *, scanner: bool
) -> None:
    server = many_events.server
    settings = settings_for(**many_events.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    many_events.execute(EVERY_EVENT)
    with in_the_middle_of_a_copy(
        commands, settings, database=many_events, duckdb_use_postgres_scanner=scanner, log_level="DEBUG"
    ) as running:
        many_events.execute(MEANWHILE)
        if cut_off == "server restarted":
            stop_at_once(server)
            server.postgres.start()
        else:
            ended = many_events.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s AND datname = current_database()",
                (APPLICATION_NAME,),
            )
            assert (True,) in ended
    done = running.done()

    assert done.code == 0, done.err
    assert done.err.count("STEP_UP_FOR_RETRY") == 1
    assert "public.behavioral_events" in done.err
    assert done.json["changed"]
    equal(settings, many_events)


SLOW_VIEW = f"""
DROP VIEW IF EXISTS phase_assignments;
CREATE VIEW phase_assignments AS SELECT p.* FROM slow_phases AS p %s;
GRANT SELECT ON phase_assignments TO {SYNC_ROLE};
"""


@SCANNER_SLOW
def test_a_statement_that_takes_too_long_names_the_variable_to_raise(
    prisma: Database, settings_for: MakeSettings, commands: Commands, *, scanner: bool
) -> None:
    prisma.execute("ALTER TABLE phase_assignments RENAME TO slow_phases")
    prisma.execute(SLOW_VIEW % "")
    values = prisma.variables(duckdb_use_postgres_scanner=scanner)
    settings = settings_for(**values)
    sync(settings)
    before = Place(settings)
    prisma.execute(SLOW_VIEW % ", pg_sleep(30) AS s")
    prisma.execute(EVERY_EVENT)

    done = commands.run("sync", "--json", data_dir=settings.paths.root, **values, pg_statement_timeout=1)

    assert done.code == 1
    assert "table public.phase_assignments: a statement took longer than the 1 seconds of" in done.json["error"]
    assert "PG_STATEMENT_TIMEOUT" in done.json["error"]
    assert done.json["error_kind"] == "SourceError", "no retry: it would take as long again"
    before.is_untouched()
    prisma.execute(SLOW_VIEW % "")
    synced(settings, prisma)


LOST = {
    "a table": ("REVOKE SELECT ON phase_assignments FROM {}", "GRANT SELECT ON phase_assignments TO {}"),
    "a column": (
        "REVOKE SELECT ON phase_assignments FROM {0}; GRANT SELECT (id) ON phase_assignments TO {0}",
        "GRANT SELECT ON phase_assignments TO {}",
    ),
    "the schema": ("REVOKE USAGE ON SCHEMA public FROM {}, PUBLIC", "GRANT USAGE ON SCHEMA public TO {}"),
}


@SCANNER_SLOW
@pytest.mark.parametrize(("lose", "give_back"), LOST.values(), ids=LOST)
def test_a_permission_lost_between_two_syncs_fails_and_skips_nothing(
    prisma: Database, settings_for: MakeSettings, lose: str, give_back: str, *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    before = Place(settings)
    prisma.execute(EVERY_EVENT)
    prisma.execute(lose.format(SYNC_ROLE))

    with pytest.raises(SourceError, match=r"permission denied|may not read public") as failed:
        sync(settings)

    table = "behavioral_events" if "SCHEMA" in lose else "phase_assignments"
    assert f"public.{table}" in str(failed.value) or "schema public" in str(failed.value)
    assert type(failed.value) is SourceError, "lasting, so not retried"
    before.is_untouched()
    prisma.execute(give_back.format(SYNC_ROLE))
    synced(settings, prisma)
