"""Describe days that alternate by differences of neighbours, which a trend over the whole does not blur."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.prefix_sums import Values


@dataclass(frozen=True)
class NeighbourDifferences:
    """Differences of neighbouring days, in outcome units; None where there are no such days.

    Attributes:
        aliv: mean difference of actual and linearly interpolated values, over the days on which one condition has a
            value and the other one values before and after.
        aliv_days: number of these days.
    """

    aliv: float | None
    aliv_days: int


def neighbour_differences(values: Values, treated: NDArray[np.float64]) -> NeighbourDifferences:
    """Compare the days of a condition with their neighbours of the other one.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        treated: 1 on treatment days, 0 on baseline days, NaN on others; shape (days,).
    """
    days = np.flatnonzero(~np.isnan(values) & ~np.isnan(treated))
    outcome, side = values[days], treated[days] == 1
    if not side.any() or side.all():
        return NeighbourDifferences(None, 0)
    differences = _interpolated(days, outcome, side)
    return NeighbourDifferences(float(differences.mean()) if differences.size else None, int(differences.size))


def _interpolated(days: NDArray[np.int64], outcome: Values, side: NDArray[np.bool_]) -> Values:
    """Treatment less baseline on each day on which one is measured and the other lies between two measured days."""
    levels = [np.interp(days, days[own], outcome[own], left=np.nan, right=np.nan) for own in (side, ~side)]
    differences: Values = levels[0] - levels[1]
    return differences[~np.isnan(differences)]
