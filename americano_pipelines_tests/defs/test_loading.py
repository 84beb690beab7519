"""Loading the definitions: what they are in each mode, what they import, that real code servers accept them."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import americano_pipelines
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.settings import PROJECT_ROOT, load_settings
from americano_pipelines_tests.conftest import environment

MODES: dict[str, dict[str, Any]] = {
    "parquet": {},
    "postgres": {"pg_host": "db.example"},
    "scanner": {"pg_host": "db.example", "duckdb_use_postgres_scanner": True},
}
HEAVY = ("mlflow", "pandas", "matplotlib", "scipy", "numpy", "sqlglot", "pyarrow", "psycopg2")
GRAPHS = Path(__file__).parent / "asset_graphs.json"
REGENERATE = "AMERICANO_WRITE_GRAPHS"

FRESH = f"""
import sys
import warnings
import dagster
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    from americano_pipelines.definitions import defs
    storage = [name for name in ("sqlalchemy", "alembic") if name in sys.modules]
    dagster.Definitions.validate_loadable(defs())
print(storage + [name for name in {HEAVY} if name in sys.modules], [str(warning.message) for warning in warned])
"""


@pytest.mark.parametrize("mode", MODES)
def test_a_fresh_interpreter_loads_them_without_heavy_imports_or_warnings(mode: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FRESH],
        env=environment(tmp_path / "data", **MODES[mode]),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] []"
    assert not (tmp_path / "data").exists(), "loading must not write anything"


def test_a_code_server_loads_them(tmp_path: Path) -> None:
    # In one process an enum among the owners passed; only its way through a server's serialization failed.
    command = ["-m", "dagster", "definitions", "validate", "--load-with-grpc", "-w", "workspace.yaml"]
    done = subprocess.run(
        [sys.executable, *command],
        env=environment(tmp_path / "data", dagster_home=_home(tmp_path)),
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Started Dagster code server" in done.stdout
    assert "Validation successful for code location americano_pipelines" in done.stdout


@pytest.mark.slow
def test_dg_checks_and_lists_them(tmp_path: Path) -> None:
    pytest.importorskip("dagster_dg_cli")
    dg_command = str(Path(sys.executable).with_name("dg"))
    variables = environment(tmp_path / "data", pg_host="db.example", dagster_home=_home(tmp_path))
    checked = subprocess.run(
        [dg_command, "check", "defs"], env=variables, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    listed = subprocess.run(
        [dg_command, "list", "defs", "--json"],
        env=variables,
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    listing = json.loads(listed.stdout)
    keys = {asset["asset_key"] for asset in listing["assets"]}
    assert {"postgres/behavioral_events", "parquet/behavioral_events", "research/daily_events"} <= keys
    assert [schedule["name"] for schedule in listing["schedules"]] == ["deep_check_schedule", "nightly_sync_schedule"]


@pytest.mark.parametrize(
    ("family", "places"),
    [
        ("dagster", ("defs/", "definitions.py")),
        # dagster-mlflow's class is subclassed beside Dagster's other resources, and copies mlflow's functions.
        ("mlflow", ("mlflow_store/", "defs/analyses/mlflow_run.py")),
    ],
)
def test_a_library_is_imported_in_its_place_only(family: str, places: tuple[str, ...]) -> None:
    package = Path(americano_pipelines.__file__).parent
    offenders = []
    for path in package.rglob("*.py"):
        inside = path.relative_to(package).as_posix()
        if inside.startswith(places):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            offenders += [f"{inside}: {name}" for name in names if name.partition("_")[0].split(".")[0] == family]
    assert offenders == []


def test_private_names_of_dagster_are_in_one_module() -> None:
    package = Path(americano_pipelines.__file__).parent
    importing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and re.match(r"dagster(\w*\._|_shared)", node.module or "")
    }
    assert importing == {"defs/dagster_storage.py"}


@pytest.mark.parametrize("mode", MODES)
def test_the_asset_graph_is_the_recorded_one(mode: str) -> None:
    """On purpose changed? Run the tests once with AMERICANO_WRITE_GRAPHS=1 and read the difference."""
    graph = _graph(build_defs(load_settings(americano_data_dir="data", **MODES[mode])))
    recorded = json.loads(GRAPHS.read_text()) if GRAPHS.exists() else {}
    if os.environ.get(REGENERATE):
        recorded[mode] = graph
        GRAPHS.write_text(_written(recorded))

    assert graph == recorded[mode]


def _home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return home


def _written(graphs: dict[str, Any]) -> str:
    """JSON with an asset a line, so that a change reads well."""
    text = json.dumps(graphs, indent=1, sort_keys=True)
    compact = re.sub(r"\n {4,}", " ", re.sub(r"\n {3}([\]}])", r"\1", text))
    assert json.loads(compact) == graphs
    return compact + "\n"


def _deadline(policy: dg.FreshnessPolicy | None) -> str | None:
    return None if policy is None else f"{policy.deadline_cron} {policy.timezone}"


def _graph(defs: dg.Definitions) -> dict[str, Any]:
    """Everything that people see of the definitions, in plain values."""
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    assets = {
        node.key.to_user_string(): {
            "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": list(node.owners),
            "layer": node.tags["layer"],
            "role": "observed" if node.is_observable else "external" if node.is_external else "materialized",
            "described": bool(node.description),
            "code version": bool(node.code_version),
            "fresh by": _deadline(node.freshness_policy_or_from_metadata),
            "table": node.metadata.get("dagster/table_name"),
            "storage": node.metadata.get("dagster/storage_kind"),
            "checks": {
                key.name: "blocking" if (spec := graph.get_check_spec(key)) and spec.blocking else "warning"
                for key in sorted(node.check_keys)
            },
        }
        for node in graph.asset_nodes
    }
    jobs = {
        job.name: {
            "assets": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
            "checks": sorted(key.to_user_string() for key in job.asset_layer.asset_graph.asset_check_keys),
            "executor": job.executor_def.name,
        }
        for job in repository.get_all_jobs()
    }
    return {
        "assets": assets,
        "jobs": jobs,
        "schedules": {
            schedule.name: [
                schedule.job_name,
                schedule.cron_schedule,
                schedule.execution_timezone,
                schedule.default_status.value,
            ]
            for schedule in repository.schedule_defs
        },
        "sensors": {
            sensor.name: [sensor.job_name if sensor.targets else None, sensor.default_status.value]
            for sensor in repository.sensor_defs
        },
    }
