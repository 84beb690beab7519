"""The training demo is verified like any other analysis, its series step by step, and is trained again."""

import json
import secrets

import pytest

from americano_pipelines.analysis.training.data import read_training_data
from americano_pipelines.analysis.training.training_parameters import ModelType, TrainingParameters
from americano_pipelines.mlflow_store.runs import analysis_run, get_or_create_parent_run
from americano_pipelines.provenance.capture import RunContext, capture_context
from americano_pipelines.provenance.training_run import PerformedTraining, perform_training
from americano_pipelines.provenance.verify.findings import Status
from americano_pipelines.provenance.verify.rerun import rerun
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshots import open_published
from americano_pipelines_tests.provenance.conftest import Lab, faults, finding, run_id

AGAIN = "training_demo on its extract"


def trained(lab: Lab, model_type: ModelType = "logistic_regression") -> PerformedTraining:
    """Train, register and record a model."""
    dagster_run_id = secrets.token_hex(8)
    parent = get_or_create_parent_run(lab.store, lab.settings, dagster_run_id, "job", {})
    document = snapshots.read_record(lab.settings)
    assert document is not None
    with (
        open_published(lab.settings) as connection,
        analysis_run(lab.store, parent, "training_demo", {}) as run,
    ):
        return perform_training(
            run,
            lab.settings,
            data=read_training_data(connection, lab.settings, document),
            document=document,
            task=RunContext(dagster_run_id, "analysis/training_demo", None, "a test", None),
            captured=capture_context(),
            parameters=TrainingParameters(model_type=model_type, epochs=3, seed=5),
        )


@pytest.mark.parametrize("model_type", ["logistic_regression", "gradient_boosting"])
def test_it_is_verified_step_by_step_and_trained_again(lab: Lab, model_type: ModelType) -> None:
    recorded = trained(lab, model_type).recorded

    verification = lab.verify(run_id(recorded), again=True)

    assert faults(verification) == {}
    assert finding(verification, AGAIN).status is Status.REPEATED
    assert finding(verification, "data of analytics/behavioral_events").status is Status.SAME
    assert [item.what for item in verification.findings if item.status is Status.EXTRA] == []
    lab.store.client.log_metric(run_id(recorded), "train_loss", 0.1, step=2)
    assert faults(lab.verify(run_id(recorded))) == {"metric train_loss": Status.DRIFT}

    results = json.loads(json.dumps(recorded.record.results))
    results["numbers"]["final_validation_loss"] += 1e-6
    changed = type(verification.subject)(
        verification.subject.record.model_copy(update={"results": results}), recorded.sha256, "a test", None, ()
    )
    assert [difference.what for difference in rerun(lab.settings, changed)] == ["numbers.final_validation_loss"]
