"""What the tests of the definitions share: running the job on an instance, and reading what it left there."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.defs.job_names import NIGHTLY
from americano_pipelines.settings import Settings

TABLES = ("behavioral_events", "experiment_protocols", "phase_assignments", "analysis_runs")


class Runner:
    """Runs the job, or some assets as the UI would, on an instance."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance

    def run(self, *selection: str, **tags: str) -> dg.ExecuteInProcessResult:
        """Run the nightly job, or only the named assets (`analytics/behavioral_events`)."""
        definitions = build_defs(self.settings)
        job = definitions.resolve_job_def(NIGHTLY)
        if selection:
            job = definitions.resolve_implicit_global_asset_job_def()
        keys = [dg.AssetKey(name.split("/")) for name in selection] or None
        return job.execute_in_process(instance=self.instance, raise_on_error=False, asset_selection=keys, tags=tags)


@pytest.fixture
def runner(settings_for: Callable[..., Settings]) -> Iterator[Callable[..., Runner]]:
    """Make a runner for settings, on an instance in memory or on the data folder's own (ten times as slow)."""
    with ExitStack() as opened:

        def make(*, persistent: bool = False, **values: Any) -> Runner:
            settings = settings_for(**values)
            instance = open_instance(settings) if persistent else dg.DagsterInstance.ephemeral()
            return Runner(settings, opened.enter_context(instance))

        yield make


def versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Data version of every asset that a run materialized, selected or reported, by its key."""
    data_versions = {}
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key is not None:
            tags = event.step_materialization_data.materialization.tags or {}
            data_versions[event.asset_key.to_user_string()] = tags["dagster/data_version"]
    return data_versions


def metadata(result: dg.ExecuteInProcessResult, key: str) -> dict[str, Any]:
    """Metadata of an asset's materialization in a run, as values."""
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key == dg.AssetKey(key.split("/")):
            entries = event.step_materialization_data.materialization.metadata
            return {name: entry.value for name, entry in entries.items()}
    raise AssertionError(f"{key} was not materialized")


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """All check results of a run, by `table/check`."""
    return {f"{e.asset_key.path[-1]}/{e.check_name}": e for e in result.get_asset_check_evaluations()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The text with which a run's step failed."""
    events = [event for event in result.all_events if event.is_step_failure]
    data = events[0].step_failure_data.user_failure_data
    return (data.description or "") if data else str(events[0].step_failure_data.error)


def write_parquet(path: Path, query: str) -> Path:
    """Write the rows of a query to a Parquet file, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".aside")
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query}) TO '{aside}' (FORMAT parquet)")
    aside.replace(path)
    return path


def events_query(rows: int = 100, columns: str = "") -> str:
    """Some events in the older naming."""
    return (
        "SELECT 'e' || i AS event_id, 'l' || i % 5 AS learner_id, 'click' AS event_type, "
        f"TIMESTAMP '2024-05-01' + i * INTERVAL 1 HOUR AS event_time{columns} FROM range({rows}) AS r(i)"
    )


def published(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    """Ask the published file."""
    with duckdb.connect(str(settings.paths.published.resolve()), read_only=True) as connection:
        return connection.execute(query).fetchall()


def container(host: str) -> list[str]:
    """The start of a command that runs in namespaces of its own: another host name, and process ids from 1.

    Skips the test where the machine permits no namespaces.
    """
    isolated = ["unshare", "--user", "--map-root-user", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*isolated, "true"], check=False).returncode:
        pytest.skip("this machine permits no other host name and process ids")
    named = f"import os, socket, sys; socket.sethostname({host!r}); os.execvp(sys.argv[1], sys.argv[1:])"
    return [*isolated, sys.executable, "-c", named]
