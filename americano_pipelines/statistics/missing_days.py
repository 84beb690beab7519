"""Compare days without a value between the conditions, and test again with the worst values on them."""

# Missing days may have had any value between the lowest and the highest observed one; see `worst_fill.py`.
#
# A test is exact if whether a day has a value does not depend on what was drawn. Where the lowest 40 of 100 treatment
# days have none, a two-sided test at .05 finds an effect in 24 of 100 series without one (56 days, independent), a
# one-sided test in 37.

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.randomization_test import Direction, RandomizationTest
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines.statistics.worst_fill import worst_fill

# Shares that are farther apart, or that the test finds different, need a p that holds with the worst values too. With
# .10 one verdict in five is lost where a tenth of all days is missing by chance, with .15 one in ten; see
# docs/decisions/0023-missing-days.md.
LARGE_GAP = 0.15
MISSING_LEVEL = 0.05

Retest = Callable[[Case, Direction | None], RandomizationTest]


@dataclass(frozen=True)
class MissingDays:
    """Days without a value by condition, of the days that were compared; a day cut between both counts in neither.

    Attributes:
        treatment_days: days of treatment.
        treatment_missing: those without a value.
        baseline_days: days of baseline.
        baseline_missing: those without a value.
        p: of the difference between the shares of missing days, by the two-sided test over the same assignments; None
            without a set of assignments.
        worst_case_p: the largest p that was found with values on the missing days, and never less than the test's;
            None as for `p`, and where days are missing and another statistic than the mean was tested.
        worst_case_bound: a p that no values give more than; the same as `worst_case_p` where that is the largest.
    """

    treatment_days: int
    treatment_missing: int
    baseline_days: int
    baseline_missing: int
    p: float | None
    worst_case_p: float | None
    worst_case_bound: float | None

    @classmethod
    def count(
        cls,
        missing: NDArray[np.bool_],
        treated: Values,
        p: float | None = None,
        worst_case_p: float | None = None,
        worst_case_bound: float | None = None,
    ) -> "MissingDays":
        """Count the days of each condition and those that are missing.

        Args:
            missing: whether each day has no value; shape (days,).
            treated: 1 on treatment days, 0 on baseline days, anything else on days of neither; shape (days,).
            p: as the attribute.
            worst_case_p: likewise.
            worst_case_bound: likewise.
        """
        treatment, baseline = treated == 1, treated == 0
        return cls(
            treatment_days=int(treatment.sum()),
            treatment_missing=int((treatment & missing).sum()),
            baseline_days=int(baseline.sum()),
            baseline_missing=int((baseline & missing).sum()),
            p=p,
            worst_case_p=worst_case_p,
            worst_case_bound=worst_case_bound,
        )

    @property
    def shares(self) -> tuple[float, float]:
        """Share of missing days of the treatment and of the baseline."""
        return (
            self.treatment_missing / self.treatment_days if self.treatment_days else 0.0,
            self.baseline_missing / self.baseline_days if self.baseline_days else 0.0,
        )

    @property
    def gap(self) -> float:
        """How far the shares of missing days are apart."""
        return abs(self.shares[0] - self.shares[1])

    @property
    def largest_share(self) -> float:
        """The larger one of the shares."""
        return max(self.shares)

    def recorded(self) -> dict[str, Any]:
        """All of it as JSON, with whether the shares differ."""
        return {**asdict(self), "shares differ": self.is_unequal}

    @property
    def is_unequal(self) -> bool:
        """Whether the conditions lack values unequally: by more than `LARGE_GAP`, or by the test."""
        return self.gap > LARGE_GAP or (self.p is not None and rejects(self.p, MISSING_LEVEL))

    def is_settled(self, level: float) -> bool:
        """Whether p is at the level or below whatever the missing values; False without a test."""
        return self.worst_case_bound is not None and rejects(self.worst_case_bound, level)

    @property
    def clause(self) -> str:
        """How many are missing, in a clause."""
        return self.clause_of("treatment", "baseline")

    def clause_of(self, first: str, second: str) -> str:
        """The same with other names of the conditions."""
        return (
            f"{self.treatment_missing} of {self.treatment_days} {first} days and {self.baseline_missing} of "
            f"{self.baseline_days} {second} days have no value"
        )


def missing_days(case: Case, test: RandomizationTest, retest: Retest) -> MissingDays:
    """Compare the missing days of a case.

    Args:
        case: its days and schedule.
        test: its test.
        retest: the same test, with the same level and draws, of another case in a direction; None for two-sided.
    """
    missing, treated = np.isnan(case.values), case.treated()
    if not missing[~np.isnan(treated)].any():
        return MissingDays.count(missing, treated, 1.0, test.p, test.p)
    difference_test = retest(Case(missing.astype(np.float64), case.schedule, case.observed), None)
    if case.statistic != "mean":
        return MissingDays.count(missing, treated, difference_test.p)
    direction = test.direction or test.favoured_direction
    worst = worst_fill(case, direction, draws=test.draws, seed=test.seed)
    worst_case_test = retest(Case(worst.values, case.schedule, case.observed), direction)
    # With a missing day left out the statistic is another one, and may be less extreme than with any value on that day.
    worst_case_p = max(test.p, min(1.0, test.sides * worst_case_test.p))
    bound = worst_case_p if worst.bound is None else max(worst_case_p, min(1.0, test.sides * worst.bound))
    return MissingDays.count(missing, treated, difference_test.p, worst_case_p, bound)
