"""Training: a split by time, a loss that falls where there is something to learn, and an honest baseline."""

import csv
import io
import math

import numpy as np
import pytest

from americano_pipelines.analysis.parameters import ModelType, TrainingParameters
from americano_pipelines.analysis.result import Analysis, TrainedModel
from americano_pipelines.analysis.training.data import TrainingData, split_by_time
from americano_pipelines.analysis.training.model import MODEL_NAME, accuracy, log_loss, train
from americano_pipelines.errors import AnalysisError

BOTH: tuple[ModelType, ...] = ("logistic_regression", "gradient_boosting")


def training_data(signal: float, rows: int = 2000, seed: int = 0) -> TrainingData:
    """Scores around 70 that follow the feature `told` as far as `signal`; `noise` tells nothing, and has gaps."""
    rng = np.random.default_rng(seed)
    telling, noise = rng.normal(size=(2, rows))
    scores = 70 + 5 * (signal * telling + rng.normal(size=rows))
    gaps = [None if place % 7 == 0 else value for place, value in enumerate(noise.tolist())]
    return TrainingData(
        outcome="score",
        features=["told", "noise"],
        left_out={},
        available=rows,
        learners=[],
        times_us=list(range(0, rows * 1000, 1000)),
        scores=scores.tolist(),
        rows=[list(row) for row in zip(telling.tolist(), gaps, strict=True)],
    )


def parameters(model_type: ModelType, **values: float) -> TrainingParameters:
    return TrainingParameters.model_validate({"model_type": model_type, **values})


def model_of(analysis: Analysis) -> TrainedModel:
    assert analysis.model is not None
    assert analysis.model.name == MODEL_NAME
    return analysis.model


def test_the_later_fifth_validates_and_an_instant_is_not_cut() -> None:
    data = training_data(1, rows=100)
    parts = split_by_time(data, 70)
    assert (len(parts.train), len(parts.validation), parts.at_us) == (80, 20, 80_000)
    assert parts.train[:, 0].tolist() == [row[0] for row in data.rows[:80]]
    assert parts.validation_high.tolist() == [int(score >= 70) for score in data.scores[80:]]

    times = [*data.times_us[:70], *[70_000] * 20, *data.times_us[90:]]
    tied = split_by_time(data.model_copy(update={"times_us": times}), 70)
    assert (len(tied.train), len(tied.validation)) == (70, 30)


@pytest.mark.parametrize("model_type", BOTH)
def test_loss_falls_where_there_is_something_to_learn(model_type: ModelType) -> None:
    rate = {"logistic_regression": 0.001, "gradient_boosting": 0.1}[model_type]
    result = train(training_data(2), parameters(model_type, learning_rate=rate, epochs=15), "s")

    for name in ("train_loss", "validation_loss"):
        losses = result.series[name]
        assert len(losses) == 16
        assert losses[15] < losses[5] < losses[1] < losses[0]
    assert result.numbers["final_validation_accuracy"] > result.numbers["baseline_accuracy"] + 0.2
    assert "better than knowing nothing" in result.sentence


@pytest.mark.parametrize("model_type", BOTH)
def test_noise_teaches_nothing_and_the_baseline_says_so(model_type: ModelType) -> None:
    result = train(training_data(0), parameters(model_type, threshold=75), "s")

    assert result.numbers["final_validation_loss"] > result.numbers["baseline_loss"] - 0.01
    assert "no better than knowing nothing" in result.sentence


@pytest.mark.parametrize("model_type", BOTH)
def test_a_seed_gives_the_same_again(model_type: ModelType) -> None:
    data = training_data(1)
    first, again = (train(data, parameters(model_type, epochs=3), "s") for _ in range(2))

    assert first.series == again.series
    assert first.files == again.files
    assert first.pictures == again.pictures
    assert first.results == again.results


def test_another_seed_gives_other_descents() -> None:
    data = training_data(1)
    first, second = (train(data, parameters("logistic_regression", epochs=2, seed=seed), "s").series for seed in (1, 2))

    assert first["train_loss"][0] == second["train_loss"][0]
    assert first["train_loss"][1] != second["train_loss"][1]


@pytest.mark.parametrize("model_type", BOTH)
@pytest.mark.slow
def test_what_comes_later_does_not_change_the_model(model_type: ModelType) -> None:
    data = training_data(1)
    other = training_data(1, seed=5)
    changed = data.model_copy(
        update={"rows": data.rows[:1600] + other.rows[1600:], "scores": data.scores[:1600] + other.scores[1600:]}
    )
    first, second = (train(each, parameters(model_type, epochs=3), "s") for each in (data, changed))

    assert first.series["train_loss"] == second.series["train_loss"]
    assert first.series["validation_loss"] != second.series["validation_loss"]
    assert model_of(first).example.equals(model_of(second).example)


def test_the_pipeline_takes_raw_features_and_gives_what_was_measured() -> None:
    import pandas as pd

    data = training_data(2)
    result = train(data, parameters("logistic_regression"), "s")
    model = model_of(result)
    predicted = model.pipeline.predict(pd.DataFrame(data.rows[1600:], columns=data.features, dtype="float64"))

    high = np.asarray(data.scores[1600:]) >= 70
    assert (predicted == high).mean() == pytest.approx(result.numbers["final_validation_accuracy"], abs=1e-12)
    assert list(model.example.columns) == data.features
    assert model.example["told"].tolist() == pytest.approx(
        np.quantile([row[0] for row in data.rows[:1600]], [0.25, 0.5, 0.75]).tolist()
    )


def test_measures_by_hand() -> None:
    high, probability = np.array([1, 0, 1]), np.array([0.9, 0.8, 0.5])

    assert log_loss(high, probability) == pytest.approx(-(math.log(0.9) + math.log(0.2) + math.log(0.5)) / 3)
    assert accuracy(high, probability) == pytest.approx(1 / 3)
    assert math.isfinite(log_loss(np.array([1]), np.array([0.0])))


def test_the_curve_has_a_line_per_epoch_and_starts_at_the_baseline() -> None:
    result = train(training_data(1), parameters("gradient_boosting", epochs=4), "s")

    rows = list(csv.DictReader(io.StringIO(result.files["learning_curve.csv"].decode())))
    assert list(rows[0]) == ["epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    assert [row["epoch"] for row in rows] == list("01234")
    assert [float(row["validation_loss"]) for row in rows] == result.series["validation_loss"]
    share = result.numbers["train_high_share"]
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert float(rows[0]["train_loss"]) == pytest.approx(entropy)


def test_a_feature_without_a_value_is_left_out() -> None:
    data = training_data(1)
    empty = data.model_copy(update={"rows": [[row[0], None] for row in data.rows]})
    result = train(empty, parameters("logistic_regression", epochs=1), "s")

    assert result.results["features"] == ["told"]
    assert result.results["features left out"] == {"noise": "it has no value in the training part"}


@pytest.mark.parametrize(
    ("data", "threshold", "message"),
    [
        (training_data(1, rows=0), 70, "0 scored events are too few"),
        (training_data(1, rows=1), 70, "1 scored events are too few"),
        (training_data(1), 1000, "threshold 1000: no score of the training part reaches it"),
        (training_data(1), 0, "threshold 0: every score of the training part reaches it"),
    ],
)
def test_too_little_to_learn_from_is_told(data: TrainingData, threshold: float, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        train(data, parameters("logistic_regression", threshold=threshold), "s")


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("learning_rate", 0), ("learning_rate", 1.5), ("threshold", math.nan), ("seed", -1)],
)
def test_bad_parameters_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        TrainingParameters.model_validate({field: value})
