"""Compute differences of means for many schedules of one case by prefix sums."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
"""A value for each day, NaN where there is none; shape (days,), outcome units."""


@dataclass(frozen=True)
class PrefixSums:
    """Sums and numbers of the values before each day; shape (days + 1,), or (series, days + 1) of several series.

    Of centred values: what is subtracted from all days changes no difference of means, but digits are lost otherwise.
    """

    sums: Values
    numbers: NDArray[np.int64]

    @classmethod
    def of(cls, values: Values) -> "PrefixSums":
        """Prefix sums of the days' values; days without a value are left out."""
        present = ~np.isnan(values)
        centre = values[present].mean() if present.any() else 0.0
        filled = np.where(present, values - centre, 0.0)
        return cls(np.concatenate(([0.0], np.cumsum(filled))), np.concatenate(([0], np.cumsum(present))))

    @classmethod
    def of_series(cls, series: Iterable[Values]) -> "PrefixSums":
        """Prefix sums of several series of the same number of days."""
        prefixes = [cls.of(values) for values in series]
        return cls(np.stack([prefix.sums for prefix in prefixes]), np.stack([prefix.numbers for prefix in prefixes]))

    def means(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Values:
        """Means of the days from `starts` to before `ends`, less the centre; NaN where no day has a value."""
        numbers = self.numbers[..., ends] - self.numbers[..., starts]
        with np.errstate(invalid="ignore", divide="ignore"):
            result: Values = (self.sums[..., ends] - self.sums[..., starts]) / np.where(numbers == 0, np.nan, numbers)
        return result


def tolerance(*cases: Values) -> float:
    """Differences below this are ties: 1e-9 of the largest distance from a case's mean, for sums are rounded.

    And never less than the rounding of the values themselves, 64 units in the last place of the largest: of values that
    are all the same the distances are nothing but that.
    """
    observed = [values[~np.isnan(values)] for values in cases]
    spread = max((float(np.abs(days - days.mean()).max()) for days in observed if days.size), default=0.0)
    largest = max((float(np.abs(days).max()) for days in observed if days.size), default=0.0)
    return max(1e-9 * spread, 64 * float(np.finfo(np.float64).eps) * largest)
