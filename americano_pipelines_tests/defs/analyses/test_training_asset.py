"""The training demo on a real published file and a real MLflow database: what arrives, and what the UI shows."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.analysis.training.data import TrainingData
from americano_pipelines.analysis.training.model import MODEL_NAME
from americano_pipelines.defs.analyses.assets import build_analysis
from americano_pipelines.defs.analyses.resources import MlflowResource, WarehouseResource
from americano_pipelines.defs.run_tags import RECORD_SHA256
from americano_pipelines.mlflow_store.client import Store, open_store
from americano_pipelines.mlflow_store.registered_models import CANDIDATE, process_tracking_uri
from americano_pipelines.mlflow_store.runs import TAGS
from americano_pipelines.provenance.archive import get
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database, Server, cut
from americano_pipelines_tests.defs.conftest import failure, metadata
from americano_pipelines_tests.sync.support import sync

KEY = "analysis/training_demo"
SERIES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
# A learner's level comes and goes over weeks, so what a learner did before tells of what comes.
LEARNABLE = """
    UPDATE behavioral_events SET "sessionPerformanceScore" =
        66 + 18 * sin(extract(epoch FROM "timestamp") / 1500000 + right("userId", 1)::integer)
            + "sessionPerformanceScore" % 7
    WHERE "sessionPerformanceScore" IS NOT NULL
"""


class Demo:
    """The asset on settings, with the real resources."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store: Store = open_store(settings)

    def run(self, **config: Any) -> dg.ExecuteInProcessResult:
        definitions = dg.Definitions(
            assets=[build_analysis(self.settings, KINDS["training_demo"])],
            resources={
                "mlflow": MlflowResource(settings=self.settings),
                "warehouse": WarehouseResource(settings=self.settings),
            },
            executor=dg.in_process_executor,
        )
        job = definitions.resolve_implicit_global_asset_job_def()
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(
                instance=instance,
                raise_on_error=False,
                run_config={"ops": {"analysis__training_demo": {"config": config}}},
            )

    def nested(self, result: dg.ExecuteInProcessResult) -> Any:
        return self.store.client.get_run(metadata(result, KEY)["MLflow run id"])

    def series(self, run_id: str, name: str) -> list[tuple[int, float]]:
        return sorted((point.step, point.value) for point in self.store.client.get_metric_history(run_id, name))

    def artifact(self, run_id: str, name: str) -> bytes:
        return Path(self.store.client.download_artifacts(run_id, name)).read_bytes()


@pytest.fixture(scope="module")
def database(server: Server) -> Database:
    learnable = cut(server, "prisma")
    learnable.execute(LEARNABLE)
    return learnable


@pytest.fixture
def demo(database: Database, settings_for: Callable[..., Settings], empty_store: Path) -> Demo:
    settings = settings_for(**database.variables())
    sync(settings)
    (settings.paths.root / "mlflow").mkdir()
    shutil.copyfile(empty_store, settings.paths.root / "mlflow" / "mlflow.db")
    return Demo(settings)


def test_everything_arrives_and_the_page_says_it(demo: Demo) -> None:
    result = demo.run(run_name="first try", analysis_run_id="run_0", epochs=12)
    assert result.success

    run, shown = demo.nested(result), metadata(result, KEY)
    run_id = run.info.run_id
    assert (run.info.run_name, run.info.status) == ("first try", "FINISHED")
    params = run.data.params
    assert (params["epochs"], params["learning_rate"], params["model_type"]) == ("12", "0.0001", "logistic_regression")
    document = snapshots.read_record(demo.settings.paths)
    assert document is not None
    tags = run.data.tags
    assert set(TAGS) <= set(tags)
    assert tags["analysis_run_id"] == "run_0"
    assert tags["dagster.asset_key"] == KEY
    assert tags["data.snapshot_id"] == document.snapshot_id
    assert tags["provenance.sha256"] == shown[RECORD_SHA256].replace(" ", "")

    rows = list(csv.DictReader(io.StringIO(demo.artifact(run_id, "learning_curve.csv").decode())))
    for name in SERIES:
        assert demo.series(run_id, name) == [(int(row["epoch"]), float(row[name])) for row in rows]
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(13)]
    assert float(rows[-1]["validation_loss"]) < float(rows[1]["validation_loss"]) < float(rows[0]["validation_loss"])
    assert run.data.metrics["baseline_loss"] == float(rows[0]["validation_loss"])
    assert demo.artifact(run_id, "learning_curve.png").startswith(b"\x89PNG")
    facts = json.loads(demo.artifact(run_id, "metadata.json"))
    assert (facts["snapshot"], facts["data sha256"]) == (document.snapshot_id, tags["data.sha256"])

    assert shown["result"] == f"{Record.parse(get(demo.settings.paths.records, tags['provenance.sha256'])).sentence}"
    assert shown["learning_curve"].startswith("![learning_curve.png](data:image/png;base64,")
    assert shown["final validation accuracy"] == float(f"{run.data.metrics['final_validation_accuracy']:.4g}")
    assert (shown["model"], shown["model version"], shown["snapshot"]) == (MODEL_NAME, "1", document.snapshot_id)


def test_the_record_leads_to_the_very_rows_and_nobody_is_in_them(demo: Demo, database: Database) -> None:
    result = demo.run()

    tags = demo.nested(result).data.tags
    text = get(demo.settings.paths.extracts, tags["data.sha256"])
    data = TrainingData.parse(text)
    assert data.sha256 == tags["data.sha256"]
    assert database.execute('SELECT count("sessionPerformanceScore") FROM behavioral_events') == [(len(data.rows),)]
    assert b"learner_" not in text
    record = Record.parse(get(demo.settings.paths.records, tags["provenance.sha256"]))
    model = record.results["model"]
    assert isinstance(model, dict)
    assert (model["name"], model["version"]) == (MODEL_NAME, "1")
    assert str(model["model_id"]) in _candidate(demo).source
    assert (record.inputs[0].asset, record.inputs[0].rows) == ("analytics/behavioral_events", len(data.rows))


@pytest.mark.parametrize(
    "model_type", ["logistic_regression", pytest.param("gradient_boosting", marks=pytest.mark.slow)]
)
def test_the_registered_model_loads_and_predicts_what_was_measured(demo: Demo, model_type: str) -> None:
    import mlflow

    result = demo.run(model_type=model_type, epochs=8)
    assert result.success

    version, run = _candidate(demo), demo.nested(result)
    assert version.run_id == run.info.run_id
    assert [f"models:/{output.model_id}" for output in run.outputs.model_outputs] == [version.source]
    with process_tracking_uri(demo.store.uri):
        loaded = mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}@{CANDIDATE}")
    data = TrainingData.parse(get(demo.settings.paths.extracts, run.data.tags["data.sha256"]))
    inputs = loaded.metadata.get_input_schema()
    assert inputs.input_names() == [name for name in data.features if name in inputs.input_names()]
    assert loaded.metadata.get_output_schema() is not None
    example = loaded.input_example
    assert list(example.columns) == inputs.input_names()

    late = int(run.data.metrics["train_rows"])
    predicted = loaded.predict(_frame(data, late))
    right = predicted == (np.asarray(data.scores[late:]) >= 70)
    assert right.mean() == pytest.approx(run.data.metrics["final_validation_accuracy"], abs=1e-12)
    assert run.data.metrics["final_validation_accuracy"] > run.data.metrics["baseline_accuracy"]


def test_the_candidate_is_the_latest_that_is_on_record(demo: Demo) -> None:
    first = metadata(demo.run(epochs=1), KEY)
    second = metadata(demo.run(epochs=2), KEY)
    # A file where the folder of records belongs: the model is registered, its record is not kept.
    shutil.rmtree(demo.settings.paths.records)
    demo.settings.paths.records.write_text("in the way")
    assert not demo.run(epochs=3).success

    assert (first["model version"], second["model version"]) == ("1", "2")
    assert (str(_candidate(demo).version), _candidate(demo).run_id) == ("2", second["MLflow run id"])
    assert len(demo.store.client.search_model_versions(f"name = '{MODEL_NAME}'")) == 3


def test_a_model_that_cannot_be_uploaded_fails_the_run(demo: Demo) -> None:
    (demo.settings.paths.root / "mlflow" / "artifacts").write_text("a file where the folder belongs")

    result = demo.run()

    assert not result.success
    assert "MLFLOW_TRACKING_URI" in failure(result)
    statuses = {run.info.status for run in demo.store.client.search_runs([demo.store.experiment_id])}
    assert statuses == {"FAILED"}
    assert demo.store.client.search_model_versions(f"name = '{MODEL_NAME}'") == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"epochs": 0}, "epochs\n  Input should be greater than or equal to 1"),
        ({"learning_rate": 0.0}, "learning_rate\n  Input should be greater than 0"),
        ({"threshold": 101.0}, "threshold 101: no score of the training part reaches it"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(demo: Demo, config: dict[str, Any], message: str) -> None:
    result = demo.run(**config)

    assert not result.success
    assert message in failure(result)


def test_a_model_that_is_not_there_is_refused_before_the_run(demo: Demo) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=r"model_type.*logistic_regression"):
        demo.run(model_type="oracle")


def _candidate(demo: Demo) -> Any:
    return demo.store.client.get_model_version_by_alias(MODEL_NAME, CANDIDATE)


def _frame(data: TrainingData, start: int) -> Any:
    import pandas as pd

    return pd.DataFrame(data.rows[start:], columns=data.features, dtype="float64")
