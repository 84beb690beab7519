"""Look for a trend within phases, where neither treatment nor switch can make one."""

# A line with one slope for all phases and a level for each. Dependent days make its error too small, so that error is
# multiplied by sqrt((1 + r) / (1 - r)), r being the autocorrelation of the residuals at lag 1, corrected for the bias
# that removing a level from phases of n days brings: r = (n r0 + 1) / (n - 3), from Kendall (1954).
#
# An effect that grows within the treatment phases makes such a slope too. So a trend is seen only where the baseline
# phases alone show it, and the treatment phases have the same sign. At most 1 of 100 series without a trend and 4 of
# 100 with an effect that grows have one then, at AR(1) 0 to .5 and for 40 and 56 days.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.effect_sizes import varies
from americano_pipelines.statistics.prefix_sums import Values

TREND_LEVEL = 0.01
BASELINE_LEVEL = 0.05
_MAX_AUTOCORRELATION = 0.95
# Fewer days a phase leave nothing to correct the autocorrelation with.
_MIN_DAYS = 4


@dataclass(frozen=True)
class Line:
    """The common slope of some phases.

    Attributes:
        slope: change a day, in outcome units.
        se: its standard error, widened for autocorrelation.
        autocorrelation: of the residuals at lag 1, corrected for its bias, 0 to .95.
        p: of a slope of 0, by t; 0 of days that lie on the line.
    """

    slope: float
    se: float
    autocorrelation: float
    p: float


@dataclass(frozen=True)
class Trend(Line):
    """The common slope of all phases, beside those of each condition.

    Attributes:
        baseline: of the baseline phases alone; None where they have too few days, or all of a phase are alike.
        treatment: of the treatment phases alone, likewise.
        visible: whether p is at most `TREND_LEVEL`, the baseline's at most `BASELINE_LEVEL`, and all slopes have one
            sign.
    """

    baseline: Line | None
    treatment: Line | None
    visible: bool


def within_phase_trend(values: Values, phase: NDArray[np.int64], treated: NDArray[np.bool_]) -> Trend | None:
    """The trend of a series of phases; None when there are too few days, or all of a phase are alike.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        phase: index of each day's phase, -1 for none; shape (days,).
        treated: whether each phase is treatment; shape (phases,).
    """
    line = _line(values, phase)
    if line is None:
        return None
    on_treatment = (phase >= 0) & treated[phase]
    baseline, treatment = (_line(np.where(side, values, np.nan), phase) for side in (~on_treatment, on_treatment))
    visible = (
        line.p <= TREND_LEVEL
        and baseline is not None
        and baseline.p <= BASELINE_LEVEL
        and treatment is not None
        and np.sign(line.slope) == np.sign(baseline.slope) == np.sign(treatment.slope)
    )
    return Trend(line.slope, line.se, line.autocorrelation, line.p, baseline, treatment, bool(visible))


def _line(values: Values, phase: NDArray[np.int64]) -> Line | None:
    from scipy.stats import t as student

    used = ~np.isnan(values) & (phase >= 0)
    day, outcome, group = np.flatnonzero(used).astype(np.float64), values[used], phase[used]
    number, phases = outcome.size, np.unique(group).size
    if not number or number / phases < _MIN_DAYS or not varies(outcome):
        return None
    for index in np.unique(group):
        inside = group == index
        day[inside] -= day[inside].mean()
        outcome[inside] -= outcome[inside].mean()
    spread, degrees = float((day**2).sum()), number - phases - 1
    slope = float((day * outcome).sum()) / spread
    residuals = outcome - slope * day
    if degrees < 1:
        return None
    if not varies(residuals) or np.abs(residuals).max() <= 1e-10 * np.nanmax(np.abs(values)):
        return Line(slope, 0.0, 0.0, 0.0) if np.abs(outcome).max() > 1e-10 * np.nanmax(np.abs(values)) else None
    neighbours = (np.diff(np.flatnonzero(used)) == 1) & (np.diff(group) == 0)
    later, earlier = residuals[1:][neighbours], residuals[:-1][neighbours]
    scale = float(np.sqrt((later**2).sum() * (earlier**2).sum()))
    raw, length = (float((later * earlier).sum()) / scale if scale else 0.0), number / phases
    correlation = min(_MAX_AUTOCORRELATION, max(0.0, (length * raw + 1) / (length - 3)))
    se = float(np.sqrt((residuals**2).sum() / degrees / spread * (1 + correlation) / (1 - correlation)))
    p = float(2 * student.sf(abs(slope) / se, degrees))
    return Line(slope, se, correlation, p)
