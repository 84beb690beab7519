"""Writers that commit while the sync runs: the published tables belong to one instant."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import duckdb
import pytest

from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.support import sync

PROTOCOL = """
INSERT INTO experiment_protocols (id, "userId", "protocolName", hypothesis, "startDate", "designType", "primaryOutcome",
    "sampleSizeTarget", "analysisPlan", deviations, "createdAt", "updatedAt")
VALUES (%(id)s, 'w', 'w', 'w', '2025-01-01', 'ABAB', 'x', 1, 'w', '[]', now(), now());
INSERT INTO phase_assignments (id, "protocolId", "phaseLabel", "phaseType", "startDate", "plannedDuration",
    "randomizationSeed", "interventionParams", "createdAt", "updatedAt")
SELECT %(id)s || n, %(id)s, 'w', 'BASELINE', '2025-01-01', 1, 1, '{}', now(), now() FROM generate_series(1, 4) AS n;
INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp", "contextMetadataId")
SELECT %(id)s || n, 'w', 'CARD_REVIEWED', '{}', timestamp '2025-01-15' + n * interval '1 month', %(id)s
FROM generate_series(1, 3) AS n;
"""
# One event of each protocol moves on a month with every commit, and one back.
CHANGES = """
UPDATE behavioral_events SET "timestamp" = "timestamp" + interval '31 days' WHERE id = %(id)s || '1';
UPDATE behavioral_events SET "timestamp" = "timestamp" - interval '31 days' WHERE id = %(id)s || '3';
"""
PHASES = 'SELECT count(*) FROM analytics.phase_assignments WHERE "protocolId" LIKE \'w%\' GROUP BY "protocolId"'
EVENTS = 'SELECT count(*) FROM analytics.behavioral_events WHERE "userId" = \'w\' GROUP BY "contextMetadataId"'


@contextmanager
def writing(database: Database) -> Iterator[Callable[[], int]]:
    """Commit whole protocols (with 4 phases and 3 events in 3 months), move and delete them, without a pause."""
    stop, done = threading.Event(), [0]

    def write() -> None:
        with closing(database.server.connect(database.name)) as link, link.cursor() as cursor:
            link.autocommit = False
            while not stop.is_set():
                name = f"w{done[0]}_"
                cursor.execute(PROTOCOL, {"id": name})
                cursor.execute(CHANGES, {"id": f"w{done[0] - 1}_"})
                if done[0] % 3 == 2:
                    cursor.execute(
                        'DELETE FROM behavioral_events WHERE "contextMetadataId" = %s', (f"w{done[0] - 2}_",)
                    )
                    cursor.execute("DELETE FROM experiment_protocols WHERE id = %s", (f"w{done[0] - 2}_",))
                link.commit()
                done[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("syncs", "scanner"),
    [
        pytest.param(2, False, id="two"),
        pytest.param(6, False, id="six", marks=pytest.mark.slow),
        pytest.param(6, True, id="six, scanner", marks=pytest.mark.slow),
    ],
)
def test_a_sync_among_writers_is_one_instant_across_tables(
    prisma: Database, settings_for: Callable[..., Settings], syncs: int, *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner, americano_threads=4))
    counts = []
    with writing(prisma) as commits:
        for _ in range(syncs):
            before = commits()
            outcome = sync(settings)
            assert outcome.blocked_by == []
            with duckdb.connect(str(settings.paths.published), read_only=True) as connection:
                phases = connection.execute(PHASES).fetchall()
                events = connection.execute(EVENTS).fetchall()
                (protocols,) = connection.execute(
                    "SELECT count(*) FROM analytics.experiment_protocols WHERE id LIKE 'w%'"
                ).fetchone() or (0,)
            assert {count for (count,) in phases} <= {4}
            assert {count for (count,) in events} <= {3}
            assert len(phases) == len(events) == protocols
            counts.append((before, protocols))
        assert commits() > counts[0][0], "the writer stood still, so this test said nothing"
    assert counts[-1][1] > counts[0][1]
