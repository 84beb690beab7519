"""Old runs of syncs: removed with all that was kept of them, but not what the UI or `americano verify` needs."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from americano_pipelines.defs import run_retention
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.job_names import DEEP_CHECK, NIGHTLY
from americano_pipelines.defs.run_retention import remove_old_runs
from americano_pipelines.defs.run_tags import PLACE_TAG
from americano_pipelines.defs.sync.asset_specs import ROW_CHECKS
from americano_pipelines_tests.defs.conftest import Runner, events_query, write_parquet

SUCCESS, FAILURE, STARTED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED
NOW = timedelta(seconds=-1)


def recorded(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus, *assets: str, **tags: str) -> str:
    """Record a run of which nothing else is kept, of assets or of the checks of rows."""
    keys = frozenset(dg.AssetKey(asset.split("/")) for asset in assets if asset != "checks") or None
    run = dg.DagsterRun(
        job_name=job,
        run_id=str(uuid.uuid4()),
        status=status,
        asset_selection=keys,
        asset_check_selection=frozenset(ROW_CHECKS.values()) if "checks" in assets else None,
        tags=tags,
    )
    instance.add_run(run)
    return run.run_id


def test_old_syncs_go_with_their_files_and_the_last_of_each_asset_stays(
    runner: Callable[..., Runner], tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "events.parquet", events_query())
    run = runner(persistent=True, behavioral_events_parquet=str(file))
    home = run.settings.paths.dagster_home

    def kept() -> set[str]:
        """Runs that any file of Dagster's is named by."""
        names = {path.stem for path in (home / "history" / "runs").glob("*-*.db")}
        return names | {path.name for path in (home / "storage").glob("*-*-*-*-*")}

    first, second = run.run(), run.run()
    assert first.success
    assert second.success
    assert kept() >= {first.run_id, second.run_id}
    assert remove_old_runs(run.instance, timedelta(days=1)) == [], "both are of today"

    assert remove_old_runs(run.instance, NOW) == [first.run_id]

    assert kept() == {second.run_id}
    assert [run_left.run_id for run_left in run.instance.get_runs()] == [second.run_id]
    last = run.instance.get_latest_materialization_event(dg.AssetKey(["analytics", "behavioral_events"]))
    assert last is not None
    assert last.run_id == second.run_id
    assert remove_old_runs(run.instance, NOW) == []


def test_the_last_comparison_of_rows_stays_and_earlier_ones_leave_nothing(
    runner: Callable[..., Runner], tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "events.parquet", events_query())
    run = runner(persistent=True, behavioral_events_parquet=str(file))
    sync = run.run()
    job = build_defs(run.settings).resolve_job_def(DEEP_CHECK)
    first, second = (job.execute_in_process(instance=run.instance).run_id for _ in range(2))
    history = run.instance.event_log_storage.get_asset_check_execution_history

    assert remove_old_runs(run.instance, NOW) == [first]

    check = ROW_CHECKS["behavioral_events"]
    assert [record.run_id for record in history(check, limit=9)] == [second]
    built = dg.AssetCheckKey(check.asset_key, "id_unique")
    assert [record.run_id for record in history(built, limit=9)] == [sync.run_id]


def test_what_others_need_stays(runner: Callable[..., Runner]) -> None:
    instance = runner(persistent=True).instance
    going = {
        recorded(instance, NIGHTLY, FAILURE),
        recorded(instance, DEEP_CHECK, SUCCESS),
        recorded(instance, "__ASSET_JOB", SUCCESS, "analytics/behavioral_events"),
        recorded(instance, "__ASSET_JOB", SUCCESS, "checks"),
    }
    staying = {
        recorded(instance, NIGHTLY, STARTED),
        recorded(instance, "analyse", SUCCESS),
        recorded(instance, "__ASSET_JOB", FAILURE, "analysis/abab_randomization"),
        recorded(instance, "__ASSET_JOB", SUCCESS, "analytics/behavioral_events", **{"dagster/partition": "p"}),
        recorded(instance, "__ASSET_JOB", SUCCESS, "analytics/behavioral_events", **{PLACE_TAG: "sqlite"}),
        recorded(instance, "__ASSET_JOB", SUCCESS),
    }

    assert set(remove_old_runs(instance, NOW)) == going
    assert {run.run_id for run in instance.get_runs()} == staying


def test_a_pass_is_bounded_and_the_next_goes_on(runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch) -> None:
    run = runner(persistent=True)
    oldest, *others = [recorded(run.instance, NIGHTLY, FAILURE) for _ in range(5)]
    monkeypatch.setattr(run_retention, "MAX_RUNS", 2)

    passes = [remove_old_runs(run.instance, NOW) for _ in range(4)]

    assert [len(removed) for removed in passes] == [2, 2, 1, 0]
    assert passes[0][0] == oldest
    assert {name for removed in passes for name in removed} == {oldest, *others}
