"""Logging and registering a model on a real server, whatever server the process has set."""

import hashlib
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.analysis_run import AnalysisRun, analysis_run
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.registered_models import (
    CANDIDATE,
    log_model,
    make_candidate,
    process_tracking_uri,
)
from americano_pipelines_tests.mlflow_server import MlflowServer


def fitted() -> tuple[Any, Any]:
    """A pipeline, and rows to ask it about."""
    import pandas as pd
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    rows = pd.DataFrame({"told": np.linspace(-1, 1, 50)})
    pipeline = Pipeline([("scale", StandardScaler()), ("classify", SGDClassifier(loss="log_loss", random_state=0))])
    return pipeline.fit(rows, (rows["told"] > 0).astype(int)), rows


def test_it_goes_to_the_run_and_the_server_that_are_named(
    store: Store, parent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", elsewhere)
    with process_tracking_uri(elsewhere):
        model, rows = fitted()
        with analysis_run(store, parent, "trains", {}) as run:
            version = log_model(run, model, rows.head(3), "named")
        assert mlflow.get_tracking_uri() == elsewhere

    assert not (tmp_path / "elsewhere.db").exists()
    logged = store.client.get_logged_model(version.model_id)
    assert (logged.status, logged.source_run_id, logged.experiment_id) == ("READY", run.run_id, store.experiment_id)
    outputs = store.client.get_run(run.run_id).outputs
    assert [output.model_id for output in outputs.model_outputs] == [version.model_id]
    assert store.client.get_run(parent).outputs.model_outputs == []
    assert store.client.get_model_version("named", version.version).run_id == run.run_id


@pytest.mark.parametrize("variable", [None, "", "sqlite:///named.db"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_variable_stays_as_it_was(
    store: Store, parent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, *, elsewhere: bool
) -> None:
    model, rows = fitted()
    with process_tracking_uri(f"sqlite:///{tmp_path / 'elsewhere.db'}") if elsewhere else nullcontext():
        if variable is None:
            monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        else:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
        with analysis_run(store, parent, "trains", {}) as run:
            log_model(run, model, rows.head(3), "variable")

        assert os.environ.get("MLFLOW_TRACKING_URI") == variable


def test_its_files_are_hashed_as_they_lie_on_the_server(
    store: Store, parent: str, mlflow_server: MlflowServer, capfd: pytest.CaptureFixture[str]
) -> None:
    model, rows = fitted()
    with analysis_run(store, parent, "trains", {}) as run:
        capfd.readouterr()
        version = log_model(run, model, rows.head(3), "hashed")

    folder = mlflow_server.artifacts / store.experiment_id / "models" / version.model_id / "artifacts"
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "model.skops", "input_example.json"} <= contents.keys()
    assert version.files is not None
    assert {path: (file.sha256, file.bytes) for path, file in version.files.items()} == {
        path: (hashlib.sha256(content).hexdigest(), len(content)) for path, content in contents.items()
    }
    assert "Downloading" not in capfd.readouterr().err


def test_it_loads_from_the_server_as_the_candidate(store: Store, parent: str) -> None:
    import mlflow

    model, rows = fitted()
    with analysis_run(store, parent, "trains", {}) as run:
        first = log_model(run, model, rows.head(3), "loads")
        second = log_model(run, model, rows.head(3), "loads")
        for registered in (first, second):
            make_candidate(run, registered)

    assert (first.version, second.version) == ("1", "2")
    assert str(store.client.get_model_version_by_alias("loads", CANDIDATE).version) == "2"
    with process_tracking_uri(store.uri):
        loaded = mlflow.pyfunc.load_model(f"models:/loads@{CANDIDATE}")
    assert loaded.predict(rows).tolist() == model.predict(rows).tolist()
    assert loaded.metadata.get_input_schema().input_names() == ["told"]
    assert loaded.input_example.equals(rows.head(3))


def test_a_name_that_the_registry_refuses_is_told(store: Store, parent: str) -> None:
    model, rows = fitted()

    def trains(run: AnalysisRun) -> None:
        log_model(run, model, rows.head(3), "no/slash")

    with (
        pytest.raises(TrackingError, match=r"MLFLOW_TRACKING_URI.*no/slash"),
        analysis_run(store, parent, "trains", {}) as run,
    ):
        trains(run)
    assert store.client.get_run(run.run_id).info.status == "FAILED"
