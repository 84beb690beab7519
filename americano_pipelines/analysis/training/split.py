"""The two parts of the training data: what comes first in time is learned from, what comes later is predicted.

Here belongs cutting and labelling. A random split would let a learner's later days tell of the earlier ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.analysis.training.data import TrainingData
from americano_pipelines.errors import AnalysisError

TRAINING_SHARE = 0.8


@dataclass(frozen=True)
class Split:
    """Features and labels of both parts.

    Attributes:
        features: names of the features that have a value in the training part.
        left_out: the others, with the reason.
        at_us: the first instant of the validation part, microseconds since 1970 UTC; all before it is training.
        train: features, NaN where undefined; shape (training rows, features).
        train_high: whether the score is high, 1 or 0; shape (training rows,).
        validation: features; shape (validation rows, features).
        validation_high: labels; shape (validation rows,).
    """

    features: list[str]
    left_out: dict[str, str]
    at_us: int
    train: NDArray[np.float64]
    train_high: NDArray[np.int64]
    validation: NDArray[np.float64]
    validation_high: NDArray[np.int64]


def split_by_time(data: TrainingData, threshold: float) -> Split:
    """Cut the rows where four fifths of them are past, instants kept whole, and label them.

    Args:
        data: the rows.
        threshold: the score from which on it is high, in the outcome's unit.

    Raises:
        AnalysisError: a part is empty, or the training part holds nothing but high scores, or none.
    """
    times, count = np.asarray(data.times_us, dtype=np.int64), len(data.times_us)
    at_us = int(times[int(count * TRAINING_SHARE)]) if count else 0
    first = int(np.searchsorted(times, at_us))
    if not first:
        raise AnalysisError(f"{count} scored events are too few to learn from: none is left before the last 20 %")
    values = np.asarray(data.rows, dtype=np.float64).reshape(count, len(data.features))
    high = (np.asarray(data.scores) >= threshold).astype(np.int64)
    if high[:first].min() == high[:first].max():
        scores = np.asarray(data.scores[:first])
        raise AnalysisError(
            f"threshold {threshold:g}: {'every' if high[0] else 'no'} score of the training part reaches it, so there "
            f"is nothing to tell apart; they lie between {scores.min():g} and {scores.max():g}"
        )
    there = np.isfinite(values[:first]).sum(axis=0) > 0
    never = {
        name: "it has no value in the training part"
        for name, kept in zip(data.features, there, strict=True)
        if not kept
    }
    return Split(
        features=[name for name, kept in zip(data.features, there, strict=True) if kept],
        left_out=data.left_out | never,
        at_us=at_us,
        train=values[:first, there],
        train_high=high[:first],
        validation=values[first:, there],
        validation_high=high[first:],
    )
