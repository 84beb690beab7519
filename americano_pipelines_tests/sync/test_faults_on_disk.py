"""Faults of the disk, its files and the clock: reported plainly, nothing half done, repaired by the next sync."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from americano_pipelines.common import atomic_files
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.faults import (
    EVENTS,
    EVERY_EVENT,
    SCANNER_SLOW,
    MakeSettings,
    Place,
    equal,
    small_file_system,
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
    with small_file_system(tmp_path / "small", 40) as place:
        yield place


@SCANNER_SLOW
@pytest.mark.parametrize(
    "left_mb", [pytest.param(3, id="for the export", marks=pytest.mark.slow), pytest.param(9, id="for the build")]
)
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
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(small_disk).free - left_mb * 1_000_000)

    done = commands.run("sync", "--json", data_dir=settings.paths.root, **values)

    assert done.code == 1
    assert done.json["error_kind"] == "ResourceError"
    assert f"{settings.paths.root}/" in done.json["error"]
    assert "No space left on device" in done.json["error"]
    assert "Nothing was published; make room" in done.json["error"]
    before.is_untouched(exported=not scanner and left_mb == 9)
    ballast.unlink()
    synced(settings, prisma)


@SCANNER_SLOW
@pytest.mark.parametrize(
    "most_bytes",
    [pytest.param(800_000, id="in the export", marks=pytest.mark.slow), pytest.param(4_000_000, id="in the build")],
)
def test_a_file_that_may_not_grow_is_told_and_the_next_sync_mends_it(
    prisma: Database, settings_for: MakeSettings, commands: Commands, most_bytes: int, *, scanner: bool
) -> None:
    values = prisma.variables(duckdb_use_postgres_scanner=scanner)
    settings = settings_for(**values)
    # Dagster's records first: they are files too.
    assert commands.run("sync", "--json", data_dir=settings.paths.root, **values).code == 0
    before = Place(settings)
    prisma.execute(MUCH)

    done = commands.run("sync", "--json", data_dir=settings.paths.root, file_size=most_bytes, **values)

    assert done.code == 1
    assert done.json["error_kind"] == "ResourceError"
    assert f"{settings.paths.root}/" in done.json["error"]
    assert "File too large" in done.json["error"]
    assert "Nothing was published; make room" in done.json["error"]
    before.is_untouched(exported=not scanner and most_bytes == 4_000_000)
    synced(settings, prisma)


# Root may write everywhere; without this capability it is asked for permission like anybody else.
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-dac_override") if os.getuid() == 0 else ()


@pytest.fixture(scope="module")
def commands_without_privilege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    if WITHOUT_PRIVILEGE and not shutil.which(WITHOUT_PRIVILEGE[0]):
        pytest.skip("root cannot drop its privilege: there is no setpriv")
    processes = Commands(tmp_path_factory.mktemp("commands"), through=WITHOUT_PRIVILEGE)
    yield processes
    processes.close()


READ_ONLY: dict[str, Callable[[Settings], Path]] = {
    "data folder": lambda settings: settings.paths.root,
    "lake": lambda settings: settings.paths.lake,
    "snapshots": lambda settings: settings.paths.snapshots,
}


@pytest.mark.parametrize(
    "what", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("data folder", "lake")), "snapshots"]
)
def test_an_unwritable_folder_is_named_and_the_next_sync_mends_it(
    prisma: Database, settings_for: MakeSettings, commands_without_privilege: Commands, what: str, tmp_path: Path
) -> None:
    values = prisma.variables(dagster_home=tmp_path / "home")
    settings = settings_for(**values)
    sync(settings)
    before = Place(settings)
    prisma.execute(EVERY_EVENT)
    top = READ_ONLY[what](settings)
    folders = [top, *(path for path in top.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = commands_without_privilege.run("sync", "--json", data_dir=settings.paths.root, **values)
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert done.code == 1
    assert done.json["error_kind"] == "ResourceError"
    assert done.json["error"].startswith(f"{top}")
    assert "Permission denied. Nothing was published; let this user write there" in done.json["error"]
    before.is_untouched(exported=what == "snapshots")
    synced(settings, prisma)


def test_records_that_may_not_be_written_are_told(
    prisma: Database, settings_for: MakeSettings, commands_without_privilege: Commands, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir(0o555)
    settings = settings_for(**prisma.variables())

    done = commands_without_privilege.run("sync", data_dir=settings.paths.root, dagster_home=home, **prisma.variables())

    assert done.code == 1
    assert done.err.startswith("failed: ")
    assert "Permission denied" in done.err
    assert str(home) in done.err


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
    "manifest garbage": lambda settings: settings.paths.manifest.write_bytes(b"\xff{"),
    "manifest cut": lambda settings: os.truncate(settings.paths.manifest, 1000),
    "manifest of another shape": lambda settings: settings.paths.manifest.write_text('{"tables": []}'),
}


def month_file(settings: Settings) -> Path:
    manifest = lake.read(settings.paths)
    assert manifest is not None
    return lake.files(settings.paths, manifest.tables[EVENTS].buckets["2025-02"])[0]


@pytest.mark.parametrize(
    "damage",
    [
        "a month changed",
        pytest.param("a month gone", marks=pytest.mark.slow),
        "manifest garbage",
        pytest.param("manifest cut", marks=pytest.mark.slow),
        pytest.param("manifest of another shape", marks=pytest.mark.slow),
    ],
)
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
        settings.paths.published.unlink()

    done = commands.run("sync", "--json", data_dir=settings.paths.root, **values)

    assert done.code == 0, done.err
    expected = (
        settings.paths.manifest.name if "manifest" in damage else path.relative_to(settings.paths.lake).as_posix()
    )
    assert done.json["repaired"] == [expected]
    equal(settings, prisma)
    assert commands.run("sync", "--json", data_dir=settings.paths.root, **values).json["repaired"] == []


# The clock


@pytest.mark.slow
@SCANNER_SLOW
def test_under_a_clock_set_back_the_newest_file_stays_current(
    prisma: Database, settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch, *, scanner: bool
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner), americano_snapshots_kept=2)
    days = ["20300101", "20300102", "20260101", "20260102", "20260103"]
    ids = iter([f"{day}T000000Z-aaaaaaaa" for day in days for _ in range(1 if scanner else 2)])
    monkeypatch.setattr(atomic_files, "new_id", lambda: next(ids))
    kept = []

    for day in days:
        prisma.execute(EVERY_EVENT)
        assert sync(settings).changed
        current = snapshots.current(settings.paths)
        assert current is not None
        assert current.parent.name.startswith(day)
        equal(settings, prisma)
        kept.append([folder.name[:8] for folder in snapshots.snapshots(settings.paths)])

    assert kept == [
        ["20300101"],
        ["20300101", "20300102"],
        ["20260101", "20300102"],
        ["20260101", "20260102"],
        ["20260102", "20260103"],
    ]
