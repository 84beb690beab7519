"""Measure the CPU time of commands in processes of their own, beside what they cannot do without."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from americano_pipelines.bench.dataset import Dataset
from americano_pipelines.bench.sync_benchmark import Measured
from americano_pipelines.demo.postgres.cluster import SUPERUSER

ROWS = 1_000
_RUNS = 3
_EMPTY_JOB = """
import dagster as dg
first = dg.asset(lambda: None, name="first")
second = dg.asset(lambda: None, name="second", deps=[first])
definitions = dg.Definitions(assets=[first, second], jobs=[dg.define_asset_job("both")])
with dg.DagsterInstance.get() as instance:
    done = definitions.resolve_job_def("both").execute_in_process(
        instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    )
    assert done.success
"""
PLAN = (
    "import dagster",
    "import americano_pipelines.definitions",
    "americano --help",
    "an empty job of two assets",
    "americano sync, nothing changed",
)
_DAGSTER, _DEFINITIONS, _HELP, _JOB, _SYNC = PLAN


def measure_commands(data: Dataset, announce: Callable[[str], None]) -> list[Measured]:
    """Take all measurements; the seconds are CPU time, of the best of three runs.

    Args:
        data: the source; few rows will do.
        announce: called with the name of the next measurement.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    python, americano = [sys.executable, "-c"], str(Path(sys.executable).with_name("americano"))
    commands = {
        _DAGSTER: [*python, "import dagster"],
        _DEFINITIONS: [*python, "import americano_pipelines.definitions"],
        _HELP: [americano, "--help"],
        _JOB: [*python, _EMPTY_JOB],
        _SYNC: [americano, "sync"],
    }
    seconds = {}
    for what, command in commands.items():
        announce(what)
        if what == _SYNC:
            _cpu_seconds(data, command)  # publishes
        seconds[what] = min(_cpu_seconds(data, command) for _ in range(_RUNS))

    def against(what: str, other: str, budget: float) -> Measured:
        return Measured(what, seconds[what], other, seconds[what] / seconds[other], budget)

    return [
        Measured(_DAGSTER, seconds[_DAGSTER]),
        against(_DEFINITIONS, _DAGSTER, 1.5),
        against(_HELP, _DAGSTER, 0.5),
        Measured(_JOB, seconds[_JOB]),
        against(_SYNC, _JOB, 1.5),
    ]


def _cpu_seconds(data: Dataset, command: Sequence[str]) -> float:
    """CPU time of a command, user and system."""
    home = data.folder / "dagster"
    home.mkdir(exist_ok=True)
    environment = os.environ | {
        "AMERICANO_DATA_DIR": str(data.folder / "data"),
        "DAGSTER_HOME": str(home),
        "PG_HOST": data.postgres.host,
        "PG_PORT": str(data.postgres.port),
        "PG_USER": SUPERUSER,
        "PG_PASSWORD": "",
        "PG_DATABASE": "postgres",
    }
    environment.pop("DATABASE_URL", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # In a folder without a .env file.
    subprocess.run(command, env=environment, cwd=data.folder, check=True, capture_output=True)  # noqa: S603 - our own commands
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
