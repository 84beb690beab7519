"""Compute the reference set of a test: the statistic of every schedule, or of a sample, in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.outcome_statistics import (
    Assignments,
    Evaluate,
    Statistic,
    effect_of,
    evaluator,
    is_linear,
    ties_of,
)
from americano_pipelines.statistics.phase_schedules import Lengths, PhaseSchedule
from americano_pipelines.statistics.prefix_sums import Values

Schedule = PhaseSchedule | Alternation

GENERATOR = "PCG64"
_BLOCK = 65_536  # assignments looked at together: 10 to 50 MB
_P_CONFIDENCE = 0.99


@dataclass(frozen=True)
class ReferenceSet:
    """The statistics of all assignments, or of a sample of them, beside the observed one.

    Attributes:
        observed: the observed statistic, in outcome units.
        contrasts: the statistic of each assignment, NaN where a phase is empty; shape (assignments,).
        shares: their share of a constant effect on the treated days, 1 for the observed assignment; same shape.
        ties: differences between statistics up to it are none.
        observed_added: 1 when the observed assignment comes on top of these, because they are a sample; else 0.
        linear: whether the statistic is linear in the values, so that the test can be inverted.
    """

    observed: float
    contrasts: Values
    shares: Values
    ties: float
    observed_added: int
    linear: bool = True

    @property
    def size(self) -> int:
        """How many are compared, the observed one among them."""
        return int(self.contrasts.size) + self.observed_added

    @property
    def distance(self) -> Values:
        """How far each statistic lies below the observed one; exactly 0 for a tie, NaN for an empty phase."""
        return _without_ties(self.observed - self.contrasts, self.ties)

    @property
    def mirrored(self) -> Values:
        """How far each statistic lies above the observed one with its sign turned; ties and empty phases likewise."""
        return _without_ties(self.observed + self.contrasts, self.ties)


def enumerate_assignments(schedules: Sequence[Schedule], statistics: Sequence[Sequence[Evaluate]]) -> list[Values]:
    """Look at every assignment; with several cases, at every one of a case with every one of the others.

    Args:
        schedules: of each case.
        statistics: of each case, as many as are wanted, such as that of its days and that of an effect of 1.

    Returns:
        Each statistic of each assignment, averaged over cases, NaN where a phase has no value; shapes (assignments,).
    """
    totals = [np.zeros(1) for _ in statistics[0]]
    for schedule, evaluates in zip(schedules, statistics, strict=True):
        own = _gathered(schedule, evaluates)
        totals = [np.add.outer(total, part).ravel() for total, part in zip(totals, own, strict=True)]
    return [total / len(schedules) for total in totals]


def draw_assignments(
    schedules: Sequence[Schedule], statistics: Sequence[Sequence[Evaluate]], *, seed: int, draws: int
) -> list[Values]:
    """Draw so many assignments, for each case independently.

    Arguments and result are those of `enumerate_assignments`, shapes (draws,).
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    totals = [np.zeros(draws) for _ in statistics[0]]
    for schedule, evaluates in zip(schedules, statistics, strict=True):
        own = _gathered(schedule, evaluates, generator, draws)
        totals = [total + part for total, part in zip(totals, own, strict=True)]
    return [total / len(schedules) for total in totals]


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """99 % interval of a proportion: Clopper and Pearson (1934)."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(_P_CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def _gathered(
    schedule: Schedule, evaluates: Sequence[Evaluate], generator: np.random.Generator | None = None, draws: int = 0
) -> list[Values]:
    """Statistics of one case: of all assignments, or of those drawn where there is a generator."""
    blocks: Iterable[Assignments] = schedule.blocks(_BLOCK)
    if generator is not None:
        blocks = map(partial(schedule.draw, generator), _sizes(draws))
    looked_at = [[evaluate(block) for evaluate in evaluates] for block in blocks]
    return [np.concatenate(parts) for parts in zip(*looked_at, strict=True)]


def schedule_blocks(
    schedule: PhaseSchedule, generator: np.random.Generator | None = None, draws: int = 0
) -> Iterator[Lengths]:
    """The assignments of phases in blocks: all of them, or those drawn where there is a generator."""
    return schedule.blocks(_BLOCK) if generator is None else map(partial(schedule.draw, generator), _sizes(draws))


def _sizes(draws: int) -> list[int]:
    return [min(_BLOCK, draws - start) for start in range(0, draws, _BLOCK)]


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
        statistic: what the conditions are compared by.
    """

    values: Values
    schedule: Schedule
    observed: Sequence[int]
    statistic: Statistic = "mean"

    def __post_init__(self) -> None:
        """Refuse days that are not the schedule's.

        Raises:
            AnalysisError: there are more or fewer than the schedule has, or a value is infinite.
        """
        if self.values.shape != (self.schedule.days,):
            raise AnalysisError(f"the schedule has {self.schedule.days} days, the values are of {self.values.size}")
        if np.isinf(self.values).any():
            raise AnalysisError("a day's value is infinite; leave such days out as missing")

    @property
    def admissible(self) -> bool:
        """Whether what was observed could have been drawn."""
        return self.schedule.contains(self.observed)

    def contrast(self) -> float:
        """The observed statistic: treatment minus baseline, in outcome units, or less 1/2 for NAP.

        Raises:
            AnalysisError: what was observed is no plan for these days, or a phase has no value.
        """
        if not self.schedule.fits(self.observed):
            raise AnalysisError(f"what was observed, {list(self.observed)}, is no assignment of {self.schedule}")
        statistic = float(self.evaluate(np.array([self.observed]))[0])
        if np.isnan(statistic):
            raise AnalysisError("a phase has no day with a value, so there is nothing to compare")
        return statistic

    @cached_property
    def evaluate(self) -> Evaluate:
        """The statistic of this case as a function of the assignments."""
        return evaluator(self.statistic, self.schedule, self.values)

    @cached_property
    def evaluate_share(self) -> Evaluate:
        """The part of a constant effect that assignments contain, 1 for the observed one.

        Of a statistic that is not linear it is that of the means: 1 where they treat the same days.
        """
        if self.statistic == "distance":
            observed = np.array(self.observed)
            return lambda assignments: (assignments == observed).all(axis=1).astype(np.float64)
        return evaluator(self._linear, self.schedule, self.effect_parts())

    @property
    def ties(self) -> float:
        """Differences of the statistic up to it are ties."""
        return ties_of(self.statistic, self.values)

    def treated(self) -> Values:
        """1 on treated and 0 on baseline days, 1/2 on a day cut between them, NaN on others; shape (days,)."""
        return self.schedule.treatment_indicator(self.observed)

    def effect_parts(self) -> Values:
        """Each day's part of an effect of 1, NaN on days without a value; shape (days,)."""
        effect = effect_of(self._linear, self.schedule, list(self.observed))
        return np.where(np.isnan(self.values), np.nan, effect)

    @property
    def _linear(self) -> Statistic:
        return self.statistic if is_linear(self.statistic) else "mean"


def _without_ties(distance: Values, ties: float) -> Values:
    return np.where(np.abs(distance) <= ties, 0.0, distance)
