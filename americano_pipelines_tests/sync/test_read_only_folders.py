"""Folders that the command may not write: those of the published name and of Dagster's records."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.faults import EVERY_EVENT, MakeSettings, Place, equal, small_file_system, synced
from americano_pipelines_tests.sync.forked import Commands
from americano_pipelines_tests.sync.support import published_rows, sync


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A data folder on a file system of 24 MB."""
    with small_file_system(tmp_path / "data", 24) as place:
        yield place


@pytest.mark.slow
def test_a_disk_without_a_byte_left_for_the_records_of_the_run_is_told(
    prisma: Database, settings_for: MakeSettings, commands: Commands, small_disk: Path
) -> None:
    settings = settings_for(**prisma.variables())
    assert commands.run("sync", data_dir=small_disk, **prisma.variables()).code == 0
    before = Place(settings)
    prisma.execute(EVERY_EVENT)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(small_disk).free)

    done = commands.run("sync", data_dir=small_disk, **prisma.variables())

    assert done.code == 1
    assert done.err.startswith(f"failed: Dagster's records in {settings.paths.dagster_home} cannot be written: ")
    assert "Is that disk full" in done.err, "SQLite says no more than 'disk I/O error'"
    before.is_untouched()
    ballast.unlink()
    synced(settings, prisma)


def test_a_plain_file_in_place_of_the_link_is_left_alone(
    prisma: Database, settings_for: MakeSettings, commands: Commands
) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    link = settings.paths.published
    published = link.resolve()
    link.unlink()
    shutil.copyfile(published, link)
    content = link.read_bytes()
    prisma.execute(EVERY_EVENT)

    done = commands.run("sync", "--json", data_dir=settings.paths.root, **prisma.variables())

    assert done.code == 1
    assert f"{link} is a file of its own" in done.json["error"]
    assert "move it away, or set DUCKDB_DB_PATH" in done.json["error"]
    assert (link.is_symlink(), link.read_bytes()) == (False, content)
    link.rename(link.with_name("mine.duckdb"))
    synced(settings, prisma)


@pytest.mark.parametrize("beside", [pytest.param("the link", marks=pytest.mark.slow), "the file"])
def test_a_stale_log_beside_the_file_is_harmless_after_the_next_sync(
    prisma: Database, settings_for: MakeSettings, commands: Commands, beside: str
) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    published = snapshots.current(settings.paths)
    assert published is not None
    rows = published_rows(settings, "behavioral_events")
    place = settings.paths.published if beside == "the link" else published
    place.with_name(f"{place.name}.wal").write_bytes(b"left by a process that was killed" * 100)
    if beside == "the link":
        assert published_rows(settings, "behavioral_events") == rows, "no reader looks there"

    done = commands.run("sync", "--json", data_dir=settings.paths.root, **prisma.variables())

    assert done.code == 0
    assert done.json["changed"] is (beside == "the file")
    assert ("was written to after it was published" in done.json["built"]) is (beside == "the file")
    equal(settings, prisma)
