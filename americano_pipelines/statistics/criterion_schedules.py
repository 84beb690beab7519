"""List the schedules of a changing criterion whose switches were drawn, and measure how near the days lie to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.phase_schedules import Lengths, PhaseSchedule
from americano_pipelines.statistics.prefix_sums import Values


@dataclass(frozen=True)
class CriterionSchedule(PhaseSchedule):
    """Every split of a number of days into phases, most of which have a criterion for the outcome.

    Attributes:
        criteria: the criterion of each phase, in outcome units; None for a phase without one, such as a baseline.
    """

    criteria: tuple[float | None, ...] = ()

    def distances(self, values: Values, lengths: Lengths) -> Values:
        """Mean distance of the days from the criterion in force, NaN without any such day; shape (assignments,)."""
        starts, ends = self.edges(lengths)
        total, number = np.zeros(len(lengths)), np.zeros(len(lengths), dtype=np.int64)
        present = np.concatenate(([0], np.cumsum(~np.isnan(values))))
        for phase, criterion in enumerate(self.criteria):
            if criterion is not None:
                sums = np.concatenate(([0.0], np.cumsum(np.nan_to_num(np.abs(values - criterion)))))
                total += sums[ends[:, phase]] - sums[starts[:, phase]]
                number += present[ends[:, phase]] - present[starts[:, phase]]
        result: NDArray[np.float64] = total / np.where(number == 0, np.nan, number)
        return result

    def _check_conditions(self) -> None:
        criteria = [criterion for criterion in self.criteria if criterion is not None]
        if len(self.criteria) != len(self.treated) or len(set(criteria)) < 2:  # noqa: PLR2004 - else nothing changes
            raise AnalysisError("a changing criterion needs at least two criteria that differ")
