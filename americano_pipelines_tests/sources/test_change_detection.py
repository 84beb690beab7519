"""One instant: scans and queries see the same rows while others write."""

import threading
from collections.abc import Callable
from contextlib import closing

from americano_pipelines.settings import Settings
from americano_pipelines.sources.checksums import total
from americano_pipelines.sources.postgres_catalog import find_tables
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sources.helpers import both_figures, opened

WRITES = """
DELETE FROM behavioral_events WHERE "timeOfDay" = 3;
UPDATE behavioral_events SET "timestamp" = "timestamp" + interval '40 days' WHERE "timeOfDay" = 4;
UPDATE behavioral_events SET "sessionPerformanceScore" = 1 WHERE "timeOfDay" = 5;
INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp")
SELECT 'new' || i, 'new', 'GRAPH_VIEWED', '{}', '2025-02-01' FROM generate_series(1, 500) AS i;
DELETE FROM analysis_runs;
UPDATE phase_assignments SET "startDate" = "startDate" + interval '1 day';
DELETE FROM experiment_protocols WHERE id = 'protocol_1';
"""


def test_all_tables_are_read_at_one_instant_by_scans_and_queries(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables())
    expected = {"behavioral_events": 4000, "experiment_protocols": 2, "phase_assignments": 8, "analysis_runs": 2}
    with opened(settings) as snapshot:
        tables, skipped = find_tables(snapshot, settings)
        first = both_figures(snapshot, tables["behavioral_events"])
        prisma.execute(WRITES)
        after = {name: both_figures(snapshot, table) for name, table in tables.items()}
    with opened(settings) as snapshot:
        later = both_figures(snapshot, tables["behavioral_events"])

    assert skipped == {}
    assert {name: total(in_postgres) for name, (in_postgres, _) in after.items()} == expected
    assert all(in_postgres == in_duckdb for in_postgres, in_duckdb in after.values())
    assert after["behavioral_events"] == first
    assert later[0] == later[1] != first[0]


def test_parallel_scans_beside_a_writer_neither_lose_nor_double_rows(
    older: Database, settings_for: Callable[..., Settings]
) -> None:
    older.execute(
        "CREATE TABLE behavioral_events AS SELECT i AS id, timestamp '2024-01-01' + i * interval '1 minute' AS ts, "
        "1 AS score, repeat('x', 300) AS padding FROM generate_series(1, 60000) AS i"
    )
    older.execute("CREATE INDEX ON behavioral_events (id); ANALYZE behavioral_events")
    older.execute("GRANT SELECT ON behavioral_events TO americano_sync")
    ((pages,),) = older.execute("SELECT relpages FROM pg_class WHERE relname = 'behavioral_events'")
    assert pages > 2000  # a scan takes 1000 pages a piece
    done, rounds = threading.Event(), 0

    def write() -> None:
        nonlocal rounds
        with closing(older.server.connect(older.name)) as link, link.cursor() as cursor:
            while not done.is_set():
                # Updated rows move to other pages, rows come and go, and the sum of scores stays 60000.
                cursor.execute("UPDATE behavioral_events SET score = score + 1 WHERE id %% 60 = %s", (rounds % 60,))
                cursor.execute("UPDATE behavioral_events SET score = score - 1 WHERE id %% 60 = %s", (rounds % 60,))
                rounds += 1

    settings = settings_for(**older.variables(americano_threads=4))
    query = "SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(score)::bigint AS total FROM {}"
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            with opened(settings) as snapshot:
                table = find_tables(snapshot, settings)[0]["behavioral_events"]
                counts = [
                    snapshot.connection.execute(query.format(snapshot.relation("public", table.relation))).fetchall()
                    for _ in range(2)
                ]
                counted = snapshot.query(query.format("behavioral_events"))
                in_postgres, in_duckdb = both_figures(snapshot, table)
            assert counts == [counted, counted]
            assert counted[0][:2] == (60000, 60000)
            assert in_postgres == in_duckdb
    finally:
        done.set()
        writer.join()
    assert rounds > 5
