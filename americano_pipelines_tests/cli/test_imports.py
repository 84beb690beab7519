"""What a command loads: its module only, and of the packages below it what it needs."""

import json
import subprocess
import sys
from pathlib import Path

from americano_pipelines_tests.conftest import environment
from americano_pipelines_tests.defs.conftest import events_query, write_parquet

LOADED = """
import atexit, json, sys
from americano_pipelines.cli import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
main()
"""
# Of no use to a sync. pandas and numpy are not among them: DuckDB itself imports pandas when a value is bound.
HEAVY = {"mlflow", "scipy", "matplotlib", "sklearn", "statsmodels", "psycopg2", "dagster_mlflow", "dagster_duckdb"}
LAYERS_OF_A_SYNC = {"cli", "defs", "warehouse", "lake", "sources", "common", "settings", "errors", "text_output"}
LAYERS_OF_VERIFY = LAYERS_OF_A_SYNC | {"provenance", "app_database", "mlflow_store", "analysis", "statistics"}
# Modules of those packages that are about something else.
SYNC_ONLY = {"cli.demo", "cli.exit_codes", "cli.main", "cli.output", "cli.sync"}


def loaded(data_dir: Path, *arguments: str, code: int = 0, **values: object) -> tuple[set[str], set[str]]:
    """Our modules, without the package's name, and others' top packages, that a command has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        env=environment(data_dir, **values),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    names = json.loads(done.stderr.splitlines()[-1])
    prefix = "americano_pipelines."
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}, {
        n.partition(".")[0] for n in names
    }


def test_a_sync_loads_what_a_sync_needs(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "events.parquet", events_query(10))

    ours, others = loaded(tmp_path / "data", "sync", "--json", behavioral_events_parquet=file)

    assert {name.partition(".")[0] for name in ours} == LAYERS_OF_A_SYNC
    assert {name for name in ours if name.startswith("cli.")} == SYNC_ONLY
    assert {name for name in ours if name.startswith("defs.analyses")} == set()
    assert others & HEAVY == set()
    # A module more is one that reading a source, building or publishing needs: at last passing errors, quoted values,
    # formats of tables, views of the record and of the sources, plans, the learner's index, and run tags of an
    # earlier release.
    assert len(ours) <= 93, sorted(ours)


def test_verify_loads_no_command_of_others_and_nothing_that_writes(tmp_path: Path) -> None:
    ours, others = loaded(tmp_path / "data", "verify", "0" * 64, code=1)

    assert {name.partition(".")[0] for name in ours} <= LAYERS_OF_VERIFY
    assert {name for name in ours if name.startswith("cli.")} == {
        "cli.exit_codes", "cli.main", "cli.output", "cli.verify"
    }  # fmt: skip
    reconciling = {"defs.run_maintenance", "defs.run_retention", "defs.run_processes", "defs.analyses.reconcile_sensor"}
    assert ours & reconciling == set()
    assert others & {"sklearn", "matplotlib"} == set()


def test_help_of_a_command_loads_no_engine(tmp_path: Path) -> None:
    ours, others = loaded(tmp_path / "data", "sync", "--help")

    assert others & ({"dagster", "duckdb"} | HEAVY) == set()
    assert {name for name in ours if name.startswith("cli.")} == SYNC_ONLY


def test_the_list_of_commands_loads_no_engine(tmp_path: Path) -> None:
    ours, others = loaded(tmp_path / "data", "--help")

    assert others & ({"dagster", "duckdb", "sqlalchemy", "filelock"} | HEAVY) == set()
    assert {"cli.records", "cli.relocate"} <= ours, "it has the help of each command"
