"""Helpers of the tests of faults: what must be unchanged during a fault, and equal after it."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.support import TABLES, lake_rows, published_rows, source_rows, sync, tidy, whole

BOTH = pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
# The second of two that take long, and take the same way.
SCANNER_SLOW = pytest.mark.parametrize(
    "scanner", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["postgres", "scanner"]
)
MakeSettings = Callable[..., Settings]
EVENTS = "behavioral_events"
EVERY_EVENT = 'UPDATE behavioral_events SET "timeOfDay" = coalesce("timeOfDay", 0) + 1'
PATIENCE = 60


class Place:
    """What lies in a data folder, to say later that it lies there still."""

    def __init__(self, settings: Settings) -> None:
        link = snapshots.current(settings.paths)
        assert link is not None
        self.settings, self.link = settings, link
        self.sha256 = file_sha256(link)
        self.manifest = lake.read(settings.paths)
        self.rows = self._rows()

    def _rows(self) -> dict[str, list[tuple[Any, ...]]]:
        return {table: published_rows(self.settings, table) for table in TABLES}

    def is_untouched(self, *, exported: bool = False) -> None:
        """The published file is the one it was, to the byte; the lake too, or (exported) it is a newer, whole one.

        And of what was begun nothing lies about.
        """
        assert snapshots.current(self.settings.paths) == self.link
        assert file_sha256(self.link) == self.sha256
        assert self._rows() == self.rows
        whole(self.settings)
        assert (lake.read(self.settings.paths) != self.manifest) is exported
        if self.manifest is not None:
            for table in TABLES:
                lake_rows(self.settings, table)
        tidy(self.settings)


def synced(settings: Settings, database: Database) -> None:
    """A sync, after which everything equals the source and nothing else lies about."""
    assert sync(settings).blocked_by == []
    equal(settings, database)


def equal(settings: Settings, database: Database) -> None:
    for table in TABLES:
        rows = source_rows(database, table)
        assert published_rows(settings, table) == rows
        if settings.postgres is not None and not settings.duckdb_use_postgres_scanner:
            assert lake_rows(settings, table) == rows
    whole(settings)
    tidy(settings)


@contextmanager
def small_file_system(place: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own at a new folder, for the block; where none may be mounted the test is left out."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        time.sleep(0.005)
