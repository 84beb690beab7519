"""The training demo is verified like any other analysis, its series step by step, and is trained again."""

import json

import pytest

from americano_pipelines.analysis.parameters import ModelType
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.provenance.perform import PerformedAnalysis
from americano_pipelines.provenance.verify.findings import Status
from americano_pipelines.provenance.verify.rerun import rerun
from americano_pipelines_tests.provenance.conftest import Lab, faults, finding, run_id

AGAIN = "training_demo on its extract"


def trained(lab: Lab, model_type: ModelType = "logistic_regression") -> PerformedAnalysis:
    """Train, register and record a model."""
    return lab.perform(KINDS["training_demo"], model_type=model_type, epochs=3, seed=5)


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
    assert [difference.what for difference in rerun(lab.settings.paths, changed)] == ["numbers.final_validation_loss"]
