"""Measure trends, autocorrelation and the reversal of an effect, which limit the trust in other numbers.

Take none of them as evidence for an effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from americano_pipelines.statistics.effect_sizes import varies
from americano_pipelines.statistics.overlap_measures import overlap
from americano_pipelines.statistics.phase_windows import Condition
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.randomization_test import Direction

LAGS = (1, 2, 3)
MIN_PAIRS = 3


@dataclass(frozen=True)
class PhaseDependence:
    """Trend and autocorrelation within one phase.

    Attributes:
        label: the phase.
        slope: change a day by least squares, in outcome units; None with fewer than three days.
        nap_trend: NAP of the last half of its days against the first, a middle day left out; None with fewer than two.
        autocorrelation: at lags 1 to 3; None where there are fewer than three pairs of days or no variance.
    """

    label: str
    slope: float | None
    nap_trend: float | None
    autocorrelation: tuple[float | None, ...]


def phase_dependence(label: str, values: Values, improvement: Direction) -> PhaseDependence:
    """Look into one phase.

    Args:
        label: its label.
        values: its days in order, NaN for those without a value; shape (days,).
        improvement: which way is better.
    """
    present = np.flatnonzero(~np.isnan(values))
    observed = values[present]
    slope = float(np.polyfit(present, observed, 1)[0]) if present.size > 2 else None  # noqa: PLR2004 - a line and a rest
    half = observed.size // 2
    halves = overlap(observed[:half], observed[observed.size - half :], improvement) if half else None
    return PhaseDependence(label, slope, halves.nap if halves else None, autocorrelations(values))


def autocorrelations(values: Values) -> tuple[float | None, ...]:
    """Autocorrelation at lags 1 to 3, from the pairs of days that are both there.

    Each lag is scaled by the days of its own pairs: by the variance of all days it could be more than 1.

    Args:
        values: days in order, NaN for those without a value; shape (days,).
    """
    observed = values[~np.isnan(values)]
    if not varies(observed):
        return (None,) * len(LAGS)
    off = values - observed.mean()
    coefficients: list[float | None] = []
    for lag in LAGS:
        both = ~np.isnan(off[lag:]) & ~np.isnan(off[:-lag])
        later, earlier = off[lag:][both], off[:-lag][both]
        scale = float(np.sqrt((later**2).sum() * (earlier**2).sum()))
        coefficients.append(float((later * earlier).sum()) / scale if both.sum() >= MIN_PAIRS and scale > 0 else None)
    return tuple(coefficients)


def residual_autocorrelations(phases: Sequence[Values]) -> tuple[float | None, ...]:
    """Autocorrelation of what is left of all days when each phase's mean is taken off; by phase, never across a switch.

    Args:
        phases: the days of each phase in order, NaN for those without a value.
    """
    apart = np.full(max(LAGS), np.nan)
    parts: list[Values] = []
    for values in phases:
        observed = values[~np.isnan(values)]
        if observed.size:
            # What varies by rounding only is level: its residuals are 0.
            parts += [values - (observed.mean() if varies(observed) else values), apart]
    return autocorrelations(np.concatenate(parts)) if parts else (None,) * len(LAGS)


def reversal(conditions: Sequence[Condition], phases: Sequence[Values], improvement: Direction) -> float | None:
    """NAP of the second baseline against the first: far from .5, the outcome did not go back when the treatment ended.

    Args:
        conditions: of the phases, in order.
        phases: their days, NaN for those without a value.
        improvement: which way is better.
    """
    baselines = [values[~np.isnan(values)] for c, values in zip(conditions, phases, strict=True) if c == "baseline"]
    if len(baselines) < 2:  # noqa: PLR2004 - a first and a second
        return None
    baseline_overlap = overlap(baselines[0], baselines[1], improvement)
    return baseline_overlap.nap if baseline_overlap else None
