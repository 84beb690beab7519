"""Simulate experiments of a design, and test each as the analysis would.

Effects are in standard deviations of a day's value around the trend, and lie on the days of a contrast's first
condition. Where slopes are compared, the outcome rises by the effect each day of such a phase.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from americano_pipelines.analysis.condition_contrasts import Contrast
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning.planned_design import PlannedDesign
from americano_pipelines.statistics.criterion_schedules import CriterionSchedule
from americano_pipelines.statistics.holm_correction import holm
from americano_pipelines.statistics.outcome_statistics import (
    Assignments,
    Statistic,
    effect_of,
    evaluator,
    is_linear,
    ties_of,
)
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.randomization_test import Direction
from americano_pipelines.statistics.reference_set import Schedule

# Above this number, assignments are sampled: all would take minutes, and the power differs in the third digit.
MAX_ENUMERATED, SAMPLE = 20_000, 1999


@dataclass(frozen=True)
class Assumptions:
    """What a simulated experiment is made of.

    Attributes:
        autocorrelation: of neighbouring days, AR(1), between -1 and 1.
        trend: by how many standard deviations the outcome rises from the first day to the last.
        missing: share of days without a value, each independent of all else.
    """

    autocorrelation: float = 0.0
    trend: float = 0.0
    missing: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            AnalysisError: a number is out of its bounds.
        """
        if not -1 < self.autocorrelation < 1:
            raise AnalysisError(f"the autocorrelation {self.autocorrelation:g} is not between -1 and 1")
        if not 0 <= self.missing < 1:
            raise AnalysisError(f"the share of missing days {self.missing:g} is not between 0 and 1")
        if not np.isfinite(self.trend):
            raise AnalysisError("the trend is not finite")


@dataclass(frozen=True)
class PlannedTest:
    """Direction, level and statistic of the test.

    Attributes:
        direction: `either` for a two-sided test.
        alpha: its level.
        statistic: what the conditions are compared by.
    """

    direction: Literal["increase", "decrease", "either"] = "either"
    alpha: float = 0.05
    statistic: Statistic = "mean"

    @property
    def one_sided(self) -> Direction | None:
        """The direction of a one-sided test, None for a two-sided one."""
        return None if self.direction == "either" else self.direction

    @property
    def sides(self) -> int:
        """By how much the smaller one-sided p is multiplied."""
        return 2 if self.one_sided is None else 1


@dataclass(frozen=True)
class DrawnContrast:
    """A contrast of a simulated experiment.

    Attributes:
        contrast: the conditions that are compared.
        schedule: the assignments that it is tested over.
        assignments: the observed one first, then those to compare with.
        observed_added: 1 where the observed assignment comes on top of a sample, else 0.
    """

    contrast: Contrast
    schedule: Schedule
    assignments: Assignments
    observed_added: int

    def effect_days(self, statistic: Statistic) -> Values:
        """Each day's part of an effect of 1, 0 on days that have none; shape (days,)."""
        linear: Statistic = statistic if is_linear(statistic) else "mean"
        return np.nan_to_num(effect_of(linear, self.schedule, self.assignments[0].tolist()))

    def p_values(self, values: Values, effect_days: Values, effects: Sequence[float], test: PlannedTest) -> Values:
        """The p of the test with each effect, 1 where it cannot be tested; shape (effects,).

        Raises:
            AnalysisError: the schedule has no such statistic.
        """
        if is_linear(test.statistic):
            # An effect adds its share to what each assignment gives without one.
            days, effect_parts = values, np.where(np.isnan(values), np.nan, effect_days)
            without, share = (
                evaluator(test.statistic, self.schedule, part)(self.assignments) for part in (days, effect_parts)
            )
            statistics = [without + effect * share for effect in effects]
        else:
            statistics = [
                evaluator(test.statistic, self.schedule, values + effect * effect_days)(self.assignments)
                for effect in effects
            ]
        ties = [ties_of(test.statistic, values + effect * effect_days) for effect in effects]
        added = self.observed_added
        return np.array([p_of(own, tie, test, added) for own, tie in zip(statistics, ties, strict=True)])


def p_of(statistics: Values, ties: float, test: PlannedTest, observed_added: int) -> float:
    """The p of a test, 1 where the observed assignment has no statistic.

    Args:
        statistics: of the observed assignment first, then of those to compare with; NaN where one has none.
        ties: how near two statistics count as equal.
        test: direction and level.
        observed_added: 1 where the observed assignment comes on top of a sample, else 0.
    """
    if np.isnan(statistics[0]):
        return 1.0
    distance = statistics[0] - statistics[1:]
    empty = int(np.isnan(distance).sum())
    higher, lower = (empty + int((side >= -ties).sum()) for side in (-distance, distance))
    as_extreme = {"increase": higher, "decrease": lower, "either": min(higher, lower)}[test.direction]
    size = int(distance.size) + observed_added
    return min(1.0, test.sides * (as_extreme + observed_added) / size)


@dataclass(frozen=True)
class SimulatedExperiment:
    """A simulated experiment without an effect.

    Attributes:
        values: the days' values, NaN where there is none; shape (days,).
        contrasts: its contrasts, the primary one first.
    """

    values: Values
    contrasts: tuple[DrawnContrast, ...]

    def p_values(self, effects: Sequence[float], test: PlannedTest) -> Values:
        """The p by which the analysis judges each contrast, with an effect of its first condition.

        Returns:
            The primary contrast as it is, the others corrected by Holm; shape (contrasts, effects).

        Raises:
            AnalysisError: the schedule has no such statistic.
        """
        judged = np.empty((len(self.contrasts), len(effects)))
        for place, target in enumerate(self.contrasts):
            effect_days = target.effect_days(test.statistic)
            tested = self.contrasts if place else self.contrasts[:1]
            p = np.stack([other.p_values(self.values, effect_days, effects, test) for other in tested])
            judged[place] = [holm(column)[place] for column in p.T.tolist()] if place else p[0]
        return judged


def simulate_experiments(
    design: PlannedDesign, assumptions: Assumptions, number: int, generator: np.random.Generator
) -> Iterator[SimulatedExperiment]:
    """Simulate so many experiments without an effect, each with an assignment of its own.

    Where the assignments of a schedule are sampled, the experiments share the sample.

    Raises:
        AnalysisError: the design changes a criterion.
    """
    if isinstance(design.schedule, CriterionSchedule):
        raise AnalysisError(f"the power of a design {design.name} is not simulated: draw it with `americano plan draw`")
    drawn: Assignments = design.schedule.draw(generator, number)
    values = simulated_days(generator, assumptions, number, design.days)
    compared: dict[Schedule, Assignments] = {}

    def contrast_of(contrast: Contrast, row: int) -> DrawnContrast:
        schedule = design.contrast_schedule(contrast, drawn[row].tolist())
        exact = schedule.count <= MAX_ENUMERATED
        if schedule not in compared:
            compared[schedule] = (
                np.concatenate(list(schedule.blocks(MAX_ENUMERATED))) if exact else schedule.draw(generator, SAMPLE)
            )
        assignments = np.concatenate((drawn[row : row + 1], compared[schedule])).astype(np.int64)
        return DrawnContrast(contrast, schedule, assignments, observed_added=0 if exact else 1)

    for row, own in enumerate(values):
        yield SimulatedExperiment(own, tuple(contrast_of(contrast, row) for contrast in design.contrasts))


def simulated_days(generator: np.random.Generator, assumptions: Assumptions, number: int, days: int) -> Values:
    """Days without an effect: standard normal, AR(1), on a straight trend, some without a value.

    Returns:
        The values, NaN where there is none; shape (number, days).
    """
    noise = generator.standard_normal((number, days))
    innovation_scale = np.sqrt(1 - assumptions.autocorrelation**2)
    for day in range(1, days):
        noise[:, day] = assumptions.autocorrelation * noise[:, day - 1] + innovation_scale * noise[:, day]
    values = noise + assumptions.trend * np.linspace(0, 1, days)
    values[generator.random((number, days)) < assumptions.missing] = np.nan
    return values
