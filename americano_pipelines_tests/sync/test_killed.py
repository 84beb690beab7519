"""SIGKILL at any moment of a sync: the published file is whole, old or new; the next sync converges."""

import random
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, environment
from americano_pipelines_tests.sync.support import TABLES, lake_rows, published_rows, source_rows, sync, tidy, whole


class Victim:
    """A process that syncs when told to, and can be killed at any moment."""

    def __init__(self, settings: Settings, values: dict[str, object]) -> None:
        self.environment = environment(settings.paths.root, **values)
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


@pytest.mark.parametrize(
    ("kills", "scanner"),
    [
        pytest.param(5, False, id="some"),
        pytest.param(60, False, id="many", marks=pytest.mark.slow),
        pytest.param(60, True, id="many, scanner", marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(1200)
def test_whatever_is_killed_what_is_published_is_whole(
    prisma: Database, settings_for: Callable[..., Settings], *, scanner: bool, kills: int
) -> None:
    values = prisma.variables(duckdb_use_postgres_scanner=scanner, americano_threads=2)
    settings = settings_for(**values)
    sync(settings)
    chance = random.Random(20250101)  # noqa: S311 - where to kill, not a secret
    victim = Victim(settings, values)
    at_work = 0
    for number in range(kills):
        before = published_rows(settings, "behavioral_events")
        _change(prisma, number)
        after = source_rows(prisma, "behavioral_events")
        at_work += victim.sync_and_kill(chance.uniform(0, 0.6), full=number % 4 == 3)

        whole(settings)
        assert published_rows(settings, "behavioral_events") in (before, after)
        if number % 5 == 4:
            sync(settings)
            for table in TABLES:
                assert published_rows(settings, table) == source_rows(prisma, table)
                if not scanner:
                    assert lake_rows(settings, table) == source_rows(prisma, table)
            tidy(settings)
    assert at_work > kills / 3, "hardly ever killed at work, so this test said little"


def _change(database: Database, number: int) -> None:
    database.execute(
        'UPDATE behavioral_events SET "timestamp" = "timestamp" + interval \'40 days\', "contentType" = %s '
        "WHERE abs(hashtext(id || %s)) %% 50 = 0",
        (str(number), str(number)),
    )
