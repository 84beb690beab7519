"""Old runs of syncs: removed with all that was kept of them, but not what the UI or `americano verify` needs."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from americano_pipelines.defs import run_retention
from americano_pipelines.defs.jobs import NIGHTLY
from americano_pipelines.defs.run_retention import remove_old_runs
from americano_pipelines.defs.run_tags import PLACE_TAG
from americano_pipelines.defs.sync.deep_check import DEEP_CHECK
from americano_pipelines_tests.defs.conftest import Runner, events_query, write_parquet

SUCCESS, FAILURE, STARTED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED
NOW = timedelta(seconds=-1)


def recorded(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus, *assets: str, **tags: str) -> str:
    """Record a run of which nothing else is kept."""
    keys = frozenset(dg.AssetKey(asset.split("/")) for asset in assets) or None
    run = dg.DagsterRun(job_name=job, run_id=str(uuid.uuid4()), status=status, asset_selection=keys, tags=tags)
    instance.add_run(run)
    return run.run_id


def test_old_syncs_go_with_their_files_and_the_last_of_each_asset_stays(
    runner: Callable[..., Runner], tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "events.parquet", events_query())
    run = runner(persistent=True, behavioral_events_parquet=str(file))
    home = run.settings.dagster_dir

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


def test_what_others_need_stays(runner: Callable[..., Runner]) -> None:
    instance = runner(persistent=True).instance
    going = {
        recorded(instance, NIGHTLY, FAILURE),
        recorded(instance, DEEP_CHECK, SUCCESS),
        recorded(instance, "__ASSET_JOB", SUCCESS, "analytics/behavioral_events"),
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
    monkeypatch.setattr(run_retention, "MOST_RUNS", 2)

    passes = [remove_old_runs(run.instance, NOW) for _ in range(4)]

    assert [len(removed) for removed in passes] == [2, 2, 1, 0]
    assert passes[0][0] == oldest
    assert {name for removed in passes for name in removed} == {oldest, *others}
