"""Train the demo's model and evaluate it per epoch, at the end, and against the base rate."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from americano_pipelines.analysis.parameters import TRAINING_VERSION, TrainingParameters
from americano_pipelines.analysis.registry import TRAINING
from americano_pipelines.analysis.result import Analysis, Pictures, TrainedModel
from americano_pipelines.analysis.training.data import Split, TrainingData, split_by_time
from americano_pipelines.analysis.training.learning_curve import curve_csv, draw_curve
from americano_pipelines.errors import AnalysisError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


MODEL_NAME = "americano_high_performance"
_LEAVES = 15  # of a tree


@dataclass(frozen=True)
class Fitted:
    """A model and its predictions after each epoch.

    Attributes:
        pipeline: takes raw features under their names and gives 1 for high, else 0.
        train: probability of a high score after each epoch; shape (epochs, training rows).
        validation: the same for the validation part; shape (epochs, validation rows).
    """

    pipeline: "Pipeline"
    train: list[NDArray[np.float64]]
    validation: list[NDArray[np.float64]]


def fit(parts: Split, parameters: TrainingParameters) -> Fitted:
    """Fit on the training part, which also gives the scale and the means for undefined values.

    Raises:
        AnalysisError: the learning rate is so high that the weights overflow.
    """
    import pandas as pd
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    prepare = Pipeline([("impute", SimpleImputer(strategy="mean")), ("scale", StandardScaler())])
    train = prepare.fit_transform(pd.DataFrame(parts.train, columns=parts.features))
    validation = prepare.transform(pd.DataFrame(parts.validation, columns=parts.features))
    epochs = _descent if parameters.model_type == "logistic_regression" else _boosting
    classifier, predictions = epochs(train, parts.train_high, validation, parameters)
    pipeline = Pipeline([*prepare.steps, ("classify", classifier)])
    return Fitted(pipeline, [of_train for of_train, _ in predictions], [of_later for _, of_later in predictions])


_Epochs = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Probabilities for the training and the validation part after each epoch."""


def _descent(
    train: NDArray[np.float64], high: NDArray[np.int64], validation: NDArray[np.float64], parameters: TrainingParameters
) -> tuple[Any, _Epochs]:
    """Logistic regression by stochastic gradient descent at a constant rate."""
    from sklearn.linear_model import SGDClassifier

    classifier = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=parameters.rate, shuffle=False)
    # The order is drawn here: the classifier's own seed would give every epoch the same.
    rng = np.random.default_rng(parameters.seed)
    predictions: _Epochs = []
    for _ in range(parameters.epochs):
        order = rng.permutation(len(high))
        try:
            classifier.partial_fit(train[order], high[order], classes=[0, 1])
        except ValueError as error:  # scikit-learn's word for an overflow
            raise AnalysisError(f"learning_rate {parameters.rate:g} is too high for this data: {error}") from error
        predictions.append((classifier.predict_proba(train)[:, 1], classifier.predict_proba(validation)[:, 1]))
    return classifier, predictions


def _boosting(
    train: NDArray[np.float64], high: NDArray[np.int64], validation: NDArray[np.float64], parameters: TrainingParameters
) -> tuple[Any, _Epochs]:
    """Gradient boosting, one tree an epoch."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    classifier = HistGradientBoostingClassifier(
        learning_rate=parameters.rate,
        max_iter=parameters.epochs,
        max_leaf_nodes=_LEAVES,
        early_stopping=False,
        random_state=parameters.seed,
    ).fit(train, high)
    staged = zip(classifier.staged_predict_proba(train), classifier.staged_predict_proba(validation), strict=True)
    return classifier, [(of_train[:, 1], of_validation[:, 1]) for of_train, of_validation in staged]


CURVE_CSV, CURVE_PNG, METADATA = "learning_curve.csv", "learning_curve.png", "metadata.json"
_SMALLEST = 1e-15  # a probability of 0 or 1 would make a single row's loss infinite


def train(data: TrainingData, parameters: TrainingParameters, snapshot_id: str) -> Analysis:
    """Train on the first four fifths of the rows by time, and validate on the rest.

    The series begin with the baseline as epoch 0: it predicts the training part's share of high scores for every row.

    Args:
        data: the rows.
        parameters: the parameters.
        snapshot_id: the snapshot that the rows are from, for the results.

    Raises:
        AnalysisError: there is too little to learn from, or the learning rate is too high.
    """
    import pandas as pd

    parts = split_by_time(data, parameters.threshold)
    fitted = fit(parts, parameters)
    share = float(parts.train_high.mean())
    series: dict[str, list[float]] = {}
    for name, high, predictions in (
        ("train", parts.train_high, fitted.train),
        ("validation", parts.validation_high, fitted.validation),
    ):
        epochs = [np.full(len(high), share), *predictions]
        series[f"{name}_loss"] = [log_loss(high, epoch) for epoch in epochs]
        series[f"{name}_accuracy"] = [accuracy(high, epoch) for epoch in epochs]
    numbers = {
        **{f"final_{name}": values[-1] for name, values in series.items()},
        "baseline_loss": series["validation_loss"][0],
        "baseline_accuracy": series["validation_accuracy"][0],
        "train_rows": float(len(parts.train_high)),
        "validation_rows": float(len(parts.validation_high)),
        "train_high_share": share,
        "validation_high_share": float(parts.validation_high.mean()),
    }
    counts = {"scored events before the latest that were read": data.available - len(data.scores)}
    results = _results(data, parameters, snapshot_id, parts, numbers, counts)
    picture = partial(
        draw_curve,
        series,
        baselines={"loss": numbers["baseline_loss"], "accuracy": numbers["baseline_accuracy"]},
        title=f"{parameters.model_type.replace('_', ' ')}, {data.outcome} of {parameters.threshold:g} and more",
    )
    example = pd.DataFrame(np.nanquantile(parts.train, (0.25, 0.5, 0.75), axis=0), columns=parts.features)
    descent = parameters.model_type == "logistic_regression"
    return Analysis(
        name=TRAINING,
        version=TRAINING_VERSION,
        sentence=_sentence(parts, numbers),
        results=results,
        pictures=Pictures({CURVE_PNG: picture}),
        methods="",
        verdict=None,
        numbers=numbers,
        counts=counts,
        files={
            CURVE_CSV: curve_csv(series),
            METADATA: json.dumps(results, indent=2, sort_keys=True).encode(),
        },
        series=series,
        seed=parameters.seed if descent else None,  # boosting would draw only beyond 200,000 rows
        generator="numpy default_rng (PCG64)" if descent else "scikit-learn (MT19937)",
        model=TrainedModel(MODEL_NAME, fitted.pipeline, example),
    )


def log_loss(high: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Mean of -ln of the probability that each row's own class was given, in nats.

    Args:
        high: labels, 1 or 0; shape (rows,).
        probability: of a 1; shape (rows,).
    """
    own = np.where(high == 1, probability, 1 - probability)
    return float(-np.log(np.clip(own, _SMALLEST, None)).mean())


def accuracy(high: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Share of rows whose class has the greater probability; see `log_loss` for the arguments."""
    return float(((probability > 0.5) == (high == 1)).mean())  # noqa: PLR2004 - of two classes


def _sentence(parts: Split, numbers: dict[str, float]) -> str:
    reached, base = numbers["final_validation_accuracy"], numbers["baseline_accuracy"]
    judged = "better than" if reached > base else "no better than"
    return (
        f"On the last 20 % of the rows by time (from {_day(parts.at_us)} on) accuracy is {reached:.3f} against "
        f"{base:.3f} for always saying the commoner class of the first 80 %: {judged} knowing nothing. Log loss is "
        f"{numbers['final_validation_loss']:.3f} against {numbers['baseline_loss']:.3f}."
    )


def _results(
    data: TrainingData,
    parameters: TrainingParameters,
    snapshot_id: str,
    parts: Split,
    numbers: dict[str, float],
    counts: dict[str, int],
) -> dict[str, JsonValue]:
    return {
        "snapshot": snapshot_id,
        "data sha256": data.sha256,
        "outcome": data.outcome,
        "high from": parameters.threshold,
        "parameters": parameters.recorded(),
        "features": list(parts.features),
        "features left out": dict(parts.left_out),
        "rows": {"available": data.available, "read": len(data.scores), **counts},
        "split": {
            "first time": _time(data.times_us[0]),
            "validation from": _time(parts.at_us),
            "last time": _time(data.times_us[-1]),
        },
        "numbers": dict(numbers),
        "versions": {name: version(name) for name in ("scikit-learn", "numpy")},
    }


def _time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()


def _day(at_us: int) -> str:
    return _time(at_us)[:10]
