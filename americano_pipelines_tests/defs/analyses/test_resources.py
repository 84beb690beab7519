"""The resources: what MLflow decides while it is imported, and others in their place."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from americano_pipelines.defs.analyses.resources import MlflowResource
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.settings import Settings
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


@pytest.mark.slow
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


def test_a_resource_is_replaced_by_its_name(
    settings_for: Callable[..., Settings], tmp_path: Path, empty_store: Path
) -> None:
    settings, other = settings_for(), settings_for(americano_data_dir=tmp_path / "other")
    (other.paths.root / "mlflow").mkdir(parents=True)
    shutil.copyfile(empty_store, other.paths.root / "mlflow" / "mlflow.db")
    definitions = build_defs(settings, resources={"mlflow": MlflowResource(settings=other)})
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["analysis", "training_demo"])], raise_on_error=False
        )

    assert not result.success, "nothing is published"
    store = open_store(other)
    (run,) = store.client.search_runs([store.experiment_id])
    assert (run.data.tags["dagster_run_id"], run.info.status) == (result.run_id, "FAILED")
    assert not (settings.paths.root / "mlflow").exists()
