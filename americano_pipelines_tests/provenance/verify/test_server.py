"""A verification asks an MLflow server as it asks a database."""

import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.provenance.verify.findings import Status
from americano_pipelines.settings import load_settings
from americano_pipelines_tests.mlflow_server import MlflowServer
from americano_pipelines_tests.provenance.conftest import Lab, faults, run_id


@pytest.mark.slow  # a server starts
def test_on_a_server_changed_and_missing_parts_are_found(lab: Lab, mlflow_server: MlflowServer) -> None:
    values = lab.database.variables(mlflow_tracking_uri=mlflow_server.url)
    settings = load_settings(americano_data_dir=lab.settings.paths.root, log_level="WARNING", **values)
    served = Lab(settings, open_store(settings), lab.database)
    recorded = served.analyse()

    assert faults(served.verify(run_id(recorded))) == {}
    served.store.client.log_metric(run_id(recorded), "p", 0.001, step=0)
    assert faults(served.verify(run_id(recorded))) == {"metric p": Status.DRIFT}
    served.store.client.delete_tag(run_id(recorded), "mlflow.parentRunId")
    assert faults(served.verify(run_id(recorded))).keys() == {"metric p", "tag mlflow.parentRunId"}
    for path in ("daily.csv", "report.html"):
        (file,) = mlflow_server.artifacts.rglob(f"{run_id(recorded)}/artifacts/{path}")
        file.unlink()
    file.symlink_to(mlflow_server.folder)
    assert faults(served.verify(run_id(recorded))) == {
        "metric p": Status.DRIFT,
        "tag mlflow.parentRunId": Status.MISSING,
        "daily.csv": Status.MISSING,
        "report.html": Status.MISSING,
    }
    for name in ("0" * 32, "deadbeef", "no such run's name"):
        with pytest.raises(AnalysisError, match="`americano runs` lists"):
            served.verify(name)

    elsewhere = lab.verify(run_id(recorded))
    assert faults(elsewhere)["run"] is Status.MISSING
    assert mlflow_server.url in next(fault.detail for fault in elsewhere.faults if fault.what == "run")
