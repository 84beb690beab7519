"""The nightly job on a persistent instance: what it records, and what a second run says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.jobs import PREFIX
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
    synced = [key for key in graph.materializable_asset_keys if graph.get(key).group_name != PREFIX]
    statuses = {key: resolver.get_status(key) for key in synced}
    return {key.to_user_string(): status.value for key, status in statuses.items() if status != StaleStatus.FRESH}


def test_assets_whose_sql_changed_are_stale(prisma: Database, runner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here = runner(**prisma.variables())
    assert here.run().success
    assert stale(here) == {}
    code_sha256 = asset_specs.code_sha256

    monkeypatch.setattr(
        asset_specs, "code_sha256", lambda model: "new" if model.name == "daily_events" else code_sha256(model)
    )

    assert stale(here) == {"research/daily_events": "STALE"}


def test_a_mirror_says_everything_about_itself(prisma: Database, runner: Make) -> None:
    here = runner(persistent=True, **prisma.variables())
    result = here.run()
    assert result.success
    found = metadata(result, "analytics/behavioral_events")

    assert found["dagster/row_count"] == 4000 == found["source rows"]
    specs = {spec.key.to_user_string(): spec for spec in build_defs(here.settings).resolve_all_asset_specs()}
    defined = specs["analytics/behavioral_events"].metadata
    assert defined["dagster/table_name"] == "americano.analytics.behavioral_events"
    assert defined["dagster/storage_kind"] == "duckdb"
    assert defined["dagster/uri"] == here.settings.published_path.as_uri()
    lake = here.settings.lake_dir / "behavioral_events"
    assert specs["parquet/behavioral_events"].metadata["dagster/uri"] == lake.as_uri()
    schema = {column.name: column for column in found["dagster/column_schema"].columns}
    assert schema["userId"].type == "VARCHAR"
    assert schema["userId"].description == "Who did it."
    assert schema["eventData"].type == "JSON"
    comments = dict(published(here.settings, COMMENTS))
    assert {name: column.description for name, column in schema.items()} == comments
    phases = metadata(result, "research/phases")["dagster/column_schema"].columns
    assert {column.name: column.description for column in phases} == dict(MODEL_BY_NAME["phases"].columns)
    assert not schema["id"].constraints.nullable
    assert found["sort key"] == "timestamp, id"
    assert found["indexes"] == "userId"
    assert found["file bytes"] == here.settings.published_path.stat().st_size
    assert found["snapshot id"] in str(here.settings.published_path.resolve())
    assert Path(found["path"]) == here.settings.published_path.resolve()
    assert found["preview"].startswith("not shown: rows of persons")
    # Three lines of header, then a row for each of the first five days.
    assert metadata(result, "research/daily_events")["preview"].count("\n") == 6
    assert found[SECONDS]["load behavioral_events"] >= 0
    assert found[NEW_SNAPSHOT] is True
    exported = metadata(result, "parquet/behavioral_events")
    assert exported["dagster/row_count"] == 4000
    assert exported["bytes"] > 10_000
    assert exported["source table"] == "public.behavioral_events"
    assert exported["preview"] == found["preview"]


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
    for mode, found in lineages.items():
        if asset not in found:
            assert (mode, asset.partition("/")[0]) == ("scanner", "parquet")
            continue
        upstream = {"postgres": "parquet", "scanner": "postgres"}[mode]
        lineage = found[asset]["dagster/column_lineage"].deps_by_column
        named = [f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in lineage[column]]
        assert named == [source.format(upstream=upstream) for source in sources]
        assert f"| {column} | {', '.join(named) or '-'} |" in found[asset]["column lineage"]


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
            here = runner(
                **database.variables(duckdb_use_postgres_scanner=mode == "scanner", americano_data_dir=tmp_path / mode)
            )
            result = here.run()
            assert result.success
            _lineage_cache[mode] = {key: metadata(result, key) for key in versions(result)}
    return _lineage_cache


def test_every_lineage_leads_to_an_asset_and_a_column_that_exist(lineages: dict[str, dict[str, Any]]) -> None:
    for found in lineages.values():
        columns = {key: {c.name for c in entries["dagster/column_schema"].columns} for key, entries in found.items()}
        for key, entries in found.items():
            lineage = entries["dagster/column_lineage"].deps_by_column
            assert set(lineage) == columns[key]
            for dep in (dep for deps in lineage.values() for dep in deps):
                upstream = dep.asset_key.to_user_string()
                if not upstream.startswith("postgres/"):
                    assert dep.column_name in columns[upstream], f"{key}: {upstream} has no {dep.column_name}"


@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
def test_a_second_run_without_changes_says_so(prisma: Database, runner: Make, *, scanner: bool) -> None:
    here = runner(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    first = here.run()
    file = here.settings.published_path.resolve()

    second = here.run()

    assert second.success
    assert versions(second) == versions(first)
    assert here.settings.published_path.resolve() == file
    assert set(checks(second)) == set(checks(first))
    assert {name.split("/")[1] for name in checks(second) if name.startswith("behavioral_events/")} == EVENT_CHECKS
    assert metadata(second, "analytics/behavioral_events")[UNCHANGED] is True
    assert metadata(second, "research/daily_events")[NEW_SNAPSHOT] is False
    assert stale(here) == {}


def test_a_change_in_one_table_changes_only_what_depends_on_it(prisma: Database, runner: Make) -> None:
    here = runner(**prisma.variables())
    before = versions(here.run())
    prisma.execute("UPDATE phase_assignments SET \"phaseLabel\" = 'renamed' WHERE id = 'phase_0_1'")

    after = here.run()

    assert {key for key, version in versions(after).items() if version != before[key]} == {
        "parquet/phase_assignments",
        "analytics/phase_assignments",
        "research/phases",
        "research/protocol_events",
        "research/events_by_protocol",
    }
    assert metadata(after, "analytics/behavioral_events")[UNCHANGED] is True
    assert stale(here) == {}


def test_one_table_alone_publishes_all_that_changed_and_reports_it(prisma: Database, runner: Make) -> None:
    here = runner(**prisma.variables(duckdb_use_postgres_scanner=True))
    here.run()
    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_0'")
    prisma.execute("DELETE FROM behavioral_events WHERE \"userId\" = 'learner_3'")

    result = here.run("analytics/analysis_runs")

    assert result.success
    assert published(here.settings, "SELECT count(*) FROM analytics.behavioral_events") == [(3500,)]
    assert published(here.settings, "SELECT count(*) FROM analytics.analysis_runs") == [(1,)]
    assert set(versions(result)) >= {f"analytics/{table}" for table in TABLES} | {"research/daily_events"}
    assert metadata(result, "analytics/behavioral_events")["dagster/row_count"] == 3500
    assert len({metadata(result, key)["snapshot id"] for key in versions(result)}) == 1
    assert {name.split("/")[0] for name in checks(result)} == {"analysis_runs"}
    assert stale(here) == {}


def test_one_export_alone_exports_all_that_changed_and_reports_it(prisma: Database, runner: Make) -> None:
    here = runner(**prisma.variables())
    here.run()
    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_0'")
    prisma.execute("DELETE FROM behavioral_events WHERE \"userId\" = 'learner_3'")

    result = here.run("parquet/analysis_runs")

    assert result.success
    assert set(versions(result)) == {"parquet/analysis_runs", "parquet/behavioral_events"}
    assert set(stale(here)) >= {"analytics/analysis_runs", "analytics/behavioral_events"}
    assert set(stale(here)) & {"analytics/phase_assignments", "analytics/experiment_protocols"} == set()


def test_tables_alone_say_that_exports_come_first(prisma: Database, runner: Make) -> None:
    result = runner(**prisma.variables()).run("analytics/behavioral_events")

    assert not result.success
    assert "materialize the parquet assets first" in failure(result)


def test_an_optional_table_that_is_missing_keeps_nothing_else_back(prisma: Database, runner: Make) -> None:
    prisma.execute("DROP TABLE analysis_runs")
    here = runner(**prisma.variables())

    result = here.run()

    assert result.success
    assert published(here.settings, "SELECT count(*) FROM analytics.behavioral_events") == [(4000,)]
    assert published(here.settings, "SELECT count(*) FROM research.phases") == [(8,)]
    skipped = {o.asset_key.to_user_string(): str(o.metadata[SKIPPED].value) for o in _observations(result)}
    assert set(skipped) == {"analytics/analysis_runs", "research/analysis_runs"}
    assert "no table public.analysis_runs" in skipped["analytics/analysis_runs"]
    assert stale(here) == {"analytics/analysis_runs": "MISSING", "research/analysis_runs": "MISSING"}


def test_a_table_that_appears_later_is_taken_in(prisma: Database, runner: Make) -> None:
    prisma.execute("ALTER TABLE analysis_runs RENAME TO elsewhere")
    here = runner(**prisma.variables())
    here.run()
    prisma.execute("ALTER TABLE elsewhere RENAME TO analysis_runs")

    assert here.run().success
    assert published(here.settings, "SELECT count(*) FROM research.analysis_runs") == [(2,)]
    assert stale(here) == {}


def test_files_are_observed_inside_the_job(runner: Make, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in" / "events.parquet", events_query(100))
    here = runner(behavioral_events_parquet=str(file))
    result = here.run()
    assert result.success

    observed = {o.asset_key.to_user_string(): o for o in _observations(result) if o.asset_key.path[0] == "files"}
    assert set(observed) == {f"files/{table}" for table in TABLES}
    assert str(file) in json.dumps(observed["files/behavioral_events"].metadata["sha256"].value)
    assert observed["files/analysis_runs"].data_version == "absent"
    found = metadata(result, "analytics/behavioral_events")
    assert found["dagster/column_lineage"].deps_by_column["learner_id"] == [
        dg.TableColumnDep(dg.AssetKey(["files", "behavioral_events"]), "learner_id")
    ]
    unchanged = here.run()
    assert versions(unchanged) == versions(result)
    present = {key for key in stale(here) if not key.endswith(("_runs", "_protocols", "_assignments"))}
    assert present <= {
        "research/phases",
        "research/protocols",
        "research/protocol_events",
        "research/events_by_phase",
    } | {"research/events_by_protocol"}


def test_a_changed_file_changes_the_versions_downstream(runner: Make, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in" / "events.parquet", events_query(100))
    here = runner(behavioral_events_parquet=str(file))
    before = versions(here.run())
    write_parquet(file, events_query(101))

    after = versions(here.run())

    assert after.keys() == before.keys()
    assert all(after[key] != before[key] for key in before)
    assert published(here.settings, "SELECT count(*) FROM analytics.behavioral_events") == [(101,)]


def _observations(result: dg.ExecuteInProcessResult) -> list[dg.AssetObservation]:
    return [e.asset_observation_data.asset_observation for e in result.all_events if e.is_asset_observation]
