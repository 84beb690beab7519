"""Fitting the training demo's classifiers, an epoch at a time.

Here belongs what scikit-learn is asked to do. What is said of the result is `model.py`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.analysis.training.parameters import TrainingParameters
from americano_pipelines.analysis.training.split import Split
from americano_pipelines.errors import AnalysisError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_LEAVES = 15  # of a tree


@dataclass(frozen=True)
class Fitted:
    """A model and what it gave in each epoch.

    Attributes:
        pipeline: takes raw features under their names and gives 1 for high, else 0.
        train: probability of a high score after each epoch; shape (epochs, training rows).
        validation: likewise; shape (epochs, validation rows).
    """

    pipeline: "Pipeline"
    train: list[NDArray[np.float64]]
    validation: list[NDArray[np.float64]]


def fit(parts: Split, asked: TrainingParameters) -> Fitted:
    """Fit on the training part; means for what is undefined, and the scale, are the training part's too.

    Raises:
        AnalysisError: the learning rate is so high that the weights leave all bounds.
    """
    import pandas as pd
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    prepare = Pipeline([("impute", SimpleImputer(strategy="mean")), ("scale", StandardScaler())])
    train = prepare.fit_transform(pd.DataFrame(parts.train, columns=parts.features))
    validation = prepare.transform(pd.DataFrame(parts.validation, columns=parts.features))
    epochs = _descent if asked.model_type == "logistic_regression" else _boosting
    classifier, gave = epochs(train, parts.train_high, validation, asked)
    pipeline = Pipeline([*prepare.steps, ("classify", classifier)])
    return Fitted(pipeline, [one for one, _ in gave], [one for _, one in gave])


_Epochs = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Probabilities for the training and the validation part after each epoch."""


def _descent(
    train: NDArray[np.float64], high: NDArray[np.int64], validation: NDArray[np.float64], asked: TrainingParameters
) -> tuple[Any, _Epochs]:
    """Logistic regression by stochastic gradient descent at a constant rate."""
    from sklearn.linear_model import SGDClassifier

    classifier = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=asked.rate, shuffle=False)
    # The order is drawn here: the classifier's own seed would give every epoch the same.
    rng = np.random.default_rng(asked.seed)
    gave: _Epochs = []
    for _ in range(asked.epochs):
        order = rng.permutation(len(high))
        try:
            classifier.partial_fit(train[order], high[order], classes=[0, 1])
        except ValueError as error:  # scikit-learn's word for an overflow
            raise AnalysisError(f"learning_rate {asked.rate:g} is too high for this data: {error}") from error
        gave.append((classifier.predict_proba(train)[:, 1], classifier.predict_proba(validation)[:, 1]))
    return classifier, gave


def _boosting(
    train: NDArray[np.float64], high: NDArray[np.int64], validation: NDArray[np.float64], asked: TrainingParameters
) -> tuple[Any, _Epochs]:
    """Gradient boosting, one tree an epoch."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    classifier = HistGradientBoostingClassifier(
        learning_rate=asked.rate,
        max_iter=asked.epochs,
        max_leaf_nodes=_LEAVES,
        early_stopping=False,
        random_state=asked.seed,
    ).fit(train, high)
    staged = zip(classifier.staged_predict_proba(train), classifier.staged_predict_proba(validation), strict=True)
    return classifier, [(of_train[:, 1], of_validation[:, 1]) for of_train, of_validation in staged]
