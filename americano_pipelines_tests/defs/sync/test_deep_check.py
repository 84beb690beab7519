"""The deep check: it fails for rows that the source did not change, and runs with no materialization."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.job_names import DEEP_CHECK
from americano_pipelines.defs.sync.asset_specs import ROW_CHECKS, ROWS_EQUAL
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.defs.conftest import Runner, events_query, failure, write_parquet
from americano_pipelines_tests.sync.support import sync

Make = Callable[..., Settings]


def deep_check(settings: Settings) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(settings).resolve_job_def(DEEP_CHECK)
        return job.execute_in_process(instance=instance, raise_on_error=False)


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """What the checks of rows say, by table; other checks are left out."""
    return {e.asset_key.path[-1]: e for e in result.get_asset_check_evaluations() if e.check_name == ROWS_EQUAL}


def tamper(settings: Settings, assignment: str, where: str) -> None:
    """Change rows of the published file, as a shell that opened it would."""
    with duckdb.connect(str(snapshots.current(settings.paths))) as shell:
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
    message = failure(result)
    assert "behavioral_events, 2025-01: source 8" in message
    assert f"rows {name} (as in the published), {name} (as in the source)" in message
    assert "Run `americano sync --full`" in message
    passed = {table: evaluation.passed for table, evaluation in evaluations(result).items()}
    assert passed == {table: table != "behavioral_events" for table in ROW_CHECKS}
    assert name in str(evaluations(result)["behavioral_events"].description)


def test_what_the_source_changed_since_is_no_fault(prisma: Database, settings_for: Make) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    prisma.execute('UPDATE behavioral_events SET "timeOfDay" = 5 WHERE "timestamp" < \'2025-02-01\'')
    prisma.execute("DELETE FROM analysis_runs")

    result = deep_check(settings)

    assert result.success
    checks = evaluations(result)
    since = {table: check.metadata["months changed in the source since"].value for table, check in checks.items()}
    assert since["behavioral_events"] == "2025-01"
    assert since["analysis_runs"] == "all"
    assert since["phase_assignments"] == "none"
    assert checks["behavioral_events"].metadata["months compared"].value == 5
    assert {check.passed for check in checks.values()} == {True}


def test_a_table_that_was_dropped_from_the_published_file_fails_its_check(prisma: Database, settings_for: Make) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    with duckdb.connect(str(snapshots.current(settings.paths))) as shell:
        shell.execute("DROP SCHEMA research CASCADE; DROP TABLE analytics.analysis_runs")

    result = deep_check(settings)

    assert not result.success
    assert {table for table, check in evaluations(result).items() if not check.passed} == {"analysis_runs"}
    assert "has no such table any more" in str(evaluations(result)["analysis_runs"].description)


def test_a_run_that_materializes_compares_no_rows(prisma: Database, runner: Callable[..., Runner]) -> None:
    """The UI selects all checks of an asset that it materializes, so this one must do nothing then."""
    project = runner(**prisma.variables())
    assert project.run().success
    tamper(project.settings, '"timeOfDay" = 99', "true")

    result = project.run("parquet/behavioral_events")
    together = project.run("analytics/behavioral_events")

    assert result.success
    assert together.success
    assert "compare_rows" in {event.step_key for event in together.all_events if event.is_step_success}
    assert "id_unique" in {evaluation.check_name for evaluation in together.get_asset_check_evaluations()}
    assert evaluations(together) == {}


def test_one_check_alone_is_run_from_the_checks_tab(prisma: Database, settings_for: Make) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    definitions = build_defs(settings)
    only = dg.AssetSelection.checks(ROW_CHECKS["phase_assignments"])
    job = dg.Definitions(
        assets=list(definitions.assets or ()),
        asset_checks=list(definitions.asset_checks or ()),
        resources=definitions.resources,
        jobs=[dg.define_asset_job("one", only)],
    ).resolve_job_def("one")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)

    assert evaluations(result).keys() == {"phase_assignments"}


def test_the_instance_keeps_the_history_of_evaluations(prisma: Database, settings_for: Make) -> None:
    settings = settings_for(**prisma.variables())
    sync(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(settings).resolve_job_def(DEEP_CHECK)
        for _ in range(2):
            job.execute_in_process(instance=instance)
        history = instance.event_log_storage.get_asset_check_execution_history(ROW_CHECKS["behavioral_events"], limit=9)

    assert [record.status.value for record in history] == ["SUCCEEDED", "SUCCEEDED"]


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
