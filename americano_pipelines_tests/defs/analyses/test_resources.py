"""The resource in a fresh process: what MLflow decides while it is imported."""

import shutil
import subprocess
import sys
from pathlib import Path

from americano_pipelines_tests.conftest import environment

FRESH = """
import dagster as dg
from americano_pipelines.defs.analyses.resources import MlflowResource
from americano_pipelines.settings import load_settings

@dg.asset
def one(mlflow: MlflowResource):
    from mlflow.telemetry.client import get_telemetry_client
    print("telemetry:", get_telemetry_client())

dg.materialize([one], resources={"mlflow": MlflowResource(settings=load_settings())})
"""


def test_nothing_that_is_done_with_mlflow_is_reported_to_anybody(tmp_path: Path, empty_store: Path) -> None:
    (tmp_path / "data" / "mlflow").mkdir(parents=True)
    shutil.copyfile(empty_store, tmp_path / "data" / "mlflow" / "mlflow.db")
    # MLflow reports nothing from within tests and CI systems, by these of their variables.
    variables = {
        name: value
        for name, value in environment(tmp_path / "data").items()
        if not name.startswith(("CI", "GITHUB_", "PYTEST", "BUILD", "TF_BUILD", "MLFLOW_DISABLE", "DO_NOT_TRACK"))
    }
    done = subprocess.run(
        [sys.executable, "-c", FRESH], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "telemetry: None" in done.stdout
    assert "BetaWarning" not in done.stderr
