"""`americano purge`: an erased learner is in no file that is kept, and what never held them stays."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from americano_pipelines.common import atomic_files
from americano_pipelines.erasure.lake_files import LakeFiles
from americano_pipelines.erasure.snapshot_files import SnapshotFiles
from americano_pipelines.erasure.store import ErasureAction, Item, Learner
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database, Done
from americano_pipelines_tests.sync.support import sync

Cli = Callable[..., Done]
# Of no protocol, so that only their events have to be erased.
LEARNER = "learner_5"
UUID = "0B5F1C9E-7A4B-4D0E-9C7A-2D4F6A8B0C1D"
ERASE = f"DELETE FROM behavioral_events WHERE \"userId\" = '{LEARNER}'"


def kept(settings: Settings) -> set[str]:
    return {folder.name for folder in snapshots.snapshots(settings.paths)}


def holders(settings: Settings) -> set[str]:
    """Kept snapshots whose tables show the learner."""
    holders = set()
    for folder in snapshots.snapshots(settings.paths):
        with duckdb.connect(str(folder / snapshots.file_name(settings.paths)), read_only=True) as connection:
            query = 'SELECT count(*) FROM analytics.behavioral_events WHERE "userId" = $1'
            if connection.execute(query, [LEARNER]).fetchone() != (0,):
                holders.add(folder.name)
    return holders


def touch(prisma: Database, hour: int) -> None:
    """Change one month, so that the next sync patches."""
    prisma.execute(f'UPDATE behavioral_events SET "timeOfDay" = {hour} WHERE "timestamp" < \'2025-01-10\'')


def files_naming(folder: Path, word: str) -> list[Path]:
    """Files with the word in their bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def planned_protocols(settings: Settings) -> dict[str, set[str]]:
    """Kept snapshot to the protocols in its history of plans."""
    planned = {}
    for folder in snapshots.snapshots(settings.paths):
        with duckdb.connect(str(folder / snapshots.file_name(settings.paths)), read_only=True) as connection:
            rows = connection.execute("SELECT DISTINCT protocol_id FROM meta.plans").fetchall()
            planned[folder.name] = {str(protocol_id) for (protocol_id,) in rows}
    return planned


@pytest.mark.slow
def test_only_the_plans_of_the_erased_learner_are_dropped(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    cli("sync", "--json", **values)
    prisma.execute("DELETE FROM analysis_runs; DELETE FROM phase_assignments; DELETE FROM experiment_protocols")
    prisma.execute("DELETE FROM behavioral_events WHERE \"userId\" = 'learner_1'")
    cli("sync", "--full", "--json", **values)
    assert set(map(frozenset, planned_protocols(settings).values())) == {frozenset({"protocol_0", "protocol_1"})}

    done = cli("purge", "--learner", "learner_1", "--json", **values)

    assert done.code == 0, done.err
    assert set(map(frozenset, planned_protocols(settings).values())) == {frozenset({"protocol_0"})}


def test_an_erased_learner_is_gone_from_every_file_under_the_data_folder(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    prisma.execute(
        f'UPDATE behavioral_events SET "eventData" = \'{{"who": "{LEARNER}"}}\' WHERE "userId" = \'{LEARNER}\''
    )
    for hour in (1, 2):
        touch(prisma, hour)
        cli("sync", "--json", **values)
    prisma.execute(ERASE)
    cli("sync", "--json", **values)
    before = kept(settings)
    with_learner = holders(settings)
    assert len(before) == 3
    assert len(with_learner) == 2
    assert snapshots.current(settings.paths).parent.name not in with_learner  # type: ignore[union-attr]

    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 0, done.err
    report = done.json
    assert report["still_there"] == {}
    assert set(report["removed"]) == before, "two held the learner, the third was patched and has the deleted bytes"
    reasons = {item["what"]: item["reason"] for item in report["found"]}
    assert all(reasons[name].startswith("holds rows of the learner: behavioral_events.userId") for name in with_learner)
    (patched,) = before - with_learner
    assert "was patched" in reasons[patched]
    assert kept(settings) == {snapshots.current(settings.paths).parent.name}  # type: ignore[union-attr]
    assert files_naming(settings.paths.root, LEARNER) == [], "in Dagster's records neither"
    cards = {path.stem: json.loads(path.read_text()) for path in (settings.paths.snapshots / "purged").glob("*.json")}
    assert cards.keys() == before
    assert cli("verify-sync", "--deep", "--json", **values).json["clean"]

    again = cli("purge", "--learner", LEARNER, **values)
    assert again.code == 0
    assert "nothing to remove: no kept file holds this learner, or could hold them" in again.out


def test_while_the_source_has_the_learner_nothing_is_removed(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    sync(settings)
    before = kept(settings)

    done = cli("purge", "--learner", LEARNER, **values)

    assert done.code == 1
    assert "still there behavioral_events.userId: 500 rows" in done.out
    assert "still there lake: behavioral_events.userId: 500 rows" in done.out
    assert "erase them there, then run purge again" in done.err
    assert kept(settings) > before


@pytest.mark.slow
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
    sync(settings)
    prisma.execute(ERASE)
    sync(settings, full=True)
    before, published = kept(settings), snapshots.current(settings.paths)

    done = cli("purge", "--learner", LEARNER, "--dry-run", **values)

    assert done.code == 0, done.err
    assert "would be removed" in done.out
    assert "published now" not in done.out
    assert (kept(settings), snapshots.current(settings.paths)) == (before, published)


@pytest.mark.slow
def test_a_failed_sync_that_mentions_the_learner_leaves_dagsters_log(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables(pg_events_table="checked")
    settings = settings_for(**values)
    prisma.execute("""
        CREATE FUNCTION checked(id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        IF id LIKE 'leaver%' THEN RAISE EXCEPTION 'learner % is out of range', id; END IF; RETURN id; END $$;
        CREATE VIEW checked AS SELECT id, "timestamp", checked("userId") AS user_id FROM behavioral_events;
        GRANT SELECT ON checked TO americano_sync
    """)
    assert cli("sync", **values).code == 0
    other = cli("sync", **values)
    prisma.execute(f"UPDATE behavioral_events SET \"userId\" = 'leaver 3/a' WHERE \"userId\" = '{LEARNER}'")
    assert "learner leaver 3/a is out of range" in cli("sync", **values).err
    assert files_naming(settings.paths.root, "leaver 3/a")
    prisma.execute("DELETE FROM behavioral_events WHERE \"userId\" LIKE 'leaver%'")
    kept_runs = "SELECT count(*) FROM runs WHERE status = 'SUCCESS'"

    done = cli("purge", "--learner", "leaver 3/a", "--json", **values)

    assert (other.code, done.code) == (0, 0), done.err
    assert files_naming(settings.paths.root, "leaver 3/a") == []
    assert "its messages mention the learner" in {item["reason"] for item in done.json["found"]}
    with closing(sqlite3.connect(settings.paths.dagster_home / "history" / "runs.db")) as runs:
        assert runs.execute(kept_runs).fetchone() == (3,), "the two syncs before and that of the purge"


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("experiment_protocols", "userId", LEARNER),
        ("experiment_protocols", "deviations", json.dumps([{"asked": [LEARNER]}])),
        ("analysis_runs", "artifactPaths", f"{{a,{LEARNER}}}"),
    ],
)
@pytest.mark.slow
def test_a_learner_is_found_wherever_they_are_named(
    prisma: Database, cli: Cli, table: str, column: str, value: str
) -> None:
    values = prisma.variables()
    prisma.execute(ERASE)
    prisma.execute(f"""UPDATE {table} SET "{column}" = '{value}'""")

    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 1
    assert done.json["still_there"] == {f"{table}.{column}": 2, f"lake: {table}.{column}": 2}


@pytest.mark.slow
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
    assert not [path for path in settings.paths.lake.rglob("*") if path.is_file()]
    assert files_naming(settings.paths.root, LEARNER) == []


def test_a_failed_sync_purges_nothing(prisma: Database, cli: Cli, settings_for: Callable[..., Settings]) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    sync(settings)
    before = kept(settings)
    prisma.execute('ALTER TABLE behavioral_events DROP COLUMN "timestamp"')

    done = cli("purge", "--learner", LEARNER, **values)

    assert done.code == 1
    assert "nothing was purged, for the sync before it failed" in done.err
    assert kept(settings) == before


# Found by trying


def looked(settings: Settings, learner: str) -> tuple[dict[str, int], list[str]]:
    """What a purge would find, without Dagster around it."""
    return in_source(settings, learner), [item.name for item in kept_files(settings, learner)]


def items(settings: Settings, learner: str) -> list[Item]:
    """What snapshots and lake have of a learner."""
    erased = Learner(learner, {}, frozenset())
    return [*SnapshotFiles(settings).find(erased), *LakeFiles(settings).find(erased)]


def in_source(settings: Settings, learner: str) -> dict[str, int]:
    """Places in the published file and the lake in use, to rows."""
    return {item.name: item.rows or 0 for item in items(settings, learner) if item.action is ErasureAction.IN_SOURCE}


def kept_files(settings: Settings, learner: str) -> list[Item]:
    """The kept files that go."""
    return [item for item in items(settings, learner) if item.action is ErasureAction.REMOVE]


def stop_at_snapshot(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove a folder, but stop where it is a snapshot's."""
    if ".tmp-removed-" in str(path):
        raise KeyboardInterrupt
    remove_folder(path, ignore_errors=ignore_errors)


remove_folder = shutil.rmtree


def test_a_kill_in_the_middle_of_a_removal_leaves_nothing_that_stays(
    prisma: Database, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    prisma.execute(ERASE)
    sync(settings, full=True)
    (item,) = kept_files(settings, LEARNER)
    with monkeypatch.context() as patch:
        patch.setattr(atomic_files.shutil, "rmtree", stop_at_snapshot)
        with pytest.raises(KeyboardInterrupt):
            SnapshotFiles(settings).remove([item])

    assert item.path is not None
    assert not item.path.exists()
    assert kept_files(settings, LEARNER) == []
    sync(settings, full=True)
    assert not list(settings.paths.snapshots.glob(".*"))


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\xff")])
def test_a_kept_file_without_its_record_is_condemned(
    prisma: Database, settings_for: Callable[..., Settings], damage: Callable[[Path], object]
) -> None:
    settings = settings_for(**prisma.variables())
    first = sync(settings).document.snapshot_id
    sync(settings, full=True)
    damage(settings.paths.snapshots / first / "snapshot.json")

    (item,) = kept_files(settings, "nobody")
    assert (item.name, item.names_learner) == (first, False)
    assert "its record is missing or cannot be read" in item.reason


@pytest.mark.parametrize(
    ("kind", "shown", "others"),
    [("bigint", "3", "duration"), ("bytea", "\\x03", None), ("numeric(10,2)", "3", "duration"), ("uuid", UUID, None)],
)
@pytest.mark.slow
def test_the_learner_column_is_searched_in_any_type_others_as_text(
    older: Database, settings_for: Callable[..., Settings], kind: str, shown: str, others: str | None
) -> None:
    value = {"bytea": "'\\x03'", "uuid": f"'{UUID.lower()}'"}.get(kind, "3")
    older.execute(
        f'ALTER TABLE "BehavioralEvent" DROP COLUMN learner_id, ADD COLUMN learner_id {kind} DEFAULT {value}, '
        "ADD COLUMN duration integer DEFAULT 3"
    )
    settings = settings_for(**older.variables())
    sync(settings)

    assert looked(settings, shown)[0] == {
        "behavioral_events.learner_id": 1000, "lake: behavioral_events.learner_id": 1000
    }  # fmt: skip
    older.execute('UPDATE "BehavioralEvent" SET learner_id = NULL')
    sync(settings, full=True)
    counts, kept_ids = looked(settings, shown)
    assert counts == {}, f"{others or 'nothing'} is a number and no learner"
    assert len(kept_ids) == 1


def test_escaped_and_nested_strings_are_read_as_what_they_mean(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    prisma.execute("ALTER TABLE experiment_protocols ADD COLUMN note json, ADD COLUMN told text")
    prisma.execute(
        r"""UPDATE experiment_protocols SET note = '[{"asked": "J\u00fcrgen"}]', told = '{"by": "J\u00fcrgen"}'"""
    )
    settings = settings_for(**prisma.variables())
    sync(settings)

    places = in_source(settings, "Jürgen")

    assert {place: rows for place, rows in places.items() if "lake" not in place} == {
        "experiment_protocols.note": 2, "experiment_protocols.told": 2
    }  # fmt: skip
    assert in_source(settings, "rgen") == {}


WAYS_TO_WRITE = {
    "school\\kim": [r'{"by": "school\\kim"}', r'{"by": "school\u005Ckim"}'],
    "org/kim": [r'{"by": "org\/kim"}'],
    'kim "k" lee': [r'{"kim \"k\" lee": 1}'],
    "kim\tlee": [r'["kim\tlee"]'],
    "kim\U0001f600": [r'{"by": "kim\uD83D\uDE00", "half": "\ud83d"}'],
    "lee": [r'{"raw": "{\"by\": \"\\u006cee\"}"}'],
    "4711": ['{"userId": 4711}', '{"learners": [12, 4711.0]}'],
    UUID: [f'{{"by": "{UUID.lower()}"}}', f'{{"by": "{UUID}"}}'],
    # Words and numbers of another meaning.
    "none": [r'{"told": "by lee\nand kim"}', '{"score": 4711, "list": [4711], "userId": 4711.5}', r"C:\lee"],
}


def test_an_id_in_json_is_found_however_it_is_written(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    prisma.execute("ALTER TABLE behavioral_events ADD COLUMN note text")
    ids = prisma.execute("SELECT id FROM behavioral_events ORDER BY id LIMIT 20")
    for (event,), note in zip(ids, [note for notes in WAYS_TO_WRITE.values() for note in notes], strict=False):
        prisma.execute("UPDATE behavioral_events SET note = %s WHERE id = %s", (note, event))
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner="true"))
    sync(settings)

    for learner in (*WAYS_TO_WRITE, UUID.lower()):
        notes = WAYS_TO_WRITE[learner.upper() if learner == UUID.lower() else learner]
        expected = {} if learner == "none" else {"behavioral_events.note": len(notes)}
        assert in_source(settings, learner) == expected, learner


def test_a_file_that_somebody_holds_is_looked_into_all_the_same(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables())
    prisma.execute(ERASE)
    first = sync(settings)
    sync(settings, full=True)
    assert first.path is not None
    holding = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    shell = subprocess.Popen(
        [sys.executable, "-c", holding, str(first.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "held\n"
        assert kept_files(settings, LEARNER) == [], "it never held the learner, so it stays"
    finally:
        shell.communicate("")


@pytest.mark.slow
def test_an_id_that_no_file_shows_removes_nothing_unless_that_is_asked_for(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    sync(settings)
    touch(prisma, 1)
    assert sync(settings).document.built.startswith("patch")
    before = kept(settings)

    assert cli("purge", "--learner", " ", **values).code == 2
    listed = cli("purge", "--learner", "learnr_5", "--dry-run", **values)
    assert listed.code == 0
    assert listed.out.startswith("no file shows this id: is it spelled as the source writes it?\n")
    assert "no file shows" not in cli("purge", "--learner", "learner_1", "--dry-run", **values).out
    done = cli("purge", "--learner", "learnr_5", **values)

    assert done.code == 1
    assert "no file shows this id: is it spelled as the source writes it?" in done.err
    assert before < kept(settings)
    assert len(cli("purge", "--learner", "learnr_5", "--unseen", "--json", **values).json["removed"]) == 1


@pytest.mark.slow
def test_files_under_another_name_are_said_not_to_have_been_looked_at(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    values = prisma.variables()
    sync(settings_for(**values, duckdb_db_path=str(tmp_path / "data" / "duckdb" / "other.duckdb")))
    prisma.execute(ERASE)

    done = cli("purge", "--learner", LEARNER, **values)

    assert done.code == 1
    assert "not looked at" in done.out
    assert "other.duckdb: published under another name" in done.out
    assert "purge once more with that DUCKDB_DB_PATH" in done.err


def test_an_unreadable_manifest_or_record_proves_nothing(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    published = sync(settings).path
    assert published is not None
    manifest, record = settings.paths.lake / "manifest.json", published.parent / "snapshot.json"
    for path in (manifest, record):
        path.write_bytes(b"")

    done = cli("purge", "--learner", LEARNER, "--dry-run", "--json", **values)

    assert done.code == 1
    assert f"{manifest} is no manifest" in done.err
    assert f"{record} is no record" in done.err


def test_what_others_put_into_the_lakes_folder_stays(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    sync(settings_for(**prisma.variables()))
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner="true"))
    notes = settings.paths.lake / "notes.txt"
    notes.write_text("mine")
    (settings.paths.lake / "manifest.json").unlink()

    (item,) = kept_files(settings, LEARNER)
    assert "its manifest is missing" in item.reason
    LakeFiles(settings).remove([item])

    assert [path for path in settings.paths.lake.rglob("*") if path.is_file()] == [notes]
