"""Measure the CPU time of commands in processes of their own, beside what they cannot do without."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from americano_pipelines.bench import analysis_cost
from americano_pipelines.bench.dataset import Dataset
from americano_pipelines.bench.sync_benchmark import Measured
from americano_pipelines.common.process_errors import last_error_line
from americano_pipelines.demo.postgres.cluster import SUPERUSER
from americano_pipelines.demo.server import DemoServer
from americano_pipelines.errors import DataError

ROWS = 1_000
_RUNS = 3
_AMERICANO = str(Path(sys.executable).with_name("americano"))
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
# The second tick of each sensor: the first imports what it needs, as a daemon's first does.
_TICKS = """
import time
import dagster as dg
from americano_pipelines.definitions import defs
from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.settings import load_settings
definitions, seconds = defs(), []
with open_instance(load_settings()) as instance:
    for sensor in definitions.sensors:
        for _ in range(2):
            context = dg.build_sensor_context(instance=instance, definitions=definitions)
            begin = time.process_time()
            sensor.evaluate_tick(context)
            last = time.process_time() - begin
        seconds.append(last)
print(max(seconds))
"""
PLAN = (
    "import dagster",
    "import americano_pipelines.definitions",
    "americano --help",
    "an empty job of two assets",
    "americano sync, nothing changed",
    "americano report",
    "an analysis beyond its statistics",
    "a tick of a sensor, nothing to do",
    "americano verify RECORD",
)
_DAGSTER, _DEFINITIONS, _HELP, _JOB, _SYNC, _REPORT, _ANALYSIS, _TICK, _VERIFY = PLAN


def measure_commands(data: Dataset, announce: Callable[[str], None]) -> list[Measured]:
    """Take all measurements; the seconds are CPU time, of the best of three runs.

    Args:
        data: the source; few rows will do.
        announce: called with the name of the next measurement.

    Raises:
        DataError: a command failed.
    """
    python = [sys.executable, "-c"]
    commands = {
        _DAGSTER: [*python, "import dagster"],
        _DEFINITIONS: [*python, "import americano_pipelines.definitions"],
        _HELP: [_AMERICANO, "--help"],
        _JOB: [*python, _EMPTY_JOB],
        _SYNC: [_AMERICANO, "sync"],
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
        *_measure_demo(data.folder / "demo", seconds[_DAGSTER], announce),
    ]


def _measure_demo(folder: Path, dagster_s: float, announce: Callable[[str], None]) -> list[Measured]:
    """What needs experiments: on a published demo of its own.

    Args:
        folder: everything is below it.
        dagster_s: CPU seconds of `import dagster`.
        announce: called with the name of the next measurement.
    """
    folder.mkdir()
    server = DemoServer(folder)
    announce(_REPORT)
    server.up()
    try:
        environment = {"AMERICANO_DATA_DIR": str(folder / "data"), **server.environment()}
        _run([_AMERICANO, "sync"], environment, folder)
        report_s = min(_run([_AMERICANO, "report"], environment, folder)[0] for _ in range(_RUNS))
        announce(_ANALYSIS)
        _, text = _run([sys.executable, "-m", analysis_cost.__name__], environment, folder)
        cost = json.loads(text)
        announce(_TICK)
        tick_s = float(_run([sys.executable, "-c", _TICKS], environment, folder)[1].splitlines()[-1])
        announce(_VERIFY)
        record = next((folder / "data" / "provenance").glob("*.json")).stem
        verify_s = min(_run([_AMERICANO, "verify", record], environment, folder)[0] for _ in range(_RUNS))
    finally:
        server.down()

    def against_dagster(what: str, seconds: float, budget: float, note: str = "") -> Measured:
        return Measured(what, seconds, _DAGSTER, seconds / dagster_s, budget, note)

    return [
        against_dagster(_REPORT, report_s, 1.0),
        against_dagster(_ANALYSIS, cost["seconds"], 1.5, f"of {cost['analyses']} in one process"),
        against_dagster(_TICK, tick_s, 0.25),
        against_dagster(_VERIFY, verify_s, 4.0),
    ]


def _cpu_seconds(data: Dataset, command: Sequence[str]) -> float:
    """CPU time of a command on the benchmark's server."""
    environment = {
        "AMERICANO_DATA_DIR": str(data.folder / "data"),
        "PG_HOST": data.postgres.host,
        "PG_PORT": str(data.postgres.port),
        "PG_USER": SUPERUSER,
        "PG_PASSWORD": "",
        "PG_DATABASE": "postgres",
    }
    return _run(command, environment, data.folder)[0]


def _run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> tuple[float, str]:
    """CPU time of a command, user and system, and what it printed."""
    home = folder / "dagster"
    home.mkdir(exist_ok=True)
    variables = {**os.environ, "DAGSTER_HOME": str(home), **environment}
    variables.pop("DATABASE_URL", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # In a folder without a .env file.
    done = subprocess.run(command, env=variables, cwd=folder, check=False, capture_output=True, text=True)  # noqa: S603 - our own commands
    if done.returncode:
        raise DataError(f"{' '.join(command)[:80]} failed: {last_error_line(done)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout
