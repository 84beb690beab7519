"""The nightly job on a persistent instance: what it records, and what a second run says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.job_names import PREFIX
from americano_pipelines.defs.run_tags import NEW_SNAPSHOT, SECONDS, SKIPPED, UNCHANGED
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.warehouse.research_models import MODEL_BY_NAME
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.defs.conftest import (
    TABLES,
    Runner,
    checks,
    events_query,
    failure,
    metadata,
    published,
    versions,
    write_parquet,
)
from americano_pipelines_tests.sync.faults import SCANNER_SLOW

Make = Callable[..., Runner]
COMMENTS = """
    SELECT column_name, comment FROM duckdb_columns()
    WHERE schema_name = 'analytics' AND table_name = 'behavioral_events'
"""
EVENT_CHECKS = {"id_unique", "phase_labels_known", "reconciled", "time_not_null", "times_plausible"}


def stale(runner: Runner) -> dict[str, str]:
    """Assets of a sync that the UI would call unsynced or never materialized."""
    graph = build_defs(runner.settings).get_repository_def().asset_graph
    resolver = CachingStaleStatusResolver(runner.instance, graph, LoadingContextForTest(runner.instance))
    synced = [key for key in graph.materializable_asset_keys if key.path[0] != PREFIX]
    statuses = {key: resolver.get_status(key) for key in synced}
    return {key.to_user_string(): status.value for key, status in statuses.items() if status != StaleStatus.FRESH}


def test_assets_whose_sql_changed_are_stale(prisma: Database, runner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    project = runner(**prisma.variables())
    assert project.run().success
    assert stale(project) == {}
    code_sha256 = asset_specs.code_sha256

    monkeypatch.setattr(
        asset_specs, "code_sha256", lambda model: "new" if model.name == "daily_events" else code_sha256(model)
    )

    assert stale(project) == {"research/daily_events": "STALE"}


def test_a_mirror_says_everything_about_itself(prisma: Database, runner: Make) -> None:
    project = runner(persistent=True, **prisma.variables())
    result = project.run()
    assert result.success
    events_metadata = metadata(result, "analytics/behavioral_events")

    assert events_metadata["dagster/row_count"] == 4000 == events_metadata["source rows"]
    specs = {spec.key.to_user_string(): spec for spec in build_defs(project.settings).resolve_all_asset_specs()}
    defined = specs["analytics/behavioral_events"].metadata
    assert defined["dagster/table_name"] == "americano.analytics.behavioral_events"
    assert defined["dagster/storage_kind"] == "duckdb"
    assert defined["dagster/uri"] == project.settings.paths.published.as_uri()
    lake = project.settings.paths.lake / "behavioral_events"
    assert specs["parquet/behavioral_events"].metadata["dagster/uri"] == lake.as_uri()
    schema = {column.name: column for column in events_metadata["dagster/column_schema"].columns}
    assert schema["userId"].type == "VARCHAR"
    assert schema["userId"].description == "Who did it."
    assert schema["eventData"].type == "JSON"
    comments = dict(published(project.settings, COMMENTS))
    assert {name: column.description for name, column in schema.items()} == comments
    phases = metadata(result, "research/phases")["dagster/column_schema"].columns
    assert {column.name: column.description for column in phases} == dict(MODEL_BY_NAME["phases"].columns)
    assert not schema["id"].constraints.nullable
    assert events_metadata["sort key"] == "month of timestamp, userId, timestamp, id"
    assert events_metadata["indexes"] == "none"
    assert events_metadata["file bytes"] == project.settings.paths.published.stat().st_size
    assert events_metadata["snapshot id"] in str(project.settings.paths.published.resolve())
    assert events_metadata["path"].startswith("duckdb/snapshots/"), "a long path makes the page scroll sideways"
    assert project.settings.paths.root / events_metadata["path"] == project.settings.paths.published.resolve()
    assert events_metadata["preview"].startswith("not shown: rows of persons")
    # Three lines of header, then a row for each of the first five days.
    assert metadata(result, "research/daily_events")["preview"].count("\n") == 6
    # Dagster shows a shorter text on the page, which wide lines would make scroll sideways.
    assert len(metadata(result, "research/daily_events")["sql"]) == 1000
    assert len(metadata(result, "research/daily_events")["column lineage"]) < 1000
    assert events_metadata[SECONDS]["load behavioral_events"] >= 0
    assert events_metadata[NEW_SNAPSHOT] is True
    exported = metadata(result, "parquet/behavioral_events")
    assert exported["dagster/row_count"] == 4000
    assert exported["bytes"] > 10_000
    assert exported["source table"] == "public.behavioral_events"
    assert exported["preview"] == events_metadata["preview"]


@pytest.mark.parametrize(
    ("asset", "column", "sources"),
    [
        ("parquet/behavioral_events", "userId", ["postgres/behavioral_events.userId"]),
        ("analytics/behavioral_events", "eventType", ["{upstream}/behavioral_events.eventType"]),
        ("research/events", "learner_id", ["analytics/behavioral_events.userId"]),
        ("research/daily_events", "day", ["research/events.event_time"]),
        ("research/daily_events", "events", []),
        ("research/phases", "learner_id", ["research/protocols.learner_id"]),
        # Longer than a cell of a preview may be.
        ("research/phases", "planned_days", ["analytics/phase_assignments.plannedDuration"]),
    ],
)
def test_columns_come_from_columns_in_their_real_case(
    lineages: dict[str, dict[str, Any]], asset: str, column: str, sources: list[str]
) -> None:
    for mode, entries in lineages.items():
        if asset not in entries:
            assert (mode, asset.partition("/")[0]) == ("scanner", "parquet")
            continue
        upstream = {"postgres": "parquet", "scanner": "postgres"}[mode]
        lineage = entries[asset]["dagster/column_lineage"].deps_by_column
        named = [f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in lineage[column]]
        assert named == [source.format(upstream=upstream) for source in sources]
        assert f"| {column} | {', '.join(named) or '-'} |" in entries[asset]["column lineage"]


@pytest.fixture(scope="module")
def _lineage_cache() -> dict[str, dict[str, Any]]:
    return {}


@pytest.fixture
def lineages(
    _lineage_cache: dict[str, dict[str, Any]], new_database: Callable[[str], Database], runner: Make, tmp_path: Path
) -> dict[str, dict[str, Any]]:
    """Metadata of every asset in both Postgres modes, made once."""
    if not _lineage_cache:
        database = new_database("prisma")
        for mode in ("postgres", "scanner"):
            project = runner(
                **database.variables(duckdb_use_postgres_scanner=mode == "scanner", americano_data_dir=tmp_path / mode)
            )
            result = project.run()
            assert result.success
            _lineage_cache[mode] = {key: metadata(result, key) for key in versions(result)}
    return _lineage_cache


def test_every_lineage_leads_to_an_asset_and_a_column_that_exist(lineages: dict[str, dict[str, Any]]) -> None:
    for assets in lineages.values():
        columns = {key: {c.name for c in entries["dagster/column_schema"].columns} for key, entries in assets.items()}
        for key, entries in assets.items():
            lineage = entries["dagster/column_lineage"].deps_by_column
            assert set(lineage) == columns[key]
            for dep in (dep for deps in lineage.values() for dep in deps):
                upstream = dep.asset_key.to_user_string()
                if not upstream.startswith("postgres/"):
                    assert dep.column_name in columns[upstream], f"{key}: {upstream} has no {dep.column_name}"


@SCANNER_SLOW
def test_a_second_run_without_changes_says_so(prisma: Database, runner: Make, *, scanner: bool) -> None:
    project = runner(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    first = project.run()
    file = project.settings.paths.published.resolve()

    second = project.run()

    assert second.success
    assert versions(second) == versions(first)
    assert project.settings.paths.published.resolve() == file
    assert set(checks(second)) == set(checks(first))
    assert {name.split("/")[1] for name in checks(second) if name.startswith("behavioral_events/")} == EVENT_CHECKS
    assert metadata(second, "analytics/behavioral_events")[UNCHANGED] is True
    assert metadata(second, "research/daily_events")[NEW_SNAPSHOT] is False
    assert stale(project) == {}


def test_a_change_in_one_table_changes_only_what_depends_on_it(prisma: Database, runner: Make) -> None:
    project = runner(**prisma.variables())
    before = versions(project.run())
    prisma.execute("UPDATE phase_assignments SET \"phaseLabel\" = 'renamed' WHERE id = 'phase_0_1'")

    after = project.run()

    assert {key for key, version in versions(after).items() if version != before[key]} == {
        "parquet/phase_assignments",
        "analytics/phase_assignments",
        "research/daily_outcomes",
        "research/phases",
        "research/protocol_events",
        "research/events_by_protocol",
    }
    assert metadata(after, "analytics/behavioral_events")[UNCHANGED] is True
    assert stale(project) == {}


def test_one_table_alone_publishes_all_that_changed_and_reports_it(prisma: Database, runner: Make) -> None:
    project = runner(**prisma.variables(duckdb_use_postgres_scanner=True))
    project.run()
    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_0'")
    prisma.execute("DELETE FROM behavioral_events WHERE \"userId\" = 'learner_3'")

    result = project.run("analytics/analysis_runs")

    assert result.success
    assert published(project.settings, "SELECT count(*) FROM analytics.behavioral_events") == [(3500,)]
    assert published(project.settings, "SELECT count(*) FROM analytics.analysis_runs") == [(1,)]
    assert set(versions(result)) >= {f"analytics/{table}" for table in TABLES} | {"research/daily_events"}
    assert metadata(result, "analytics/behavioral_events")["dagster/row_count"] == 3500
    assert len({metadata(result, key)["snapshot id"] for key in versions(result)}) == 1
    assert {name.split("/")[0] for name in checks(result)} == {"analysis_runs"}
    assert stale(project) == {}


def test_one_export_alone_exports_all_that_changed_and_reports_it(prisma: Database, runner: Make) -> None:
    project = runner(**prisma.variables())
    project.run()
    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_0'")
    prisma.execute("DELETE FROM behavioral_events WHERE \"userId\" = 'learner_3'")

    result = project.run("parquet/analysis_runs")

    assert result.success
    assert set(versions(result)) == {"parquet/analysis_runs", "parquet/behavioral_events"}
    assert set(stale(project)) >= {"analytics/analysis_runs", "analytics/behavioral_events"}
    assert set(stale(project)) & {"analytics/phase_assignments", "analytics/experiment_protocols"} == set()


def test_tables_alone_say_that_exports_come_first(prisma: Database, runner: Make) -> None:
    result = runner(**prisma.variables()).run("analytics/behavioral_events")

    assert not result.success
    assert "materialize the parquet assets first" in failure(result)


def test_an_optional_table_that_is_missing_keeps_nothing_else_back(prisma: Database, runner: Make) -> None:
    prisma.execute("DROP TABLE analysis_runs")
    project = runner(**prisma.variables())

    result = project.run()

    assert result.success
    assert published(project.settings, "SELECT count(*) FROM analytics.behavioral_events") == [(4000,)]
    assert published(project.settings, "SELECT count(*) FROM research.phases") == [(8,)]
    skipped = {o.asset_key.to_user_string(): str(o.metadata[SKIPPED].value) for o in _observations(result)}
    assert set(skipped) == {"analytics/analysis_runs", "research/analysis_runs", "research/verdicts"}
    assert "no table public.analysis_runs" in skipped["analytics/analysis_runs"]
    absent = ("analytics/analysis_runs", "research/analysis_runs", "research/verdicts")
    assert stale(project) == dict.fromkeys(absent, "MISSING")


def test_a_table_that_appears_later_is_taken_in(prisma: Database, runner: Make) -> None:
    prisma.execute("ALTER TABLE analysis_runs RENAME TO elsewhere")
    project = runner(**prisma.variables())
    project.run()
    prisma.execute("ALTER TABLE elsewhere RENAME TO analysis_runs")

    assert project.run().success
    assert published(project.settings, "SELECT count(*) FROM research.analysis_runs") == [(2,)]
    assert stale(project) == {}


def test_files_are_observed_inside_the_job(runner: Make, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in" / "events.parquet", events_query(100))
    project = runner(behavioral_events_parquet=str(file))
    result = project.run()
    assert result.success

    observed = {o.asset_key.to_user_string(): o for o in _observations(result) if o.asset_key.path[0] == "files"}
    assert set(observed) == {f"files/{table}" for table in TABLES}
    hashes = observed["files/behavioral_events"].metadata["sha256"].value
    assert hashes == {"events.parquet": sha256_hex(file.read_bytes())[:12]}
    assert observed["files/analysis_runs"].data_version == "absent"
    events_metadata = metadata(result, "analytics/behavioral_events")
    assert events_metadata["dagster/column_lineage"].deps_by_column["learner_id"] == [
        dg.TableColumnDep(dg.AssetKey(["files", "behavioral_events"]), "learner_id")
    ]
    unchanged = project.run()
    assert versions(unchanged) == versions(result)
    present = {key for key in stale(project) if not key.endswith(("_runs", "_protocols", "_assignments"))}
    assert present <= {
        "research/daily_outcomes",
        "research/verdicts",
        "research/phases",
        "research/protocols",
        "research/protocol_events",
        "research/events_by_phase",
    } | {"research/events_by_protocol"}


def test_a_changed_file_changes_the_versions_downstream(runner: Make, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in" / "events.parquet", events_query(100))
    project = runner(behavioral_events_parquet=str(file))
    before = versions(project.run())
    write_parquet(file, events_query(101))

    after = versions(project.run())

    assert after.keys() == before.keys()
    assert all(after[key] != before[key] for key in before)
    assert published(project.settings, "SELECT count(*) FROM analytics.behavioral_events") == [(101,)]


def _observations(result: dg.ExecuteInProcessResult) -> list[dg.AssetObservation]:
    return [e.asset_observation_data.asset_observation for e in result.all_events if e.is_asset_observation]
