"""Estimate the effect of a multiple baseline in standard deviations between learners, comparable to trials of groups.

The estimate is that of Hedges, Pustejovsky and Shadish (2013), by moments, as `effect_size_MB` of the R package scdhlm.
"""

# The model: each case has its own level, normal between cases; days depend on each other by AR(1) within a case; there
# is no trend, and the effect is the same for all. The variance is that of the cases' days at the same time under the
# same condition, so it holds the spread within cases and that between them. All matrices of the model are blocks of
# cases and means of groups, so nothing of the size of all days squared is built.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.prefix_sums import Values

MIN_CASES = 3
# Below, the variance of t is infinite; scdhlm stops there too.
_MIN_FREEDOM = 2.001


@dataclass(frozen=True)
class BetweenCaseEffect:
    """An effect in standard deviations of days of different cases at one time under one condition.

    Attributes:
        value: the effect, corrected for small samples.
        se: its standard error.
        interval: its 95 % interval, by t with `freedom` degrees.
        freedom: degrees of freedom of the variance.
        uncorrected: the effect before the correction.
        autocorrelation: of the days of a case at lag 1.
        intraclass: share of the variance that lies between the cases.
        days: number of days with a value.
        groups: number of times with a value, those of the two conditions counted apart.
    """

    value: float
    se: float
    interval: tuple[float, float]
    freedom: float
    uncorrected: float
    autocorrelation: float
    intraclass: float
    days: int
    groups: int


@dataclass(frozen=True)
class _CaseDays:
    """The days of a case that have a value.

    Attributes:
        values: the outcomes; shape (days,).
        times: the number of each day since the case began; same shape.
        treated: whether each is a treatment day; same shape.
    """

    values: Values
    times: NDArray[np.int64]
    treated: NDArray[np.bool_]

    @property
    def phases(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The days of baseline and of treatment, as masks."""
        return ~self.treated, self.treated

    @property
    def residuals(self) -> Values:
        """The outcomes less the mean of their phase."""
        left = self.values.copy()
        for phase in self.phases:
            left[phase] -= left[phase].mean()
        return left

    @property
    def weights(self) -> Values:
        """By which the outcomes make the difference of the case; shape (days,)."""
        parts: Values = np.where(self.treated, 1 / self.treated.sum(), -1 / (~self.treated).sum())
        return parts

    def correlations(self, intraclass: float, autocorrelation: float) -> NDArray[np.float64]:
        """Of the days with each other; shape (days, days)."""
        apart = np.abs(self.times[:, None] - self.times)
        correlations: Values = intraclass + (1 - intraclass) * np.power(autocorrelation, apart)
        return correlations


def between_case_effect(values: Sequence[Values], treated: Sequence[NDArray[np.bool_]]) -> BetweenCaseEffect:
    """Estimate the effect.

    Args:
        values: the outcome of each day of each case since its baseline began, NaN where there is none or the day
            belongs to no phase; for each case a shape (days,).
        treated: whether each day is a treatment day; same shapes.

    Raises:
        AnalysisError: it is not defined of these days, and why.
    """
    from scipy.stats import t as student

    cases = [_present(days, on) for days, on in zip(values, treated, strict=True)]
    number, total = len(cases), sum(case.values.size for case in cases)
    if number < MIN_CASES:
        raise AnalysisError(f"it takes {MIN_CASES} cases, and there are {number}")
    if any(not phase.any() for case in cases for phase in case.phases) or total <= 2 * number:
        raise AnalysisError("a phase has no day with a value, or none has two")
    outcome = np.concatenate([case.values for case in cases])
    group, sizes = _groups(cases)
    left = outcome - (np.bincount(group, outcome) / sizes)[group]
    if np.abs(left).max() <= 1e-10 * np.abs(outcome).max():
        raise AnalysisError("days of different cases at one time under one condition do not differ, or there are none")
    variance = float(left @ left) / (total - sizes.size)
    autocorrelation, within = _within_cases(cases)
    intraclass = max(0.0, 1 - within / variance)
    correlations = [case.correlations(intraclass, autocorrelation) for case in cases]
    parts = [case.weights @ matrix @ case.weights for case, matrix in zip(cases, correlations, strict=True)]
    freedom = (total - sizes.size) ** 2 / _squared_trace(correlations, group, sizes)
    uncorrected = float(np.mean([case.weights @ case.values for case in cases])) / variance**0.5
    value, se = _corrected(uncorrected, float(np.sqrt(sum(parts))) / number, freedom)
    reach = float(student.ppf(0.975, freedom)) * se
    return BetweenCaseEffect(
        value, se, (value - reach, value + reach), freedom, uncorrected, autocorrelation, intraclass, total,
        int(sizes.size),
    )  # fmt: skip


def _present(values: Values, treated: NDArray[np.bool_]) -> _CaseDays:
    times = np.flatnonzero(~np.isnan(values))
    return _CaseDays(values[times], times, treated[times])


def _groups(cases: Sequence[_CaseDays]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The group of each day, a time under a condition, and the days of each group."""
    keys = np.concatenate([2 * case.times + case.treated for case in cases])
    _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    return group, sizes


def _within_cases(cases: Sequence[_CaseDays]) -> tuple[float, float]:
    """The autocorrelation and the variance within cases, each corrected for the means that were taken off."""
    residuals = [case.residuals for case in cases]
    total = sum(left.size for left in residuals)
    squares = float(sum(left @ left for left in residuals))
    lengths = [int(phase.sum()) for case in cases for phase in case.phases]
    correction = sum((days - 1) / days for days in lengths) / (total - 2 * len(cases))
    neighbours = float(sum(left[1:] @ left[:-1] for left in residuals))
    autocorrelation = (neighbours / squares if squares else 0.0) + correction
    if abs(autocorrelation) >= 1:
        raise AnalysisError(f"the autocorrelation within cases is estimated as {autocorrelation:.2f}, not below 1")
    taken = 0.0
    for case in cases:
        matrix = case.correlations(0, autocorrelation)
        taken += sum(float(matrix[np.ix_(phase, phase)].sum()) / int(phase.sum()) for phase in case.phases)
    return autocorrelation, squares / (total - taken)


def _squared_trace(
    correlations: Sequence[NDArray[np.float64]], group: NDArray[np.int64], sizes: NDArray[np.int64]
) -> float:
    """The trace of (A V)^2, V the correlations of all days and A what takes the means of groups off."""
    between = np.zeros((sizes.size, sizes.size))
    squares, first = 0.0, 0
    for matrix in correlations:
        own = group[first : first + len(matrix)]
        between[np.ix_(own, own)] += matrix
        # A group has one day of a case, so of V V only the diagonal meets the means.
        squares += float(((matrix**2).sum(axis=1) * (1 - 2 / sizes[own])).sum())
        first += len(matrix)
    return squares + float((between**2 / np.outer(sizes, sizes)).sum())


def _corrected(uncorrected: float, error: float, freedom: float) -> tuple[float, float]:
    """An effect corrected for small samples, with its standard error; `error` is the latter for a known variance."""
    factor = 1 - 3 / (4 * freedom - 1)
    value = factor * uncorrected
    widened = max(freedom, _MIN_FREEDOM)
    ratio = widened / (widened - 2)
    return value, factor * float(np.sqrt(error**2 * ratio + value**2 * (ratio - 1 / factor**2)))
