"""Each way in, end to end, in this process: what is published is what the source holds."""

from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from americano_pipelines.lake.export import export
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.stages import Stages
from americano_pipelines.warehouse.refresh import Outcome, refresh
from americano_pipelines_tests.conftest import Database


def synced(settings: Settings) -> Outcome:
    stages = Stages()
    if settings.mode is Mode.POSTGRES:
        export(settings, stages)
    return refresh(settings, stages)


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.published_path), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_published_rows_are_the_source_rows(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))

    outcome = synced(settings)

    assert outcome.changed
    assert outcome.blocked_by == []
    there = prisma.execute('SELECT id, "userId", "eventType"::text, "timestamp" FROM behavioral_events ORDER BY id')
    here = rows(settings, 'SELECT id, "userId", "eventType", "timestamp" FROM analytics.behavioral_events ORDER BY id')
    assert here == there
    assert rows(settings, "SELECT count(*) FROM research.phases") == [(8,)]
