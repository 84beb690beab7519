"""Many data sets at once: phase designs, dependent days, p values over all assignments."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines_tests.statistics.examples import ABAB

Series = NDArray[np.float64]
"""Days of data sets, shape (days, sets)."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Design:
    """ABAB of so many days, with the same bounds of all phases."""

    days: int
    shortest: int
    longest: int

    @property
    def schedule(self) -> PhaseSchedule:
        return PhaseSchedule(self.days, ABAB, (self.shortest,) * 4, (self.longest,) * 4)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """All assignments, shape (assignments, 4)."""
        return np.concatenate(list(self.schedule.blocks(10**6)))

    def drawn(self, generator: np.random.Generator, sets: int) -> NDArray[np.int64]:
        """The number of the drawn assignment of each data set."""
        return generator.integers(self.schedule.count, size=sets)

    def treated(self, assignments: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each day is treated, shape (days, sets)."""
        ends = np.cumsum(self.lengths[assignments], axis=1)
        day = np.arange(self.days)[:, None]
        return ((day >= ends[:, 0]) & (day < ends[:, 1])) | (day >= ends[:, 2])

    def contrasts(self, series: Series) -> Series:
        """The statistic of every assignment, NaN where a phase is empty; shape (assignments, sets)."""
        present = ~np.isnan(series)
        zero = np.zeros((1, series.shape[1]))
        sums = np.concatenate((zero, np.cumsum(np.where(present, series, 0), axis=0)))
        numbers = np.concatenate((zero, np.cumsum(present, axis=0)))
        ends = np.cumsum(self.lengths, axis=1)
        starts = ends - self.lengths
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [
                (sums[ends[:, phase]] - sums[starts[:, phase]]) / (numbers[ends[:, phase]] - numbers[starts[:, phase]])
                for phase in range(4)
            ]
        return (means[1] + means[3] - means[0] - means[2]) / 2

    def case(self, series: Series, assignments: NDArray[np.int64], number: int) -> Case:
        """One of the data sets, for the package's own functions."""
        return Case(series[:, number].copy(), self.schedule, self.lengths[assignments[number]].tolist())


@dataclass(frozen=True)
class PValues:
    """The p values of data sets, each of shape (sets,)."""

    observed: Series
    higher: Series
    lower: Series
    absolute: Series

    @property
    def doubled(self) -> Series:
        return np.minimum(1, 2 * np.minimum(self.higher, self.lower))

    @property
    def points_up(self) -> NDArray[np.bool_]:
        return self.higher < self.lower


def p_values(design: Design, series: Series, assignments: NDArray[np.int64]) -> PValues:
    """Test data sets against all assignments; an empty phase counts as extreme, and is no finding if observed."""
    statistics = design.contrasts(series)
    observed = statistics[assignments, np.arange(series.shape[1])]
    empty = np.isnan(statistics)
    shares = [
        (empty | flags).mean(axis=0)
        for flags in (
            statistics >= observed - _ROUNDING,
            statistics <= observed + _ROUNDING,
            np.abs(statistics) >= np.abs(observed) - _ROUNDING,
        )
    ]
    return PValues(observed, *(np.where(np.isnan(observed), 1, share) for share in shares))


def dependent_days(generator: np.random.Generator, days: int, sets: int, autocorrelation: float) -> Series:
    """AR(1) days of variance 1."""
    shocks = generator.normal(size=(days, sets))
    values = np.empty_like(shocks)
    values[0] = shocks[0]
    fresh = np.sqrt(1 - autocorrelation**2)
    for day in range(1, days):
        values[day] = autocorrelation * values[day - 1] + fresh * shocks[day]
    return values


def margin(rate: float, sets: int) -> float:
    """Three and a half standard errors of a rate: one comparison in 2,000 is outside by chance."""
    return float(3.5 * np.sqrt(rate * (1 - rate) / sets))
