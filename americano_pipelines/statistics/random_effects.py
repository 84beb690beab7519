"""Estimate the mean of effects that differ between experiments, and how much they differ.

The spread between experiments is estimated by Paule and Mandel (1982), the error of the mean by Hartung and Knapp
(2001), and where the effect of a new experiment may lie by Higgins, Thompson and Spiegelhalter (2009).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MIN_EFFECTS, _MIN_EFFECTS_TO_PREDICT = 2, 3


@dataclass(frozen=True)
class RandomEffects:
    """The mean effect of several experiments.

    Attributes:
        mean: of the effects.
        se: its standard error; never below that without a correction for the spread.
        interval: of the mean, by Student's t with k - 1 degrees of freedom.
        tau: standard deviation of the true effects between experiments.
        i2: share of the spread that is more than the errors of the effects explain.
        q: Cochran's Q.
        prediction: where the true effect of a new experiment lies, by t with k - 2 degrees; None with 2 experiments.
        weights: share of each experiment in the mean; shape (experiments,).
        confidence: of both intervals.
    """

    mean: float
    se: float
    interval: tuple[float, float]
    tau: float
    i2: float
    q: float
    prediction: tuple[float, float] | None
    weights: tuple[float, ...]
    confidence: float


def random_effects(effects: Sequence[float], errors: Sequence[float], confidence: float = 0.95) -> RandomEffects | None:
    """Estimate the mean effect.

    Args:
        effects: of the experiments; shape (experiments,).
        errors: their standard errors, above 0; same shape.
        confidence: of the intervals.

    Returns:
        None with fewer than two experiments.
    """
    from scipy.stats import t
    from statsmodels.stats.meta_analysis import combine_effects

    number = len(effects)
    if number < _MIN_EFFECTS:
        return None
    values, variances = np.array(effects, dtype=np.float64), np.array(errors, dtype=np.float64) ** 2
    combined = combine_effects(values, variances, method_re="iterated")
    tau2 = max(0.0, float(combined.tau2))
    precisions = 1 / (variances + tau2)
    weights = precisions / precisions.sum()
    mean, plain_se = float(weights @ values), float(np.sqrt(1 / precisions.sum()))
    # The mean square of the standardized residuals; below 1 it would make the error too small.
    scale = float(precisions @ (values - mean) ** 2) / (number - 1)
    se = plain_se * float(np.sqrt(max(1.0, scale)))
    half_width = float(t.ppf((1 + confidence) / 2, number - 1)) * se
    prediction = None
    if number >= _MIN_EFFECTS_TO_PREDICT:
        prediction_half_width = float(t.ppf((1 + confidence) / 2, number - 2)) * float(np.sqrt(tau2 + plain_se**2))
        prediction = mean - prediction_half_width, mean + prediction_half_width
    q = float(combined.q)
    return RandomEffects(
        mean=mean,
        se=se,
        interval=(mean - half_width, mean + half_width),
        tau=float(np.sqrt(tau2)),
        i2=max(0.0, 1 - (number - 1) / q) if q > 0 else 0.0,
        q=q,
        prediction=prediction,
        weights=tuple(weights.tolist()),
        confidence=confidence,
    )
