"""Comparison of the published file with the present source: every difference is named, and nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable
from subprocess import CompletedProcess

import duckdb
import pytest

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.source_comparison import compare_with_source
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.support import sync

ONE = "(SELECT min(id) FROM behavioral_events WHERE \"timestamp\" >= '2025-02-01' AND \"timestamp\" < '2025-03-01')"


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings]) -> Settings:
    synced_settings = settings_for(**prisma.variables())
    sync(synced_settings)
    return synced_settings


@pytest.mark.parametrize("deep", [False, True], ids=["by month", "deep"])
def test_after_a_sync_nothing_differs(settings: Settings, *, deep: bool) -> None:
    result = compare_with_source(settings, StageTimer(), deep=deep)

    assert result.clean
    assert result.compared["behavioral_events"] == 5
    assert set(result.compared) == {"behavioral_events", "experiment_protocols", "phase_assignments", "analysis_runs"}


def test_the_deep_comparison_names_a_row_changed_in_the_published_file(
    settings: Settings,
) -> None:
    path = snapshots.current(settings.paths)
    assert path is not None
    with duckdb.connect(str(path)) as shell:
        (name,) = shell.execute(f"SELECT {ONE.replace('FROM ', 'FROM analytics.')}").fetchone() or ("",)
        shell.execute('UPDATE analytics.behavioral_events SET "timeOfDay" = 99 WHERE id = $1', [name])

    assert compare_with_source(settings, StageTimer(), deep=False).clean
    (difference,) = compare_with_source(settings, StageTimer(), deep=True).differences
    assert (difference.table, difference.bucket) == ("behavioral_events", "2025-02")
    assert difference.rows == [("published", name), ("source", name)]


def test_a_change_in_the_source_excuses_no_write_to_the_published_file(settings: Settings, prisma: Database) -> None:
    prisma.execute(f'UPDATE behavioral_events SET "timeOfDay" = 7 WHERE id = {ONE}')
    assert compare_with_source(settings, StageTimer(), deep=True).faults == []
    path = snapshots.current(settings.paths)
    assert path is not None
    with duckdb.connect(str(path)) as shell:
        shell.execute(f"DELETE FROM analytics.behavioral_events WHERE id = {ONE.replace('FROM ', 'FROM analytics.')}")

    (fault,) = compare_with_source(settings, StageTimer(), deep=True).faults

    assert (fault.table, fault.bucket) == ("behavioral_events", "2025-02")


def test_a_row_that_is_new_in_the_source_is_on_that_side_only(settings: Settings, prisma: Database) -> None:
    prisma.execute(
        'INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp") '
        "VALUES ('late', 'x', 'CARD_REVIEWED', '{}', '2025-03-03')"
    )

    for deep in (False, True):
        (difference,) = compare_with_source(settings, StageTimer(), deep=deep).differences
        assert (difference.table, difference.bucket) == ("behavioral_events", "2025-03")
    assert difference.rows == [("source", "late")]


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_the_command_agrees_and_ends_with_one_when_something_differs(
    prisma: Database, americano: Callable[..., CompletedProcess[str]]
) -> None:
    variables = prisma.variables()
    assert americano("verify-sync", **variables).returncode == 0
    prisma.execute(f"DELETE FROM behavioral_events WHERE id = {ONE}")

    done = americano("verify-sync", "--deep", "--json", **variables)

    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert not result["clean"]
    assert [(d["bucket"], len(d["rows"])) for d in result["differences"]] == [("2025-02", 1)]
    assert "differs behavioral_events, 2025-02" in americano("verify-sync", **variables).stdout


def test_without_a_published_file_there_is_nothing_to_compare(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    with pytest.raises(WarehouseUnavailableError, match="run `americano sync` first"):
        compare_with_source(settings_for(**prisma.variables()), StageTimer(), deep=False)


def test_a_table_lost_or_changed_in_the_file_is_damage_without_traceback(settings: Settings) -> None:
    path = snapshots.current(settings.paths)
    assert path is not None
    with duckdb.connect(str(path)) as shell:
        shell.execute("DROP SCHEMA research CASCADE; DROP TABLE analytics.analysis_runs")
        shell.execute("ALTER TABLE analytics.phase_assignments ADD COLUMN mine integer")

    result = compare_with_source(settings, StageTimer(), deep=True)

    assert not result.clean
    assert "it was written to" in result.damaged["analysis_runs"]
    assert result.damaged["phase_assignments"] == "its columns were changed in the published file: mine"
    assert set(result.compared) == {"behavioral_events", "experiment_protocols"}


def test_a_published_file_that_is_held_is_told(settings: Settings) -> None:
    path = snapshots.current(settings.paths)
    holding = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    shell = subprocess.Popen(
        [sys.executable, "-c", holding, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert shell.stdout is not None
        shell.stdout.readline()
        with pytest.raises(WarehouseUnavailableError, match="cannot be opened"):
            compare_with_source(settings, StageTimer(), deep=True)
    finally:
        shell.communicate("")
