"""The deep check: it fails for rows that nobody changed in the source, and for nothing else."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.sync.deep_check import DEEP_CHECK
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.defs.conftest import events_query, failure, write_parquet
from americano_pipelines_tests.sync.support import sync

Make = Callable[..., Settings]


def deep_check(settings: Settings) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(settings).resolve_job_def(DEEP_CHECK)
        return job.execute_in_process(instance=instance, raise_on_error=False)


def tamper(settings: Settings, assignment: str, where: str) -> None:
    """Change rows of the published file, as a shell that opened it would."""
    with duckdb.connect(str(snapshots.current(settings))) as shell:
        shell.execute(f"UPDATE analytics.behavioral_events SET {assignment} WHERE {where}")


@pytest.mark.parametrize("mode", ["false", "true"], ids=["postgres", "scanner"])
def test_a_row_changed_behind_its_back_fails_the_run_and_is_named(
    prisma: Database, settings_for: Make, mode: str
) -> None:
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=mode))
    sync(settings)
    assert deep_check(settings).success
    ((name,),) = prisma.execute("SELECT min(id) FROM behavioral_events WHERE \"timestamp\" < '2025-02-01'")
    tamper(settings, '"timeOfDay" = 99', f"id = '{name}'")

    result = deep_check(settings)

    assert not result.success
    said = failure(result)
    assert "behavioral_events, 2025-01: source 8" in said
    assert f"rows {name} (as in the published), {name} (as in the source)" in said
    assert "Run `americano sync --full`" in said


def test_what_the_source_changed_since_is_no_fault(prisma: Database, settings_for: Make) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    prisma.execute('UPDATE behavioral_events SET "timeOfDay" = 5 WHERE "timestamp" < \'2025-02-01\'')
    prisma.execute("DELETE FROM analysis_runs")

    result = deep_check(settings)

    assert result.success
    metadata = {
        observation.asset_key.path[-1]: observation.metadata
        for observation in result.asset_observations_for_node("compare_rows")
    }
    assert metadata["behavioral_events"]["months changed in the source since"].value == "2025-01"
    assert metadata["analysis_runs"]["months changed in the source since"].value == "all"
    assert metadata["phase_assignments"]["months changed in the source since"].value == "none"
    assert metadata["behavioral_events"]["months compared"].value == 5


def test_a_column_that_was_added_since_is_no_fault_and_is_said(prisma: Database, settings_for: Make) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    prisma.execute("ALTER TABLE behavioral_events ADD COLUMN mood integer DEFAULT 3")

    assert deep_check(settings).success


def test_files_are_compared_too(settings_for: Make, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "events.parquet", events_query(50))
    settings = settings_for(behavioral_events_parquet=str(path))
    sync(settings)
    assert deep_check(settings).success
    write_parquet(path, events_query(40))
    assert deep_check(settings).success, "the file is another one now"
    tamper(settings, "event_type = 'other'", "event_id = (SELECT min(event_id) FROM analytics.behavioral_events)")

    assert "does not hold the rows it was built from" in failure(deep_check(settings)), "another file explains no edit"
    write_parquet(path, events_query(50))
    assert "does not hold the rows it was built from" in failure(deep_check(settings))


def test_before_the_first_sync_it_says_so(prisma: Database, settings_for: Make) -> None:
    assert "run `americano sync` first" in failure(deep_check(settings_for(**prisma.variables())))
