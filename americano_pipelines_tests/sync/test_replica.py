"""A read replica as the source: a standby that receives WAL while the primary is written to."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import duckdb
import pytest

from americano_pipelines.lake import manifest as lake
from americano_pipelines_tests.postgres_servers import Kinds, SourceDatabase
from americano_pipelines_tests.sync.faults import BOTH, MakeSettings, wait_for
from americano_pipelines_tests.sync.support import sync

# 50 MB: enough for DuckDB's extension to scan it in parallel. Pages have room for new versions of the watched rows, so
# that these stay in the part of the heap that they are in.
MANY_EVENTS = """
ALTER TABLE behavioral_events SET (fillfactor = 40);
INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp", "timeOfDay")
SELECT
    CASE WHEN i % 1000 = 1 THEN 'watched' ELSE 'many' END || i, 'l', 'CARD_REVIEWED',
    to_jsonb(CASE WHEN i % 1000 = 1 THEN 'x' ELSE repeat('x', 500) END),
    timestamp '2025-01-01' + i * interval '1 minute', 0
FROM generate_series(1, 30000) AS i
"""
WATCHED = "UPDATE behavioral_events SET \"timeOfDay\" = %s WHERE id LIKE 'watched%%'"


@contextmanager
def written(database: SourceDatabase) -> Iterator[None]:
    """All watched rows get the next number, in one transaction each, over and over, for as long as the block lasts."""
    done, count = threading.Event(), 0

    def write() -> None:
        nonlocal count
        with closing(database.server.connect(database.name)) as link, link.cursor() as cursor:
            while not done.wait(0.05):
                count += 1
                cursor.execute(WATCHED, (count,))

    # It keeps old rows from being pruned: the standby would stop replaying until our snapshot is over.
    with closing(database.server.connect(database.name)) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM behavioral_events")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            wait_for(lambda: count > 2, "the writer")
            before = count
            yield
            assert count > before
        finally:
            done.set()
            writer.join()


@BOTH
@pytest.mark.slow
def test_a_standby_that_receives_is_read_at_one_instant(
    postgres_kinds: Kinds, settings_for: MakeSettings, *, scanner: bool
) -> None:
    database = postgres_kinds("standby").database()
    database.execute(MANY_EVENTS)
    database.execute("ANALYZE behavioral_events")
    settings = settings_for(**database.variables(duckdb_use_postgres_scanner=scanner, americano_threads=4))

    with written(database):
        outcome = sync(settings)

    assert outcome.blocked_by == []
    query = "SELECT count(*), count(DISTINCT \"timeOfDay\") FROM analytics.behavioral_events WHERE id LIKE 'watched%'"
    with duckdb.connect(str(settings.paths.published), read_only=True) as connection:
        assert connection.execute(query).fetchall() == [(30, 1)]
    assert outcome.document.source["in_recovery"]
    if not scanner:
        manifest = lake.read(settings.paths)
        assert manifest is not None
        assert manifest.source["in_recovery"]
