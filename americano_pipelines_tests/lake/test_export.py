"""The lake after an export: the manifest describes the files, and only changed buckets are written."""

import hashlib
from collections.abc import Callable

import duckdb
import pytest

from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import ConfigError, DataError, LakeDamagedError, TransientSourceError
from americano_pipelines.lake import export as module
from americano_pipelines.lake import manifest as lake
from americano_pipelines.lake import writer
from americano_pipelines.lake.export import Export, export
from americano_pipelines.settings import Settings
from americano_pipelines.sources.checksums import duckdb_checksums
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.warehouse.helpers import tree

EVENTS = "behavioral_events"
TABLES = {EVENTS, "experiment_protocols", "phase_assignments", "analysis_runs"}
READ = "read_parquet($1, hive_partitioning = false)"


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings]) -> Settings:
    return settings_for(**prisma.variables())


def exported(settings: Settings, *, full: bool = False) -> Export:
    return export(settings, StageTimer(), full=full)


def parquet_files(settings: Settings) -> set[str]:
    return {name for name in tree(settings.paths.lake) if name.endswith(".parquet")}


def named_files(manifest: lake.Manifest) -> set[str]:
    return {f.path for table in manifest.tables.values() for bucket in table.buckets.values() for f in bucket.files}


def test_the_manifest_says_exactly_what_the_files_hold(settings: Settings, prisma: Database) -> None:
    manifest = exported(settings).manifest

    assert lake.read(settings.paths) == manifest
    assert set(tree(settings.paths.lake)) == named_files(manifest) | {"manifest.json"}
    for name, table in manifest.tables.items():
        for bucket_name, bucket in table.buckets.items():
            for file in bucket.files:
                content = (settings.paths.lake / file.path).read_bytes()
                assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
            files = [[str(path) for path in lake.files(settings.paths, bucket)]]
            with duckdb.connect() as connection:
                counted = connection.execute(f"SELECT count(*) FROM {READ}", files).fetchone()
                figures = duckdb_checksums(connection, table.source_table(name), READ, files)
            assert counted == (bucket.rows,) == (sum(file.rows for file in bucket.files),)
            if name == EVENTS:
                assert figures == {bucket_name: bucket.figures}
    months = prisma.execute(
        """SELECT to_char("timestamp", 'YYYY-MM'), count(*), (extract(epoch FROM min("timestamp")) * 1000000)::bigint,
        (extract(epoch FROM max("timestamp")) * 1000000)::bigint FROM behavioral_events GROUP BY 1"""
    )
    figures = {name: bucket.figures for name, bucket in manifest.tables[EVENTS].buckets.items()}
    assert {name: (f.rows, f.min_us, f.max_us) for name, f in figures.items()} == {m: tuple(v) for m, *v in months}
    assert len(months) == 5


def test_a_second_export_without_change_writes_nothing_and_says_so(settings: Settings) -> None:
    first = exported(settings)
    before = tree(settings.paths.lake)

    second = exported(settings)

    assert set(first.written) == TABLES
    assert set(second.written) == set()
    assert second.manifest == first.manifest
    assert second.checked_at > first.checked_at
    assert tree(settings.paths.lake) == before


@pytest.mark.parametrize(
    ("table", "change"),
    [
        (EVENTS, """INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp")
                    VALUES ('late', 'learner_1', 'CARD_REVIEWED', '{}', '2025-01-02')"""),
        (EVENTS, """UPDATE behavioral_events SET "timeOfDay" = 5 WHERE id = (SELECT min(id) FROM behavioral_events)"""),
        (EVENTS, "DELETE FROM behavioral_events WHERE id = (SELECT min(id) FROM behavioral_events)"),
        (EVENTS, "ALTER TABLE behavioral_events ADD COLUMN added integer DEFAULT 7"),
        ("analysis_runs", """ALTER TYPE "AnalysisStatus" RENAME VALUE 'PENDING' TO 'WAITING'"""),
        ("phase_assignments", """UPDATE phase_assignments SET "phaseLabel" = 'x' WHERE id = 'phase_0_1'"""),
        ("experiment_protocols", "ALTER TABLE experiment_protocols DROP COLUMN screened"),
    ],
    ids=["insert", "update", "delete", "added column", "renamed label", "small table", "dropped column"],
)  # fmt: skip
def test_a_change_in_one_table_exports_that_table_and_no_other(
    settings: Settings, prisma: Database, table: str, change: str
) -> None:
    before = exported(settings).manifest

    prisma.execute(change)
    after = exported(settings)

    assert set(after.written) == {table}
    kept = TABLES - {table}
    assert {name: after.manifest.tables[name] for name in kept} == {name: before.tables[name] for name in kept}
    assert parquet_files(settings) == named_files(after.manifest)
    assert set(exported(settings).written) == set()


def test_full_exports_every_table_again(settings: Settings) -> None:
    before = exported(settings).manifest

    after = exported(settings, full=True)

    assert set(after.written) == TABLES
    assert after.manifest.snapshot_id != before.snapshot_id
    assert named_files(after.manifest).isdisjoint(named_files(before))
    assert parquet_files(settings) == named_files(after.manifest)


@pytest.mark.parametrize("harm", ["deleted", "truncated"])
def test_a_harmed_file_is_exported_again(settings: Settings, harm: str) -> None:
    manifest = exported(settings).manifest
    path = lake.files(settings.paths, manifest.tables[EVENTS].buckets["2025-03"])[0]
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])

    assert set(exported(settings).written) == {EVENTS}
    assert set(exported(settings).written) == set()


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 1}', b"\xff\xfe"])
def test_an_unreadable_manifest_is_named_and_exports_everything(settings: Settings, content: bytes) -> None:
    exported(settings)
    path = settings.paths.lake / "manifest.json"
    path.write_bytes(content)

    with pytest.raises(LakeDamagedError, match=f"{path} is no manifest"):
        lake.read(settings.paths)
    again = exported(settings)

    assert again.repaired == ["manifest.json"]
    assert set(again.written) == TABLES
    assert parquet_files(settings) == named_files(again.manifest)


def orphan(settings: Settings) -> None:
    """What an export that was killed before its manifest leaves: files that nobody names, one half written."""
    for folder in (
        settings.paths.lake / EVENTS / "2025-03",
        settings.paths.lake / ".tmp-staging-0123456789abcdef" / EVENTS,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "20240101T000000Z-00000000-data_0.parquet").write_bytes(b"PAR1")


def test_an_export_that_fails_before_the_manifest_leaves_the_old_state(
    settings: Settings, prisma: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = exported(settings).manifest
    text = (settings.paths.lake / "manifest.json").read_bytes()
    prisma.execute('DELETE FROM behavioral_events WHERE "timeOfDay" = 3')

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module.lake, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            exported(settings)

    assert (settings.paths.lake / "manifest.json").read_bytes() == text
    assert parquet_files(settings) == named_files(old)
    for table in old.tables.values():
        for bucket in table.buckets.values():
            assert [file_sha256(path) for path in lake.files(settings.paths, bucket)] == [
                f.sha256 for f in bucket.files
            ]
    after = exported(settings)
    assert set(after.written) == {EVENTS}
    assert parquet_files(settings) == named_files(after.manifest)


def test_orphans_are_swept_although_nothing_changed(settings: Settings) -> None:
    old = exported(settings).manifest
    orphan(settings)

    assert set(exported(settings).written) == set()
    assert parquet_files(settings) == named_files(old)


@pytest.mark.parametrize("manifest", ["there", "not yet"])
def test_orphans_of_a_killed_export_are_swept_before_the_next_needs_room(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, manifest: str
) -> None:
    named = named_files(exported(settings).manifest) if manifest == "there" else set()
    orphan(settings)
    files: list[set[str]] = []

    def look(*_: object) -> None:
        files.append(parquet_files(settings))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "steady_tables", look)
    with pytest.raises(KeyboardInterrupt):
        exported(settings)
    assert files == [named]


def test_nothing_is_swept_while_the_manifest_cannot_be_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = exported(settings).manifest
    settings.paths.manifest.write_bytes(b"{")

    with monkeypatch.context() as patched:
        patched.setattr(module, "steady_tables", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            exported(settings)

    assert parquet_files(settings) == named_files(old)


def test_the_sweep_leaves_what_is_not_an_export_of_ours(settings: Settings, prisma: Database) -> None:
    exported(settings)
    foreign = [settings.paths.lake / name for name in ("notes.txt", "own/a.parquet", f"{EVENTS}/README.md")]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    prisma.execute('DELETE FROM behavioral_events WHERE "timeOfDay" = 3')

    exported(settings)

    assert all(path.is_file() for path in foreign)


def test_an_empty_table_has_columns_and_no_files(settings: Settings, prisma: Database) -> None:
    prisma.execute("TRUNCATE analysis_runs")

    runs = exported(settings).manifest.tables["analysis_runs"]

    assert (runs.rows, runs.bytes, runs.buckets) == (0, 0, {})
    assert "protocolId" in [column.name for column in runs.columns]
    assert set(exported(settings).written) == set()


def test_a_table_without_its_source_goes_and_names_the_place(settings: Settings, prisma: Database) -> None:
    exported(settings)
    prisma.execute("DROP TABLE analysis_runs")

    after = exported(settings)

    assert set(after.written) == set()
    assert set(after.manifest.tables) == TABLES - {"analysis_runs"}
    assert "no table public.analysis_runs or public.AnalysisRun" in after.manifest.skipped["analysis_runs"]
    assert parquet_files(settings) == named_files(after.manifest)
    assert exported(settings).manifest == after.manifest


def test_rows_outside_every_month_are_in_a_bucket_of_their_own(settings: Settings, prisma: Database) -> None:
    times = ["infinity", "-infinity", "0044-03-15 12:00 BC", "10000-01-01", "0001-01-01", "9999-12-31 23:59:59.999"]
    for number, time in enumerate(times):
        prisma.execute(
            """INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp")
            VALUES (%s, 'x', 'CARD_REVIEWED', '{}', %s)""",
            (f"odd{number}", time),
        )
    buckets = exported(settings).manifest.tables[EVENTS].buckets

    assert {name: b.rows for name, b in buckets.items() if not name.startswith("2025")} == {
        "none": 4,
        "0001-01": 1,
        "9999-12": 1,
    }


@pytest.mark.parametrize("key", ["system_identifier", "timeline", "xmax"])
def test_another_history_of_the_same_rows_is_not_trusted(settings: Settings, key: str) -> None:
    # After a physical restore transaction ids are used again: an equal fingerprint then proves nothing.
    manifest = exported(settings).manifest
    other = {**manifest.source, key: str(10**18) if key != "timeline" else 99}
    lake.replace(settings.paths, manifest.model_copy(update={"source": other}))

    assert set(exported(settings).written) == TABLES


def test_a_file_that_does_not_hold_what_postgres_counted_is_not_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = writer.sql.load("lake", "export").replace("FROM {relation}", "FROM {relation} LIMIT 3999")
    monkeypatch.setattr(writer.sql, "load", lambda package, name, real=writer.sql.load: (
        lossy if (package, name) == ("lake", "export") else real(package, name)
    ))  # fmt: skip

    with pytest.raises(DataError, match=r"public\.behavioral_events, 2025-0\d: \d+ rows were exported, but Postgres"):
        exported(settings)
    assert lake.read(settings.paths) is None


def test_a_lost_connection_leaves_the_lake_as_it_was(
    settings: Settings, prisma: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = exported(settings).manifest
    prisma.execute('DELETE FROM behavioral_events WHERE "timeOfDay" = 3')
    counted = module.source_state

    def state_then_cut(*arguments: object) -> object:
        state = counted(*arguments)  # type: ignore[arg-type]
        prisma.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'americano_sync'")
        return state

    monkeypatch.setattr(module, "source_state", state_then_cut)
    with pytest.raises(TransientSourceError, match=r"behavioral_events"):
        exported(settings)

    assert lake.read(settings.paths) == old
    assert named_files(old) == parquet_files(settings)


def test_without_a_postgres_there_is_nothing_to_export_from(settings_for: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigError, match="PG_HOST"):
        exported(settings_for())
