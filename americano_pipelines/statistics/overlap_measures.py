"""Compute the overlap of a baseline and a treatment phase: NAP, Tau, PND, PEM, PAND, IRD.

Sources: Parker and Vannest (2009) for NAP; Newcombe (2006), method 5, for its interval; Pustejovsky's SingleCaseES for
its error; Parker, Vannest, Davis and Sauber (2011) for Tau-U; Tarlow (2017) for baseline corrected Tau; Scruggs,
Mastropieri and Casto (1987) for PND; Ma (2006) for PEM; Parker, Vannest and Davis (2011) for PAND; Parker, Vannest and
Brown (2009) for the robust IRD.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.randomization_test import Direction

# How far the search for one limit keeps from the other one.
_ROOT_MARGIN = 1e-12
_TREND_LEVEL = 0.05


@dataclass(frozen=True)
class Overlap:
    """Overlap of two phases; None where it is undefined.

    Attributes:
        nap: share of baseline-treatment pairs in which treatment is better, ties half; 0 to 1.
        nap_se: its standard error, unbiased; needs two days in each phase.
        nap_interval: its 95 % interval.
        tau: 2 NAP - 1.
        tau_u: Tau-U as Parker defines it: Tau less the trend within the baseline; it has no standard error.
        pnd: share of treatment days beyond the best baseline day; it depends on how long the baseline was.
        pem: share of treatment days beyond the baseline's median, ties half.
        pand: share of days that are left when the fewest are removed so that each treatment day is better than each
            baseline day.
        ird: difference of the improvement rates that this removal leaves, the removed days divided between the phases.
    """

    nap: float
    nap_se: float | None
    nap_interval: tuple[float, float] | None
    tau: float
    tau_u: float
    pnd: float
    pem: float
    pand: float
    ird: float


@dataclass(frozen=True)
class DatedValues:
    """The values of a phase, none missing, with their days.

    Attributes:
        values: shape (days,).
        days: number of each day in the experiment; same shape.
    """

    values: Values
    days: NDArray[np.int64]


def overlap(baseline: Values, treatment: Values, improvement: Direction) -> Overlap | None:
    """Overlap of a treatment phase with a baseline phase; None when one of them has no day.

    Args:
        baseline: its days in order.
        treatment: its days.
        improvement: which way is better.
    """
    if not baseline.size or not treatment.size:
        return None
    sign = 1.0 if improvement == "increase" else -1.0
    before, after = sign * baseline, sign * treatment
    wins = np.where(after > before[:, None], 1.0, np.where(after == before[:, None], 0.5, 0.0))
    nap = float(wins.mean())
    pairs = before.size * after.size
    later = np.sign(before[None, :] - before[:, None])[np.triu_indices(before.size, 1)]
    pand = 1 - _fewest_removed(before, after) / (before.size + after.size)
    return Overlap(
        nap=nap,
        nap_se=_unbiased_error(wins, nap),
        nap_interval=_newcombe(nap, before.size, after.size),
        tau=2 * nap - 1,
        tau_u=float((pairs * (2 * nap - 1) - later.sum()) / pairs),
        pnd=float((after > before.max()).mean()),
        pem=float(np.where(after > np.median(before), 1.0, np.where(after == np.median(before), 0.5, 0.0)).mean()),
        pand=pand,
        ird=((before.size + after.size) ** 2 * pand - before.size**2 - after.size**2) / (2 * pairs),
    )


@dataclass(frozen=True)
class CorrectedTau:
    """Baseline corrected Tau.

    Attributes:
        value: Kendall's tau-b of condition and outcome, positive is better; 0 where all outcomes are the same.
        trend_removed: whether Kendall's test found a trend of the baseline (p < .05), which was taken off all days.
        se: its standard error as Tarlow gives it, which takes the days for independent.
        p: of Kendall's test of the outcome against the condition; None where all outcomes are the same.
        always_removed: Tau of the days less the baseline's trend, however small it is; None for one baseline day.
    """

    value: float
    trend_removed: bool
    se: float
    p: float | None
    always_removed: float | None


def baseline_corrected_tau(
    baseline: DatedValues, treatment: DatedValues, improvement: Direction
) -> CorrectedTau | None:
    """Baseline corrected Tau; None when one of the phases has no day.

    The trend is Theil and Sen's line, the median of the slopes of all pairs of baseline days.

    Args:
        baseline: its days.
        treatment: its days, before or after the baseline.
        improvement: which way is better.
    """
    from scipy.stats import kendalltau

    if not baseline.values.size or not treatment.values.size:
        return None
    days, before = baseline.days.astype(np.float64), baseline.values
    outcome = np.concatenate((before, treatment.values))
    condition = np.repeat((0.0, 1.0), (before.size, treatment.values.size))
    removed = bool(before.size > 1 and kendalltau(days, before).pvalue < _TREND_LEVEL)
    sign, always = 1.0 if improvement == "increase" else -1.0, None
    if before.size > 1:
        first, second = np.triu_indices(before.size, 1)
        slope = float(np.median((before[second] - before[first]) / (days[second] - days[first])))
        trend = slope * np.concatenate((days, treatment.days))
        # Of days on a line only rounding is left, which is no order.
        level: Values = np.round(outcome - trend, _decimals(outcome)).astype(np.float64)
        wins = np.sign(level[before.size :] - level[: before.size, None])
        always = sign * float(wins.mean())
        outcome = level if removed else outcome
    test = kendalltau(condition, outcome)
    tau = 0.0 if np.isnan(test.statistic) else float(test.statistic)
    return CorrectedTau(
        value=sign * tau,
        trend_removed=removed,
        se=float(np.sqrt(2 * (1 - tau**2) / outcome.size)),
        p=None if np.isnan(test.pvalue) else float(test.pvalue),
        always_removed=always,
    )


def _decimals(values: Values) -> int:
    """Decimals that keep twelve digits of the largest value."""
    largest = float(np.abs(values).max())
    return 12 - int(np.floor(np.log10(largest))) if largest > 0 else 0


def _fewest_removed(before: Values, after: Values) -> int:
    """How few days have to go so that every baseline day left is below every treatment day left."""
    levels = np.concatenate(([-np.inf], np.unique(before)))
    above = (before[None, :] > levels[:, None]).sum(axis=1)
    below = (after[None, :] <= levels[:, None]).sum(axis=1)
    return int((above + below).min())


def _unbiased_error(wins: NDArray[np.float64], nap: float) -> float | None:
    """The unbiased standard error of NAP; half a pair keeps the product off 0, else the error would be 0."""
    m, n = wins.shape
    if m < 2 or n < 2:  # noqa: PLR2004 - a variance
        return None
    off = wins - nap
    q1 = float((off.sum(axis=1) ** 2).sum() / (m * n**2))
    q2 = float((off.sum(axis=0) ** 2).sum() / (m**2 * n))
    q3 = float((off**2).mean())
    clipped = min(max(nap, 1 / (2 * m * n)), 1 - 1 / (2 * m * n))
    return float(np.sqrt((clipped * (1 - clipped) + n * q1 + m * q2 - 2 * q3) / ((m - 1) * (n - 1))))


def _newcombe(nap: float, m: int, n: int) -> tuple[float, float] | None:
    """The roots t of (NAP - t)^2 = z^2 h t (1 - t) / (m n) (1 / h + (1 - t) / (2 - t) + t / (1 + t)).

    There h = (m + n) / 2 - 1. A NAP of 0 or 1 is a root itself; the other limit is the other root, so that an interval
    never shrinks to its estimate.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    h = (m + n) / 2 - 1
    if h <= 0:
        return None
    z = float(norm.ppf(0.975))

    def excess(t: float) -> float:
        spread = z**2 * t * (1 - t) / (m * n) * (1 + h * ((1 - t) / (2 - t) + t / (1 + t)))
        return float((nap - t) ** 2 - spread)

    low = 0.0 if nap <= 0 else float(brentq(excess, 0.0, min(nap, 1 - _ROOT_MARGIN)))
    high = 1.0 if nap >= 1 else float(brentq(excess, max(nap, _ROOT_MARGIN), 1.0))
    return low, high
