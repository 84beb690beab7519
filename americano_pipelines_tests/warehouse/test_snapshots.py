"""Publishing beside readers, a shell that writes, and a process that is killed."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.refresh import refresh
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines.warehouse.snapshots import open_published
from americano_pipelines_tests.conftest import environment
from americano_pipelines_tests.warehouse.helpers import rows, synced, write_parquet

COUNT = "SELECT COUNT(*) FROM analytics.behavioral_events;"


class Worker:
    """Another Python process that runs a script and talks by lines."""

    def __init__(self, script: str, *arguments: str, **settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", script, *arguments],
            env=environment(Path(settings.pop("data_dir", "/nonexistent")), **settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        """Its next line; empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def answer(self, line: str) -> str:
        """Its answer to a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.says()

    def kill(self) -> None:
        """End it as the kernel would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)


# Answers every line of SQL with the first value of its result.
SESSION = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "ro")
print("open")
for line in sys.stdin:
    row = connection.execute(line).fetchone()
    print(row[0] if row else None)
"""

# Refreshes, and stops for ever at the moment named by its argument, having said so.
STUCK = """
import sys, time
from americano_pipelines.common import atomic_files
from americano_pipelines.settings import load_settings
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.warehouse.refresh import refresh
moment = sys.argv[1]
def stop(name, *_):
    if name == moment:
        print("there")
        time.sleep(600)
real_swap, real_text = atomic_files.swap_link, atomic_files.write_text
atomic_files.swap_link = lambda *a: (stop("before the link"), real_swap(*a), stop("after the link"))
atomic_files.write_text = lambda *a: (stop("before the record"), real_text(*a))
refresh(load_settings(), StageTimer(on_start=stop), full=True)
"""


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def begin(*arguments: str, **settings: str) -> Worker:
        workers.append(Worker(*arguments, **settings))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.kill()


@pytest.fixture
def export(tmp_path: Path) -> Callable[[int], Path]:
    """Replace the events' file by one of so many rows."""

    def write(count: int) -> Path:
        return write_parquet(
            tmp_path / "in" / "events.parquet",
            f"""SELECT i::VARCHAR AS id, 'u' || i % 3 AS user_id, TIMESTAMP '2025-01-01' + to_hours(i) AS ts
            FROM range({count}) AS t(i)""",
        )

    return write


@pytest.fixture
def settings(export: Callable[[int], Path], settings_for: Callable[..., Settings]) -> Settings:
    return settings_for(behavioral_events_parquet=str(export(100)))


def test_the_published_name_is_a_relative_link_to_a_file_of_the_same_name(settings: Settings) -> None:
    outcome = synced(settings)
    link = settings.paths.published
    assert os.readlink(link) == f"snapshots/{outcome.document.snapshot_id}/{link.name}"  # noqa: PTH115 - as text
    assert outcome.path == snapshots.current(settings.paths)

    moved = link.parent.rename(link.parent.with_name("moved")) / link.name
    with duckdb.connect(str(moved), read_only=True) as connection:
        assert connection.execute(COUNT).fetchall() == [(100,)]
        assert connection.execute("SELECT current_database()").fetchall() == [(link.stem,)]


def test_file_and_record_agree_and_the_record_survives_a_round_trip(settings: Settings) -> None:
    document = synced(settings).document
    place = snapshots.current(settings.paths)
    assert place is not None
    inside = SnapshotRecord.model_validate_json(rows(settings, "SELECT document FROM meta.snapshot")[0][0])

    assert snapshots.read_record(settings.paths) == document
    assert SnapshotRecord.model_validate_json(document.model_dump_json()) == document
    assert inside == document.model_copy(update={"bytes": 0, "sha256": "", "fresh_bytes": 0})
    assert (document.bytes, document.sha256) == (place.stat().st_size, file_sha256(place))
    assert document.source["files"] == {
        str(settings.parquet_input("behavioral_events")): file_sha256(settings.parquet_input("behavioral_events"))
    }


@pytest.mark.parametrize("kept", [1, 3])
def test_as_many_files_are_kept_as_are_asked_for_the_current_one_always(
    settings_for: Callable[..., Settings], export: Callable[[int], Path], tmp_path: Path, kept: int
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "real")
    file = export(100)
    settings = settings_for(behavioral_events_parquet=str(file), americano_snapshots_kept=kept)
    ids = [synced(settings, full=True).document.snapshot_id for _ in range(kept + 2)]

    left = {path.name for path in snapshots.snapshots(settings.paths)}
    assert ids[-1] in left
    assert len(left) == kept
    assert rows(settings, COUNT) == [(100,)]


def test_the_current_file_stays_though_the_clock_went_back(settings: Settings) -> None:
    current = synced(settings).path
    assert current is not None
    for year in range(2090, 2100):
        future = settings.paths.snapshots / f"{year}0101T000000Z-00000000"
        future.mkdir()
        for name in (current.name, "snapshot.json"):
            (future / name).write_bytes(b"")

    place = synced(settings, full=True).path

    assert place is not None
    assert place.is_file()
    assert snapshots.current(settings.paths) == place
    assert len(snapshots.snapshots(settings.paths)) == settings.americano_snapshots_kept


def test_what_others_keep_in_the_folder_is_never_swept(
    settings: Settings, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    folder = settings.paths.snapshots
    (folder / "0-photos").mkdir(parents=True)
    (folder / "0-notes.txt").write_text("mine")
    neighbour = settings_for(
        behavioral_events_parquet=str(settings.parquet_input("behavioral_events")),
        duckdb_db_path=settings.paths.published.with_name("neighbour.duckdb"),
        americano_data_dir=tmp_path / "neighbour",
    )
    assert neighbour.paths.snapshots == folder
    synced(neighbour)
    inputs = str(settings.parquet_input("behavioral_events"))
    keeping_one = settings_for(behavioral_events_parquet=inputs, americano_snapshots_kept=1)
    for _ in range(3):
        synced(keeping_one, full=True)

    assert (folder / "0-photos").is_dir()
    assert (folder / "0-notes.txt").is_file()
    assert rows(neighbour, COUNT) == rows(keeping_one, COUNT) == [(100,)]


def test_a_shell_that_wrote_into_the_old_file_disturbs_nobody(
    settings: Settings, export: Callable[[int], Path], start: Callable[..., Worker]
) -> None:
    synced(settings)
    shell = start(SESSION, str(settings.paths.published), "rw")
    assert shell.says() == "open"
    shell.answer("INSERT INTO analytics.behavioral_events SELECT 'written', 'u', '2025-01-01' FROM range(1000)")
    old = snapshots.current(settings.paths)
    assert old is not None
    assert old.with_name(f"{old.name}.wal").exists()
    export(90)

    outcome = synced(settings)

    assert outcome.path != old
    for path in (settings.paths.published, settings.paths.published):
        reader = start(SESSION, str(path), "ro")
        assert reader.says() == "open"
        assert reader.answer(COUNT) == "90"
        assert reader.answer("SELECT count(*) FROM analytics.behavioral_events WHERE id = 'written'") == "0"
    assert shell.answer(COUNT) == "1100"
    assert shell.answer("CHECKPOINT") in {"None", "True"}
    assert shell.answer(COUNT) == "1100"
    assert rows(settings, COUNT) == [(90,)]
    assert not synced(settings).changed


def test_a_table_is_carried_over_though_a_shell_holds_the_file_read_write(
    settings_for: Callable[..., Settings],
    export: Callable[[int], Path],
    start: Callable[..., Worker],
    tmp_path: Path,
) -> None:
    phases = write_parquet(tmp_path / "in" / "phases.parquet", "SELECT 'f' AS id, 'p' AS protocol_id")
    settings = settings_for(behavioral_events_parquet=str(export(100)), phase_assignments_parquet=str(phases))
    synced(settings)
    shell = start(SESSION, str(settings.paths.published), "rw")
    assert shell.says() == "open"
    shell.answer("DELETE FROM analytics.phase_assignments")
    phases.unlink()
    export(90)

    assert synced(settings).changed
    assert rows(settings, "SELECT count(*) FROM analytics.phase_assignments") == [(1,)]
    assert shell.answer("SELECT count(*) FROM analytics.phase_assignments") == "0"


def test_a_reader_keeps_the_file_it_opened_and_a_new_one_sees_the_new(
    settings: Settings, export: Callable[[int], Path], start: Callable[..., Worker]
) -> None:
    synced(settings)
    reader = start(SESSION, str(settings.paths.published), "ro")
    assert reader.says() == "open"
    assert reader.answer(COUNT) == "100"
    export(90)

    synced(settings)

    assert reader.answer(COUNT) == "100"
    newcomer = start(SESSION, str(settings.paths.published), "ro")
    assert newcomer.says() == "open"
    assert newcomer.answer(COUNT) == "90"
    with open_published(settings) as connection:
        export(80)
        synced(settings)
        assert connection.execute(COUNT).fetchall() == [(90,)]
        with open_published(settings) as second:
            assert second.execute(COUNT).fetchall() == [(80,)]


def test_reading_while_syncs_run_never_fails_and_sees_whole_syncs_only(
    settings: Settings, export: Callable[[int], Path], start: Callable[..., Worker]
) -> None:
    synced(settings)
    loop = start(
        """
import json, select, sys, duckdb
seen, reads = set(), 0
print("open")
while not select.select([sys.stdin], [], [], 0)[0]:
    with duckdb.connect(sys.argv[1], read_only=True) as connection:
        seen.add(connection.execute('''SELECT count(*), (SELECT sum(events)::BIGINT FROM research.daily_events),
        (SELECT (document->'tables'->'behavioral_events'->>'rows')::BIGINT FROM meta.snapshot)
        FROM analytics.behavioral_events''').fetchone())
    reads += 1
print(reads, json.dumps(sorted(seen)))
""",
        str(settings.paths.published),
    )
    assert loop.says() == "open"
    for count in range(91, 97):
        export(count)
        assert synced(settings).changed
    reads, _, counted = loop.answer("stop").partition(" ")

    assert int(reads) >= 6
    assert all(len(set(row)) == 1 for row in json.loads(counted))
    counts = {row[0] for row in json.loads(counted)}
    assert counts <= {100, *range(91, 97)}


@pytest.mark.parametrize(
    "moment",
    [
        "load behavioral_events",
        "compute weekly_events",
        "checkpoint",
        "publish",
        "before the record",
        "before the link",
        "after the link",
    ],
)
@pytest.mark.slow
def test_a_sync_killed_at_any_moment_leaves_a_whole_file_published(
    settings: Settings, export: Callable[[int], Path], start: Callable[..., Worker], moment: str
) -> None:
    synced(settings)
    export(90)
    victim = start(
        STUCK,
        moment,
        data_dir=str(settings.paths.root),
        behavioral_events_parquet=str(settings.parquet_input("behavioral_events")),
    )
    assert victim.says() == "there"
    victim.kill()

    expected = 90 if moment == "after the link" else 100
    assert rows(settings, COUNT) == [(expected,)]
    document = snapshots.read_record(settings.paths)
    assert document is not None
    assert document.tables["behavioral_events"].rows == expected
    assert synced(settings).changed is (expected == 100)
    assert rows(settings, COUNT) == [(90,)]
    if expected == 100:
        assert not list(settings.paths.snapshots.glob(".*"))


def shell(path: Path, query: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The real DuckDB shell."""
    program = Path(sys.executable).parent / "duckdb"
    return subprocess.run(
        [str(program), "-csv", *options, str(path)],
        input=query,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_duckdb_shell_reads_the_published_file_by_its_documented_query(settings: Settings) -> None:
    synced(settings)

    answer = shell(settings.paths.published, COUNT, "-readonly")

    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.split() == ["count_star()", "100"]
    denied = shell(settings.paths.published, "DELETE FROM analytics.behavioral_events;", "-readonly")
    assert "read-only" in denied.stderr
    assert not synced(settings).changed


def test_a_file_called_analytics_could_not_be_asked_this_way(settings: Settings, tmp_path: Path) -> None:
    synced(settings)
    link = tmp_path / "analytics.duckdb"
    link.symlink_to(settings.paths.published)

    answer = shell(link, COUNT, "-readonly")

    assert "Ambiguous reference" in answer.stderr


def test_a_file_held_read_write_is_reported_within_ten_seconds(
    settings: Settings, start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced(settings)
    holder = start(SESSION, str(settings.paths.published), "rw")
    assert holder.says() == "open"
    monkeypatch.setattr("americano_pipelines.warehouse.snapshots._POLL_SECONDS", 0.05)

    with (
        pytest.raises(WarehouseUnavailableError, match="is held read-write by another process") as error,
        open_published(settings, wait_seconds=0.3),
    ):
        pass
    assert str(snapshots.current(settings.paths)) in str(error.value)
    assert str(holder.process.pid) in str(error.value)


def test_a_reader_waits_for_a_shell_that_is_about_to_close(settings: Settings, start: Callable[..., Worker]) -> None:
    synced(settings)
    holder = start(SESSION, str(settings.paths.published), "rw")
    assert holder.says() == "open"
    assert holder.process.stdin is not None
    holder.process.stdin.close()

    with open_published(settings) as connection:
        assert connection.execute(COUNT).fetchall() == [(100,)]


def test_what_cannot_be_tidied_up_after_the_swap_does_not_undo_it(settings: Settings) -> None:
    first = synced(settings).path
    assert first is not None
    folders: list[Path] = []

    def refuse(folder: Path) -> bool:
        assert snapshots.current(settings.paths) != first
        folders.append(folder)
        raise PermissionError(errno.EACCES, "not yours")

    keeping_one = settings.model_copy(update={"americano_snapshots_kept": 1})
    outcome = refresh(keeping_one, StageTimer(), full=True, may_remove=refuse)

    assert folders == [first.parent]
    assert first.exists()
    assert outcome.changed
    assert snapshots.current(settings.paths) == outcome.path != first
