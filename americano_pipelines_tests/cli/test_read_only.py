"""Commands that only read: data folder, Dagster home, MLflow and the app's rows are the same before and after."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.defs.run_processes import process_tags
from americano_pipelines.defs.run_tags import EXPERIMENT_TAG, OPEN, OWNER_TAG, ROW_OPEN, ROW_TAG, ROWS_TAG, STATUS_TAG
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.mlflow_store.runs import get_or_create_parent_run
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, file_hashes
from americano_pipelines_tests.prisma_database import link_url

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def leave_ends_open(settings: Settings) -> None:
    """Leave what killed processes do: a dead run, an ended run whose MLflow run and row are open, and files."""
    store = open_store(settings)
    with open_instance(settings) as instance:
        job = dg.DagsterRun(job_name="analyses")
        dead = instance.add_run(job._replace(status=dg.DagsterRunStatus.STARTED))
        instance.add_run_tags(dead.run_id, process_tags(instance, dead.run_id) | {OWNER_TAG: "gone.owner"})
        ended = instance.add_run(dg.DagsterRun(job_name="analyses", status=dg.DagsterRunStatus.FAILURE))
        tags = {EXPERIMENT_TAG: store.experiment_id, STATUS_TAG: OPEN, ROWS_TAG: ROW_OPEN, f"{ROW_TAG}run_0": ROW_OPEN}
        instance.add_run_tags(ended.run_id, tags)
    get_or_create_parent_run(store, settings, ended.run_id, "analyses", {})
    (settings.paths.spill / ".tmp-spill-00112233445566ff").mkdir(parents=True)
    (settings.paths.dagster_home / "processes" / "gone.owner").touch()


def rows_of_app(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("SELECT * FROM analysis_runs ORDER BY id")


@pytest.mark.slow  # a process for each command
@pytest.mark.timeout(600)
def test_commands_that_read_write_nothing(
    prisma: Database, americano: Command, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables(analysis_runs_database_url=link_url(prisma), americano_runs_kept_days=1)
    settings = settings_for(**values)

    def run(*arguments: str) -> str:
        done = americano(*arguments, timeout=300, **values)
        # The analysis has added a row to the app's table, which is one of the source's tables; and the protocols record
        # no plan.
        code = 1 if arguments[0] in {"verify-sync", "plan"} else 0
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done.stdout

    run("sync")
    (analysed,) = json.loads(run("analyse", "protocol_0", "--only", "change_points", "--json"))
    leave_ends_open(settings)
    before, rows = file_hashes(settings.paths.root), rows_of_app(prisma)

    for arguments in (
        ("verify", analysed["mlflow_run_id"], "--rerun"),
        ("runs",),
        ("compare", analysed["sha256"], analysed["sha256"]),
        ("report",),
        ("status",),
        ("protocols",),
        ("verdicts",),
        ("plan", "check", "protocol_0"),
        ("manuscript", analysed["sha256"]),
        ("doctor",),
        ("verify-sync",),
        ("purge", "--learner", "nobody", "--dry-run"),
        ("relocate", "--dry-run"),
    ):
        run(*arguments)
        after = file_hashes(settings.paths.root)
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        assert changed == set(), f"{arguments} wrote"
        assert rows_of_app(prisma) == rows, f"{arguments} wrote to the app"

    run("sync")
    with open_instance(settings) as instance:
        finished = {run.tags.get(STATUS_TAG) for run in instance.get_runs(dg.RunsFilter(job_name="analyses"))}
        assert OPEN not in finished, "a command that writes brings the ends into line"
        assert not any(not run.is_finished for run in instance.get_runs())
    assert list(settings.paths.spill.iterdir()) == []
