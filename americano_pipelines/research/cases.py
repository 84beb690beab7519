"""One learner's days, and how their treatment days were drawn.

Here belongs what a test is given, and what forbids it. The test is `randomization.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from americano_pipelines.errors import AnalysisError
from americano_pipelines.research.alternation import Alternation
from americano_pipelines.research.reference import Schedule
from americano_pipelines.research.statistic import Prefix, Values


@dataclass(frozen=True)
class Case:
    """One learner's days and how their treatment days were drawn.

    Attributes:
        values: the outcome of each day, NaN where there is none; shape (days,). A day without a value keeps its place
            and has none under every assignment. The test is exact if whether a day has a value does not depend on what
            was drawn. A day in which a phase switched therefore has its value here, and the schedule leaves it out: its
            `cut`.
        schedule: what could have been drawn.
        observed: what was drawn: phase lengths in days, or for each day whether it was treated.
    """

    values: Values
    schedule: Schedule
    observed: Sequence[int]

    def __post_init__(self) -> None:
        """Refuse days that are not the schedule's.

        Raises:
            AnalysisError: there are more or fewer than the schedule has, or a value is infinite.
        """
        planned = self.schedule.days if isinstance(self.schedule, Alternation) else self.schedule.total
        if self.values.shape != (planned,):
            raise AnalysisError(f"the schedule has {planned} days, the values are of {self.values.size}")
        if np.isinf(self.values).any():
            raise AnalysisError("a day's value is infinite; leave such days out as missing")

    @property
    def admissible(self) -> bool:
        """Whether what was observed could have been drawn."""
        return self.schedule.contains(self.observed)

    def contrast(self) -> float:
        """The observed statistic: treatment minus baseline, in outcome units.

        Raises:
            AnalysisError: what was observed is no plan for these days, or a phase has no value.
        """
        if not self.schedule.fits(self.observed):
            raise AnalysisError(f"what was observed, {list(self.observed)}, is no assignment of {self.schedule}")
        prefix = Prefix.of(self.values)
        if isinstance(self.schedule, Alternation):
            found = self.schedule.contrasts(prefix, np.array([self.observed], dtype=np.bool_))
        else:
            found = self.schedule.contrasts(prefix, np.array([self.observed], dtype=np.int64))
        if np.isnan(found[0]):
            raise AnalysisError("a phase has no day with a value, so there is nothing to compare")
        return float(found[0])

    def marks(self) -> Values:
        """1 on treated and 0 on other days, NaN on days without a value; shape (days,)."""
        treated = (
            np.array(self.observed, dtype=np.float64)
            if isinstance(self.schedule, Alternation)
            else self.schedule.treated_days(self.observed)
        )
        return np.where(np.isnan(self.values), np.nan, treated)
