"""When a refresh builds, what stops it from publishing, and that a failure changes nothing."""

import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from americano_pipelines.common import atomic_files
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import DataError, PublishError, SourceError, TransientSourceError, UnreadableRecordError
from americano_pipelines.lake import manifest as lake
from americano_pipelines.lake.export import export
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import build, checks, snapshots
from americano_pipelines.warehouse import refresh as module
from americano_pipelines.warehouse.refresh import refresh
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.warehouse.helpers import published, rows, synced, write_parquet

EVENTS = """SELECT i::VARCHAR AS id, 'u' || i % 3 AS user_id, 'a' AS phase,
TIMESTAMP '2025-01-01' + to_hours(i) AS ts FROM range(100) AS t(i)"""
PHASES = "SELECT 'f' AS id, 'p' AS protocol_id, 'a' AS phase_label, TIMESTAMP '2025-01-01' AS start_date"


@pytest.fixture
def files(settings_for: Callable[..., Settings], tmp_path: Path) -> Settings:
    """Parquet mode with events and phases."""
    return settings_for(
        behavioral_events_parquet=str(write_parquet(tmp_path / "in" / "events.parquet", EVENTS)),
        phase_assignments_parquet=str(write_parquet(tmp_path / "in" / "phases.parquet", PHASES)),
    )


def events_file(settings: Settings) -> Path:
    return settings.parquet_input("behavioral_events")


# What makes a build necessary


def test_full_builds_anew_although_nothing_changed(files: Settings) -> None:
    first = synced(files)
    again = synced(files, full=True)
    assert again.changed
    assert again.document.snapshot_id != first.document.snapshot_id
    assert again.document.states == first.document.states


@pytest.mark.parametrize("what", ["contract_sha256", "models_sha256", "duckdb"])
def test_a_changed_contract_model_or_engine_builds_anew(
    files: Settings, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    synced(files)
    if what == "contract_sha256":
        monkeypatch.setattr(module, "contract_sha256", lambda: "another")
    elif what == "models_sha256":
        monkeypatch.setattr(module.research_models, "models_sha256", lambda: "another")
    else:
        monkeypatch.setattr(duckdb, "__version__", "9.9.9")

    assert synced(files).changed
    assert not synced(files).changed


def test_changed_sql_changes_the_models_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = module.research_models.models_sha256()
    source = Path(module.__file__).parent / "sql"
    (tmp_path / "sql").mkdir()
    for file in source.iterdir():
        (tmp_path / "sql" / file.name).write_text(file.read_text() + (" " if file.name == "load.sql" else ""))
    monkeypatch.setattr(module.research_models, "files", lambda _: tmp_path)
    assert module.research_models.models_sha256() != before


def test_changed_sql_of_a_model_changes_its_hash_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    models = module.research_models
    before = {model.name: models.code_sha256(model) for model in models.MODELS}
    load = models.sql.load
    changed = "protocol_events_by_id"
    monkeypatch.setattr(models.sql, "load", lambda package, name: load(package, name) + " " * (name == changed))

    after = {model.name: models.code_sha256(model) for model in models.MODELS}

    assert {name for name in before if before[name] != after[name]} == {"protocol_events"}


def test_another_column_for_a_role_builds_anew(files: Settings, settings_for: Callable[..., Settings]) -> None:
    synced(files)
    inputs = {f"{t}_parquet": str(files.parquet_input(t)) for t in ("behavioral_events", "phase_assignments")}
    other = settings_for(**inputs, americano_columns={"behavioral_events.learner": "phase"})
    assert synced(other).changed
    assert rows(other, "SELECT DISTINCT learner_id FROM research.events") == [("a",)]


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_another_history_of_the_same_rows_builds_anew(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    place = synced(settings).path
    assert place is not None
    document = snapshots.read_record(settings.paths)
    assert document is not None
    other = document.model_copy(update={"source": {**document.source, "timeline": 99}})
    atomic_files.write_text(place.parent / "snapshot.json", other.model_dump_json())

    assert synced(settings).changed
    assert not synced(settings).changed


@pytest.mark.parametrize("checkpointed", [True, False], ids=["in the file", "in its log"])
def test_a_published_file_that_somebody_wrote_to_is_built_anew(files: Settings, *, checkpointed: bool) -> None:
    first = synced(files)
    assert first.path is not None
    _write_to(first.path, checkpointed=checkpointed)
    assert rows(files, "SELECT count(*) FROM analytics.behavioral_events") == [(0,)]

    assert synced(files).changed
    assert rows(files, "SELECT count(*) FROM analytics.behavioral_events") == [(100,)]
    assert not synced(files).changed


def _write_to(path: Path, *, checkpointed: bool) -> None:
    with duckdb.connect(str(path)) as connection:
        if not checkpointed:
            connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("DELETE FROM analytics.behavioral_events")
    assert path.with_name(f"{path.name}.wal").exists() is not checkpointed


@pytest.mark.slow
def test_a_small_table_that_changes_each_day_is_patched_each_day(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=True))
    synced(settings)
    for day in range(3):
        prisma.execute(f"UPDATE analysis_runs SET \"runName\" = 'day {day}'")
        assert synced(settings).document.built.startswith("patch"), day

    # Months that were replaced lie at the end of their table: after a third of the rows, all are put in order again.
    reasons = []
    for hour in range(3):
        prisma.execute(
            'UPDATE behavioral_events SET "timeOfDay" = %s WHERE "timestamp" < '
            '(SELECT percentile_disc(0.4) WITHIN GROUP (ORDER BY "timestamp") FROM behavioral_events)',
            (hour,),
        )
        reasons.append(synced(settings).document.built)
    assert any("rows of behavioral_events are out of place" in reason for reason in reasons), reasons


# Blocking checks


@pytest.mark.parametrize(
    ("events", "check", "description"),
    [
        (f"{EVENTS} UNION ALL FROM ({EVENTS}) LIMIT 101", "id_unique", "1 ids repeated, 0 rows without one"),
        (EVENTS.replace("i::VARCHAR", "nullif(i, 7)::VARCHAR"), "id_unique", "0 ids repeated, 1 rows without one"),
        (EVENTS.replace("to_hours(i)", "to_hours(nullif(i, 7))"), "time_not_null", "1 rows without a time"),
    ],
)
def test_a_failed_blocking_check_publishes_nothing_and_leaves_the_old_file(
    files: Settings, events: str, check: str, description: str
) -> None:
    synced(files)
    before = published(files)
    write_parquet(events_file(files), events)

    outcome = synced(files)

    assert outcome.path is None
    assert [(c.table, c.name, c.description) for c in outcome.blocked_by] == [("behavioral_events", check, description)]
    assert published(files) == before
    assert not list(files.paths.snapshots.glob(".*"))


@pytest.mark.parametrize("mode", ["files", "postgres", "scanner"])
def test_a_copy_that_differs_from_the_source_is_not_published(
    prisma: Database,
    settings_for: Callable[..., Settings],
    files: Settings,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    settings = files
    if mode != "files":
        settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=mode == "scanner"))
    synced(settings)
    before = published(settings)
    loaded = build._load_statement  # noqa: SLF001 - the copy is made to differ

    def lossy(*arguments: object) -> str:
        return f"{loaded(*arguments)} LIMIT 3"  # type: ignore[arg-type]

    monkeypatch.setattr(build, "_load_statement", lossy)
    outcome = synced(settings, full=True)

    failed = next(check for check in outcome.blocked_by if check.table == "behavioral_events")
    assert failed.name == "reconciled"
    assert failed.description.startswith("behavioral_events, 2025-01: source ")
    assert ", copy 3 rows from 2025-01-01 " in failed.description
    assert published(settings) == before


@pytest.mark.parametrize(
    "change", ["SET ts = ts + INTERVAL 1 MICROSECOND WHERE id = '5'", "SET id = 'x' WHERE id = '5'"]
)
def test_one_changed_time_or_id_fails_the_reconciliation(
    files: Settings, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    counted = build.duckdb_checksums

    def tampered(connection: duckdb.DuckDBPyConnection, table: object, relation: str) -> object:
        if "behavioral_events" in relation:
            connection.execute(f"UPDATE {relation} {change}")
        return counted(connection, table, relation)  # type: ignore[arg-type]

    monkeypatch.setattr(build, "duckdb_checksums", tampered)

    assert [check.name for check in synced(files).blocked_by] == ["reconciled"]
    assert snapshots.current(files.paths) is None


def test_warnings_do_not_stop_the_publication(files: Settings) -> None:
    write_parquet(
        events_file(files),
        """SELECT i AS id, CASE WHEN i < 3 THEN 'unheard of' ELSE 'a' END AS phase,
        CASE i WHEN 7 THEN TIMESTAMP '1999-12-31' WHEN 8 THEN TIMESTAMP '2999-01-01' ELSE '2025-01-01' END AS ts
        FROM range(9) AS t(i)""",
    )

    outcome = synced(files)

    assert outcome.path is not None
    warned = {check.name: check.figures for check in outcome.document.checks if not check.passed}
    assert warned == {
        "times_plausible": {"before_2000": 1, "in_future": 1},
        "phase_labels_known": {"events": 3, "labels": 1},
    }


def test_every_check_of_every_table_there_is_evaluated_and_recorded(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    outcome = synced(settings_for(**prisma.variables()))
    assert {(c.table, c.name, c.blocking) for c in outcome.document.checks} == {
        (c.table, c.name, c.blocking) for c in checks.ALL_CHECKS
    }
    assert len(checks.ALL_CHECKS) == 11


# Files made by others


def test_a_missing_file_leaves_its_table_as_it_was_published(files: Settings) -> None:
    synced(files)
    files.parquet_input("phase_assignments").unlink()

    unchanged = synced(files)
    assert not unchanged.changed
    assert set(unchanged.missing) == {"phase_assignments", "experiment_protocols", "analysis_runs"}

    write_parquet(events_file(files), EVENTS.replace("range(100)", "range(90)"))
    outcome = synced(files)
    assert outcome.changed
    assert outcome.document.tables["phase_assignments"].carried_over
    assert not outcome.document.tables["behavioral_events"].carried_over
    assert rows(files, "SELECT id FROM analytics.phase_assignments") == [("f",)]
    assert rows(files, "SELECT count(*) FROM analytics.behavioral_events") == [(90,)]
    assert sorted(path.name for path in files.paths.snapshots.iterdir() if path.name.startswith(".")) == []


def test_nothing_is_carried_over_from_a_file_that_somebody_wrote_to(files: Settings) -> None:
    first = synced(files).path
    assert first is not None
    files.parquet_input("phase_assignments").unlink()
    _write_to(first, checkpointed=True)
    before = published(files)

    with pytest.raises(DataError, match=r"was written to after it was published, so phase_assignments cannot be"):
        synced(files)
    assert published(files) == before


def test_what_lies_only_in_a_stale_log_is_not_carried_over(files: Settings) -> None:
    first = synced(files).path
    assert first is not None
    write_parquet(events_file(files), EVENTS.replace("range(100)", "range(90)"))
    files.parquet_input("phase_assignments").unlink()
    with duckdb.connect(str(first)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO analytics.phase_assignments FROM analytics.phase_assignments")
    assert first.with_name(f"{first.name}.wal").exists()

    assert synced(files).changed
    assert rows(files, "SELECT count(*) FROM analytics.phase_assignments") == [(1,)]


def test_a_file_replaced_while_it_is_read_is_noticed(files: Settings) -> None:
    synced(files)
    before = published(files)
    write_parquet(events_file(files), EVENTS.replace("range(100)", "range(90)"))

    def replace(stage: str) -> None:
        if stage == "load behavioral_events":
            write_parquet(events_file(files), EVENTS.replace("range(100)", "range(80)"))

    with pytest.raises(TransientSourceError, match=r"events\.parquet changed while it was read"):
        refresh(files, StageTimer(on_start=replace))
    assert published(files) == before


def test_a_file_cut_while_it_is_read_is_noticed(files: Settings) -> None:
    def cut(stage: str) -> None:
        if stage == "load behavioral_events":
            events_file(files).write_bytes(events_file(files).read_bytes()[:100])

    with pytest.raises(TransientSourceError, match=r"events\.parquet changed while it was read"):
        refresh(files, StageTimer(on_start=cut))


def test_a_file_broken_behind_its_footer_is_named(files: Settings) -> None:
    content = bytearray(events_file(files).read_bytes())
    content[4:200] = bytes(196)
    events_file(files).write_bytes(bytes(content))

    with pytest.raises(SourceError, match=r"events\.parquet: its rows cannot be read whole; nothing was published"):
        synced(files)
    assert snapshots.current(files.paths) is None


def test_nothing_to_build_from_names_what_each_table_needs(
    settings_for: Callable[..., Settings],
) -> None:
    with pytest.raises(
        SourceError, match=r"nothing to build from:\n  behavioral_events: no Parquet file at .*"
    ) as error:
        synced(settings_for())
    assert len(str(error.value).splitlines()) == 5


# The lake


def test_a_lake_file_that_is_not_the_exported_one_is_not_published(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables())
    synced(settings)
    before = published(settings)
    bucket = export(settings, StageTimer()).manifest.tables["behavioral_events"].buckets["2025-02"]
    path = lake.files(settings.paths, bucket)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(DataError, match=r"2025-02/.*\.parquet is not as it was exported"):
        refresh(settings, StageTimer(), full=True)
    assert published(settings) == before
    assert synced(settings, full=True).changed


def test_without_an_export_there_is_nothing_to_build_from(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    with pytest.raises(SourceError, match="there is no export in"):
        refresh(settings_for(**prisma.variables()), StageTimer())


# Failures in the middle


@pytest.mark.parametrize("stage", ["load phase_assignments", "compute daily_events", "check", "checkpoint", "publish"])
def test_a_failure_at_any_stage_leaves_nothing_behind(files: Settings, stage: str) -> None:
    synced(files)
    before = published(files)
    folders = sorted(files.paths.snapshots.iterdir())

    def fail(began: str) -> None:
        if began == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh(files, StageTimer(on_start=fail), full=True)
    assert published(files) == before
    assert sorted(files.paths.snapshots.iterdir()) == folders


def test_a_lost_connection_in_the_middle_of_a_scan_can_be_tried_again(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=True))

    def cut(stage: str) -> None:
        if stage == "load behavioral_events":
            prisma.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'americano_sync'")

    with pytest.raises(TransientSourceError, match=r"public\.behavioral_events") as error:
        refresh(settings, StageTimer(on_start=cut))
    assert prisma.server.password not in str(error.value)
    assert snapshots.current(settings.paths) is None


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_whatever_else_has_the_published_name_is_refused_and_untouched(files: Settings, kind: str) -> None:
    place = files.paths.published
    place.parent.mkdir(parents=True)
    place.write_text("mine") if kind == "file" else (place / "inside").mkdir(parents=True)

    with pytest.raises(PublishError, match="is a file of its own"):
        synced(files)
    assert (place.read_text() == "mine") if kind == "file" else (place / "inside").is_dir()
    assert sorted(path.name for path in place.parent.iterdir()) == [place.name]


def test_no_file_at_all_is_an_error_although_all_could_be_carried_over(files: Settings) -> None:
    synced(files)
    before = published(files)
    for table in ("behavioral_events", "phase_assignments"):
        files.parquet_input(table).unlink()

    with pytest.raises(SourceError, match="there is nothing to build from"):
        synced(files)
    assert published(files) == before


def test_a_table_carried_over_keeps_the_instant_that_its_rows_belong_to(files: Settings) -> None:
    first = synced(files).document
    assert {table.instant for table in first.tables.values()} == {first.instant}
    files.parquet_input("phase_assignments").unlink()
    time.sleep(1.1)  # our own clock, in whole seconds

    for count in (90, 80):
        write_parquet(events_file(files), EVENTS.replace("range(100)", f"range({count})"))
        document = synced(files).document

        assert document.tables["phase_assignments"].instant == first.instant
        assert document.tables["behavioral_events"].instant == document.instant > first.instant


def test_nothing_is_carried_over_from_another_location(
    files: Settings, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    synced(files)
    elsewhere = settings_for(
        behavioral_events_parquet=files.behavioral_events_parquet, phase_assignments_parquet=str(tmp_path / "no")
    )

    assert set(synced(elsewhere).document.tables) == {"behavioral_events"}


def test_nothing_is_carried_over_from_another_mode(
    prisma: Database, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    synced(settings_for(**prisma.variables()))
    events = write_parquet(tmp_path / "events.parquet", EVENTS)

    outcome = synced(settings_for(behavioral_events_parquet=str(events)))

    assert set(outcome.document.tables) == {"behavioral_events"}
    assert "analytics.phase_assignments" in outcome.document.skipped


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"])
def test_an_unreadable_record_is_named_and_the_next_sync_builds_anew(files: Settings, content: bytes | None) -> None:
    first = synced(files)
    assert first.path is not None
    record = first.path.parent / "snapshot.json"
    record.unlink() if content is None else record.write_bytes(content)

    with pytest.raises(UnreadableRecordError, match=f"{record} .*the next `americano sync` publishes another"):
        snapshots.read_record(files.paths)
    again = synced(files)

    assert again.changed
    assert str(record) in again.document.built
    assert set(again.document.tables) == set(first.document.tables)


def test_a_record_that_cannot_be_read_drops_no_table_without_files(files: Settings) -> None:
    first = synced(files)
    assert first.path is not None
    (first.path.parent / "snapshot.json").write_bytes(b"")
    files.parquet_input("phase_assignments").unlink()

    with pytest.raises(DataError, match=r"snapshot.json .*phase_assignments.* cannot be carried over from it"):
        synced(files)

    assert snapshots.current(files.paths) == first.path
