"""Faults of the disk and the clock: told plainly, nothing half done, and mended by the next sync once they are gone."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from americano_pipelines import durable
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import Settings
from americano_pipelines.stages import Stages
from americano_pipelines.warehouse import publish
from americano_pipelines.warehouse.verify import verify
from americano_pipelines_tests.conftest import Database, Server, cut, environment, new_server
from americano_pipelines_tests.sync.faults import (
    BOTH,
    EVENTS,
    EVERY_EVENT,
    SCANNER_SLOW,
    MakeSettings,
    Place,
    equal,
    synced,
)
from americano_pipelines_tests.sync.forked import Commands
from americano_pipelines_tests.sync.support import sync

# Text that does not compress, about 8 MB of it.
MUCH = """
INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp")
SELECT 'much' || i, 'learner_' || i % 8, 'CARD_REVIEWED',
    to_jsonb((SELECT string_agg(md5(i::text || n), '') FROM generate_series(1, 128) AS n)),
    timestamp '2025-01-01' + i * interval '71 minutes'
FROM generate_series(1, 2000) AS i
"""


# Room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@SCANNER_SLOW
@pytest.mark.parametrize("left_mb", [3, 9], ids=["for the export", "for the build"])
def test_a_disk_that_is_full_is_told_and_the_next_sync_mends_it(
    prisma: Database,
    settings_for: MakeSettings,
    commands: Commands,
    small_disk: Path,
    left_mb: int,
    *,
    scanner: bool,
) -> None:
    values = prisma.variables(duckdb_use_postgres_scanner=scanner, dagster_home=small_disk.parent / "home")
    settings = settings_for(americano_data_dir=small_disk / "data", **values)
    sync(settings)
    before = Place(settings)
    prisma.execute(MUCH)
    ballast = small_disk / "ballast"
    usage = shutil.disk_usage(small_disk)
    ballast.write_bytes(b"0" * (usage.free - left_mb * 1_000_000))

    done = commands.run("sync", "--json", data_dir=settings.data_dir, **values)

    assert done.code == 1
    assert "room" in done.json["error"] or "No space left" in done.json["error"]
    assert "othing was published" in done.json["error"]
    exported = not scanner and lake.read(settings) != before.manifest
    before.is_untouched(exported=exported)
    ballast.unlink()
    synced(settings, prisma)


@SCANNER_SLOW
def test_a_file_that_may_not_grow_is_told_and_the_next_sync_mends_it(
    prisma: Database, settings_for: MakeSettings, commands: Commands, *, scanner: bool
) -> None:
    values = prisma.variables(duckdb_use_postgres_scanner=scanner)
    settings = settings_for(**values)
    # Dagster's records first: they are files too.
    assert commands.run("sync", "--json", data_dir=settings.data_dir, **values).code == 0
    before = Place(settings)
    prisma.execute(MUCH)

    done = commands.run("sync", "--json", data_dir=settings.data_dir, file_size=4_000_000, **values)

    assert done.code == 1
    assert "othing was published" in done.json["error"]
    before.is_untouched(exported=not scanner and lake.read(settings) != before.manifest)
    synced(settings, prisma)


# Root may write everywhere; without this capability it is asked for permission like anybody else.
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-dac_override") if os.getuid() == 0 else ()


@pytest.mark.skipif(WITHOUT_PRIVILEGE != () and not shutil.which("setpriv"), reason="root cannot drop its privilege")
def test_a_folder_that_may_not_be_written_to_is_told(prisma: Database, settings_for: MakeSettings) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    sync(settings)
    before = Place(settings)
    prisma.execute(EVERY_EVENT)
    folders = [settings.data_dir, *(path for path in settings.data_dir.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = subprocess.run(
            [*WITHOUT_PRIVILEGE, sys.executable, "-c", "from americano_pipelines.cli import main; main()", "sync"],
            env=environment(settings.data_dir, **values),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "Permission denied" in done.stderr
    assert str(settings.data_dir) in done.stderr
    before.is_untouched()
    synced(settings, prisma)


# Files of the lake


def flip(path: Path) -> None:
    """Change bytes in the middle; the length stays."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(255 - byte for byte in content[middle : middle + 64])
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Settings], object]] = {
    "a month changed": lambda settings: flip(month_file(settings)),
    "a month gone": lambda settings: month_file(settings).unlink(),
    "manifest garbage": lambda settings: (settings.lake_dir / lake.NAME).write_bytes(b"\xff{"),
    "manifest of another shape": lambda settings: (settings.lake_dir / lake.NAME).write_text('{"tables": []}'),
}


def month_file(settings: Settings) -> Path:
    manifest = lake.read(settings)
    assert manifest is not None
    return lake.paths(settings, manifest.tables[EVENTS].buckets["2025-02"])[0]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_lake_is_healed_from_the_source_and_that_is_said(
    prisma: Database, settings_for: MakeSettings, commands: Commands, damage: str
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    sync(settings)
    path = month_file(settings)
    DAMAGES[damage](settings)

    if damage == "a month changed":
        # Its length is the same, so only reading it tells: it is read when a file is built from nothing.
        settings.published_path.unlink()

    done = commands.run("sync", "--json", data_dir=settings.data_dir, **values)

    assert done.code == 0, done.err
    expected = lake.NAME if "manifest" in damage else path.relative_to(settings.lake_dir).as_posix()
    assert done.json["repaired"] == [expected]
    equal(settings, prisma)
    assert commands.run("sync", "--json", data_dir=settings.data_dir, **values).json["repaired"] == []


# The clock


@BOTH
def test_under_a_clock_that_was_set_back_the_newest_is_still_the_current_one_and_stays(
    prisma: Database, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch, *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner), americano_snapshots_kept=2)
    days = ["20300101", "20300102", "20260101", "20260102", "20260103"]
    ids = iter([f"{day}T000000Z-aaaaaaaa" for day in days for _ in range(1 if scanner else 2)])
    monkeypatch.setattr(durable, "new_id", lambda: next(ids))
    kept = []

    for day in days:
        prisma.execute(EVERY_EVENT)
        assert sync(settings).changed
        current = publish.current(settings)
        assert current is not None
        assert current.parent.name.startswith(day)
        equal(settings, prisma)
        kept.append([folder.name[:8] for folder in publish.snapshots(settings)])

    assert kept == [
        ["20300101"],
        ["20300101", "20300102"],
        ["20260101", "20300102"],
        ["20260101", "20260102"],
        ["20260102", "20260103"],
    ]


# A physical restore


@pytest.fixture
def own_server(server_folder: Path) -> Iterator[Server]:
    """A server whose data folder can be put back."""
    with new_server(server_folder / f"restored-{secrets.token_hex(4)}") as own:
        yield own


@pytest.mark.slow
@BOTH
def test_after_a_physical_restore_everything_is_read_anew(
    own_server: Server, settings_for: MakeSettings, tmp_path: Path, *, scanner: bool
) -> None:
    database = cut(own_server, "prisma")
    settings = settings_for(**database.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    postgres = own_server.postgres
    postgres.stop()
    _copy(postgres.pgdata, tmp_path / "backup")
    postgres.start()
    # The row changes, and is synced under a transaction id that the restored server will give out again.
    database.execute('UPDATE behavioral_events SET "timeOfDay" = 99 WHERE id = (SELECT min(id) FROM behavioral_events)')
    for _ in range(20):
        database.execute('UPDATE phase_assignments SET "plannedDuration" = 14')
    sync(settings)
    postgres.stop()
    shutil.rmtree(postgres.pgdata)
    _copy(tmp_path / "backup", postgres.pgdata)
    postgres.start()
    database.execute('UPDATE behavioral_events SET "timeOfDay" = 11 WHERE id = (SELECT min(id) FROM behavioral_events)')

    outcome = sync(settings)

    assert "another server, or has gone back in time" in outcome.document.built
    synced(settings, database)
    assert verify(settings, Stages(), deep=True).clean


def _copy(folder: Path, target: Path) -> None:
    """With owners and times, as a backup has them."""
    subprocess.run(["cp", "-a", str(folder), str(target)], check=True)
