"""To which instant the events of a file are known: of Postgres its snapshot's, of files what is in them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from americano_pipelines.analysis.extract import events_instant
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.support import sync


def test_files_count_until_a_day_after_their_last_event(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    document = snapshots.read_record(settings.paths)
    assert document is not None
    events = document.tables["behavioral_events"]
    (last,) = prisma.execute('SELECT max("timestamp") FROM behavioral_events')[0]
    a_day_later = last.replace(tzinfo=UTC) + timedelta(days=1)

    assert events_instant(document) == datetime.fromisoformat(events.instant) > a_day_later
    files = document.model_copy(update={"content": document.content.model_copy(update={"mode": Mode.PARQUET.value})})
    assert events_instant(files) == a_day_later
    read_then = a_day_later - timedelta(hours=30)
    tables = {"behavioral_events": events.model_copy(update={"instant": read_then.isoformat()})}
    assert events_instant(files.model_copy(update={"tables": document.tables | tables})) == read_then
