"""Compute effect sizes of neighbouring phases: differences, standardised differences, response ratio, overlap.

Return None for an undefined value.

Formulas: Parker and Vannest (2009) for NAP; Newcombe (2006), method 5, for its interval; Parker, Vannest, Davis and
Sauber (2011) for Tau-U; Scruggs, Mastropieri and Casto (1987) for PND; Pustejovsky's SingleCaseES for the error.

Formulas: Pustejovsky (2018) and SingleCaseES for the response ratio and the small-sample corrections.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.phase_windows import Condition
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.randomization_test import Direction


def varies(values: Values) -> bool:
    """Whether the values differ by more than rounding does: the mean of three times .1 is not .1.

    Standardising by the standard deviation of what does not vary would divide rounding by rounding.

    Args:
        values: none missing; shape (days,).
    """
    return bool(values.size) and float(np.ptp(values)) > 1e-12 * float(np.abs(values).max())


"""Values of the days of one phase, none missing; shape (days,)."""

INDEPENDENCE = (
    "errors and intervals take the days for independent; of days that depend on each other (AR(1) .5) a 95 % interval "
    "of this kind held the true value 76 times of 100"
)

# How far the search for one limit keeps from the other one.
_ROOT_MARGIN = 1e-12


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
    """

    nap: float
    nap_se: float | None
    nap_interval: tuple[float, float] | None
    tau: float
    tau_u: float
    pnd: float


def overlap(baseline: Values, treatment: Values, improvement: Direction) -> Overlap | None:
    """Overlap of a treatment phase with the baseline before it; None when one of them has no day.

    Args:
        baseline: its days.
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
    return Overlap(
        nap=nap,
        nap_se=_unbiased_error(wins, nap),
        nap_interval=_newcombe(nap, before.size, after.size),
        tau=2 * nap - 1,
        tau_u=float((pairs * (2 * nap - 1) - later.sum()) / pairs),
        pnd=float((after > before.max()).mean()),
    )


def _unbiased_error(wins: NDArray[np.float64], nap: float) -> float | None:
    """Of NAP, without bias; the product is kept off 0 by half a pair, else an error of 0 would be claimed."""
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


@dataclass(frozen=True)
class Standardized:
    """A difference of means in standard deviations, corrected for small samples; positive is better.

    Attributes:
        value: the difference.
        se: its standard error, which takes the days for independent. SingleCaseES makes it smaller by the correction of
            `value`; not here: of 5 to 15 simulated normal days a phase, with effects of 0 to 2, its 95 % intervals then
            held the true value as seldom as 86 times of 100, and without 93 to 99 times.
    """

    value: float
    se: float


@dataclass(frozen=True)
class Pair:
    """Two neighbouring phases compared, treatment against baseline whichever came first.

    Attributes:
        first: label of the phase that came first.
        second: label of the other.
        into_treatment: whether it goes from baseline to treatment.
        mean_difference: treatment minus baseline, in outcome units.
        median_difference: likewise.
        overlap: by pairs of days, better in the direction of the improvement.
        smd_baseline: standardised by the baseline's standard deviation.
        smd_pooled: standardised by both.
        log_response_ratio: ln(treatment mean / baseline mean), corrected; only of positive means on a ratio scale.
        log_response_ratio_se: its standard error.
    """

    first: str
    second: str
    into_treatment: bool
    mean_difference: float | None
    median_difference: float | None
    overlap: Overlap | None
    smd_baseline: Standardized | None
    smd_pooled: Standardized | None
    log_response_ratio: float | None
    log_response_ratio_se: float | None


def compare(
    labels: Sequence[str],
    conditions: Sequence[Condition],
    phases: Sequence[Values],
    *,
    improvement: Direction,
    ratio_scale: bool,
) -> list[Pair]:
    """Compare each phase with the next, where one is baseline and the other treatment.

    Args:
        labels: of the phases, in order.
        conditions: what they count as.
        phases: the values of their days, none missing.
        improvement: which way is better.
        ratio_scale: whether the outcome has a true zero, so that ratios mean something.
    """
    pairs = []
    for index in range(len(phases) - 1):
        if conditions[index] == conditions[index + 1]:
            continue
        into = conditions[index + 1] == "treatment"
        baseline, treatment = (phases[index], phases[index + 1]) if into else (phases[index + 1], phases[index])
        lrr = _log_response_ratio(baseline, treatment) if ratio_scale else None
        some = baseline.size and treatment.size
        pairs.append(
            Pair(
                first=labels[index],
                second=labels[index + 1],
                into_treatment=into,
                mean_difference=float(treatment.mean() - baseline.mean()) if some else None,
                median_difference=float(np.median(treatment) - np.median(baseline)) if some else None,
                overlap=overlap(baseline, treatment, improvement),
                smd_baseline=smd_baseline(baseline, treatment, improvement),
                smd_pooled=smd_pooled(baseline, treatment, improvement),
                log_response_ratio=lrr[0] if lrr else None,
                log_response_ratio_se=lrr[1] if lrr else None,
            )
        )
    return pairs


def combined(pairs: Sequence[Pair], name: str) -> float | None:
    """Mean of a value over the pairs that go from baseline to treatment, None when one of them has none.

    Args:
        pairs: the pairs.
        name: an attribute of `Pair`, or of one of its parts as `overlap.nap`.
    """
    values = []
    for pair in pairs:
        if not pair.into_treatment:
            continue
        part_value: object = pair
        for part in name.split("."):
            part_value = getattr(part_value, part) if part_value is not None else None
        values.append(part_value)
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return float(np.mean(numbers)) if numbers and len(numbers) == len(values) else None


def smd_baseline(baseline: Values, treatment: Values, improvement: Direction) -> Standardized | None:
    """J (mean difference / baseline SD), J = 1 - 3 / (4 m - 5)."""
    m, n = baseline.size, treatment.size
    if m < 3 or n < 2 or not varies(baseline):  # noqa: PLR2004 - J is negative below
        return None
    sd = float(baseline.std(ddof=1))
    value = _sign(improvement) * (1 - 3 / (4 * m - 5)) * float(treatment.mean() - baseline.mean()) / sd
    spread = 1 / m + float(treatment.var(ddof=1)) / (n * sd**2)
    return Standardized(value, float(np.sqrt(spread + value**2 / (2 * (m - 1)))))


def smd_pooled(baseline: Values, treatment: Values, improvement: Direction) -> Standardized | None:
    """J (mean difference / pooled SD), J = 1 - 3 / (4 (m + n) - 9)."""
    m, n = baseline.size, treatment.size
    if m < 2 or n < 2 or not (varies(baseline) or varies(treatment)):  # noqa: PLR2004 - a variance in each
        return None
    pooled = float(np.sqrt(((m - 1) * baseline.var(ddof=1) + (n - 1) * treatment.var(ddof=1)) / (m + n - 2)))
    value = _sign(improvement) * (1 - 3 / (4 * (m + n) - 9)) * float(treatment.mean() - baseline.mean()) / pooled
    return Standardized(value, float(np.sqrt(1 / m + 1 / n + value**2 / (2 * (m + n - 2)))))


def _log_response_ratio(baseline: Values, treatment: Values) -> tuple[float, float] | None:
    m, n = baseline.size, treatment.size
    if m < 2 or n < 2 or baseline.min() < 0 or treatment.min() < 0:  # noqa: PLR2004 - a variance in each
        return None
    before, after = float(baseline.mean()), float(treatment.mean())
    if before <= 0 or after <= 0:
        return None
    b, t = float(baseline.var(ddof=1)) / (m * before**2), float(treatment.var(ddof=1)) / (n * after**2)
    return float(np.log(after / before) + t / 2 - b / 2), float(np.sqrt(b + t))


def _sign(improvement: Direction) -> float:
    return 1.0 if improvement == "increase" else -1.0
