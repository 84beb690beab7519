"""`americano purge`: an erased learner is in no file that is kept, and what never held them stays."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import publish
from americano_pipelines_tests.cli.conftest import Done
from americano_pipelines_tests.conftest import Database

Cli = Callable[..., Done]
# Of no protocol, so that only their events have to be erased.
LEARNER = "learner_5"
ERASE = f"DELETE FROM behavioral_events WHERE \"userId\" = '{LEARNER}'"


def kept(settings: Settings) -> set[str]:
    return {folder.name for folder in publish.snapshots(settings)}


def holders(settings: Settings) -> set[str]:
    """Kept snapshots whose tables show the learner."""
    found = set()
    for folder in publish.snapshots(settings):
        with duckdb.connect(str(folder / publish.file_name(settings)), read_only=True) as connection:
            query = 'SELECT count(*) FROM analytics.behavioral_events WHERE "userId" = $1'
            if connection.execute(query, [LEARNER]).fetchone() != (0,):
                found.add(folder.name)
    return found


def touch(prisma: Database, hour: int) -> None:
    """Change one month, so that the next sync patches."""
    prisma.execute(f'UPDATE behavioral_events SET "timeOfDay" = {hour} WHERE "timestamp" < \'2025-01-10\'')


def files_naming(folder: Path, word: str) -> list[Path]:
    """Files with the word in their bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_an_erased_learner_is_gone_from_every_file_under_the_data_folder(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    for hour in (1, 2):
        touch(prisma, hour)
        cli("sync", "--json", **values)
    prisma.execute(ERASE)
    cli("sync", "--json", **values)
    before = kept(settings)
    with_learner = holders(settings)
    assert len(before) == 3
    assert len(with_learner) == 2
    assert publish.current(settings).parent.name not in with_learner  # type: ignore[union-attr]

    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 0, done.err
    report = done.json
    assert report["still_there"] == {}
    assert set(report["removed"]) == before, "two held the learner, the third was patched and has the deleted bytes"
    reasons = {one["what"]: one["reason"] for one in report["found"]}
    assert all(reasons[name].startswith("holds rows of the learner: behavioral_events.userId") for name in with_learner)
    (patched,) = before - with_learner
    assert "was patched" in reasons[patched]
    assert kept(settings) == {publish.current(settings).parent.name}  # type: ignore[union-attr]
    assert files_naming(settings.data_dir, LEARNER) == [], "in Dagster's records neither"
    cards = {
        path.stem: json.loads(path.read_text()) for path in (publish.snapshots_dir(settings) / "purged").glob("*.json")
    }
    assert cards.keys() == before
    assert cli("verify-sync", "--deep", "--json", **values).json["clean"]

    again = cli("purge", "--learner", LEARNER, **values)
    assert again.code == 0
    assert "no kept snapshot holds this learner, or may" in again.out


def test_while_the_source_has_the_learner_nothing_is_removed(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    cli("sync", "--json", **values)
    before = kept(settings)

    done = cli("purge", "--learner", LEARNER, **values)

    assert done.code == 1
    assert "still there behavioral_events.userId: 500 rows" in done.out
    assert "still there lake: behavioral_events.userId: 500 rows" in done.out
    assert "erase them there, then purge again" in done.err
    assert kept(settings) > before


def test_a_snapshot_built_from_nothing_that_never_held_the_learner_stays(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    prisma.execute(ERASE)
    cli("sync", "--json", **values)
    before = kept(settings)

    assert cli("purge", "--learner", LEARNER, "--json", **values).json["removed"] == []
    assert kept(settings) > before


def test_a_dry_run_says_what_would_go_and_changes_nothing(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    cli("sync", "--json", **values)
    prisma.execute(ERASE)
    cli("sync", "--full", "--json", **values)
    before, now = kept(settings), publish.current(settings)

    done = cli("purge", "--learner", LEARNER, "--dry-run", **values)

    assert done.code == 0, done.err
    assert "would be removed" in done.out
    assert (kept(settings), publish.current(settings)) == (before, now)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("experiment_protocols", "userId", LEARNER),
        ("experiment_protocols", "deviations", json.dumps([{"asked": [LEARNER]}])),
        ("analysis_runs", "artifactPaths", f"{{a,{LEARNER}}}"),
    ],
)
def test_a_learner_is_found_wherever_they_are_named(
    prisma: Database, cli: Cli, table: str, column: str, value: str
) -> None:
    values = prisma.variables()
    prisma.execute(ERASE)
    prisma.execute(f"""UPDATE {table} SET "{column}" = '{value}'""")

    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 1
    assert done.json["still_there"] == {f"{table}.{column}": 2, f"lake: {table}.{column}": 2}


def test_a_lake_that_is_not_in_use_any_more_goes_too(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    cli("sync", "--json", **values)
    prisma.execute(ERASE)
    scanner = prisma.variables(duckdb_use_postgres_scanner="true")
    settings = settings_for(**scanner)

    report = cli("purge", "--learner", LEARNER, "--json", **scanner).json

    assert "lake" in report["removed"]
    assert not settings.lake_dir.exists()
    assert files_naming(settings.data_dir, LEARNER) == []


def test_a_failed_sync_purges_nothing(prisma: Database, cli: Cli, settings_for: Callable[..., Settings]) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    cli("sync", "--json", **values)
    before = kept(settings)
    prisma.execute('ALTER TABLE behavioral_events DROP COLUMN "timestamp"')

    done = cli("purge", "--learner", LEARNER, **values)

    assert done.code == 1
    assert "nothing was purged, for the sync before it failed" in done.err
    assert kept(settings) == before
