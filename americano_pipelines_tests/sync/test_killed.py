"""SIGKILL at any moment of a sync: what is published is whole, the old or the new; the next sync converges."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from americano_pipelines import durable
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import publish
from americano_pipelines_tests.conftest import Database, environment
from americano_pipelines_tests.sync.support import TABLES, lake_rows, published_rows, source_rows, sync

READ = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).execute(sys.argv[2]).fetchone())"


class Victim:
    """A process that syncs when told to, and can be killed at any moment."""

    def __init__(self, settings: Settings, values: dict[str, object]) -> None:
        self.environment = environment(settings.data_dir, **values)
        self.process: subprocess.Popen[str] | None = None

    def ready(self) -> "subprocess.Popen[str]":
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "americano_pipelines_tests.sync.killed"],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self.process

    def sync_and_kill(self, after: float, *, full: bool) -> bool:
        """Begin a sync, kill the process after some seconds; True if it was at work, False if it had ended."""
        process = self.ready()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("full\n" if full else "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "begins\n"
        time.sleep(after)
        process.kill()
        rest, _ = process.communicate()
        return "done" not in rest


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
@pytest.mark.parametrize("kills", [10, pytest.param(110, marks=pytest.mark.slow)], ids=["some", "many"])
@pytest.mark.timeout(1200)
def test_whatever_is_killed_what_is_published_is_whole(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool, kills: int
) -> None:
    values = prisma.variables(duckdb_use_postgres_scanner=scanner)
    settings = settings_for(**values)
    sync(settings)
    chance = random.Random(20250101)  # noqa: S311 - where to kill, not a secret
    victim = Victim(settings, values)
    at_work = 0
    for number in range(kills):
        before = published_rows(settings, "behavioral_events")
        _change(prisma, number)
        now = source_rows(prisma, "behavioral_events")
        at_work += victim.sync_and_kill(chance.uniform(0, 0.6), full=number % 4 == 3)

        whole(settings)
        assert published_rows(settings, "behavioral_events") in (before, now)
        if number % 5 == 4:
            sync(settings)
            for table in TABLES:
                assert published_rows(settings, table) == source_rows(prisma, table)
                if not scanner:
                    assert lake_rows(settings, table) == source_rows(prisma, table)
            tidy(settings, scanner=scanner)
    assert at_work > kills / 3, "hardly ever killed at work, so this test said little"


def _change(database: Database, number: int) -> None:
    database.execute(
        'UPDATE behavioral_events SET "timestamp" = "timestamp" + interval \'40 days\', "contentType" = %s '
        "WHERE abs(hashtext(id || %s)) %% 50 = 0",
        (str(number), str(number)),
    )


def whole(settings: Settings) -> None:
    """What the link means is a published file, unchanged since, readable by another process."""
    path, document = publish.current(settings), publish.read_document(settings)
    assert path is not None
    assert document is not None
    assert durable.sha256(path) == document.sha256
    query = "SELECT count(*) FROM analytics.behavioral_events"
    read = subprocess.run(
        [sys.executable, "-c", READ, str(settings.published_path), query], capture_output=True, text=True, check=True
    )
    assert read.stdout.strip() == f"({document.tables['behavioral_events'].rows},)"


def tidy(settings: Settings, *, scanner: bool) -> None:
    """After a sync nothing lies about that nobody names."""
    folders = [path for path in publish.snapshots_dir(settings).iterdir() if not path.name.startswith(".")]
    assert len(folders) <= settings.americano_snapshots_kept
    building = publish.snapshots_dir(settings) / ".building"
    assert not building.exists() or not any(building.iterdir())
    assert not [path for path in settings.published_path.parent.glob(".*") if path.is_symlink()]
    if not scanner:
        parquet = list(settings.lake_dir.rglob("*.parquet"))
        assert len(parquet) == _named_files(settings)
    assert _spilled(settings.spill_dir) == 0


def _named_files(settings: Settings) -> int:
    with duckdb.connect() as connection:
        manifest = str(settings.lake_dir / "manifest.json")
        (tables,) = connection.execute(
            "SELECT tables FROM read_json($1, columns = {tables: 'JSON'})", [manifest]
        ).fetchone() or ("",)
    return str(tables).count(".parquet")


def _spilled(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
