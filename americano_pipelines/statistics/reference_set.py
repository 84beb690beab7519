"""Compute the reference set of a test: the statistic of every schedule, or of a sample, in bounded memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.phase_schedules import Lengths, PhaseSchedule
from americano_pipelines.statistics.prefix_sums import PrefixSums, Values

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
    """

    observed: float
    contrasts: Values
    shares: Values
    ties: float
    observed_added: int

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


def enumerate_assignments(
    schedules: Sequence[Schedule], values: Sequence[PrefixSums], marks: Sequence[PrefixSums]
) -> tuple[Values, Values]:
    """Look at every assignment; with several cases, at every one of a case with every one of the others.

    Args:
        schedules: of each case.
        values: prefix sums of each case's days.
        marks: prefix sums of 1 on the treated and 0 on the other days that have a value.

    Returns:
        The statistic of each assignment, averaged over cases, NaN where a phase has no value; and the part of a
        constant effect on the treated days that it contains, 1 for the observed assignment. Shapes (assignments,).
    """
    total, share = np.zeros(1), np.zeros(1)
    for schedule, prefix, mark in zip(schedules, values, marks, strict=True):
        own, part = _gathered(schedule, prefix, mark)
        total, share = np.add.outer(total, own).ravel(), np.add.outer(share, part).ravel()
    return total / len(schedules), share / len(schedules)


def draw_assignments(
    schedules: Sequence[Schedule], values: Sequence[PrefixSums], marks: Sequence[PrefixSums], *, seed: int, draws: int
) -> tuple[Values, Values]:
    """Draw so many assignments, for each case independently.

    Arguments and result are those of `enumerate_assignments`, shapes (draws,).
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    total, share = np.zeros(draws), np.zeros(draws)
    for schedule, prefix, mark in zip(schedules, values, marks, strict=True):
        own, part = _gathered(schedule, prefix, mark, generator, draws)
        total, share = total + own, share + part
    return total / len(schedules), share / len(schedules)


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """99 % interval of a proportion: Clopper and Pearson (1934)."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(_P_CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def _gathered(
    schedule: Schedule,
    values: PrefixSums,
    marks: PrefixSums,
    generator: np.random.Generator | None = None,
    draws: int = 0,
) -> tuple[Values, Values]:
    """Statistics and parts of one case: of all assignments, or of those drawn where there is a generator."""
    if isinstance(schedule, Alternation):
        orders = schedule.blocks(_BLOCK) if generator is None else map(partial(schedule.draw, generator), _sizes(draws))
        contrasts = [(schedule.contrasts(values, some), schedule.contrasts(marks, some)) for some in orders]
    else:
        lengths = schedule_blocks(schedule, generator, draws)
        contrasts = [(schedule.contrasts(values, some), schedule.contrasts(marks, some)) for some in lengths]
    statistics, parts = zip(*contrasts, strict=True)
    return np.concatenate(statistics), np.concatenate(parts)


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
    """

    values: Values
    schedule: Schedule
    observed: Sequence[int]

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
        """The observed statistic: treatment minus baseline, in outcome units.

        Raises:
            AnalysisError: what was observed is no plan for these days, or a phase has no value.
        """
        if not self.schedule.fits(self.observed):
            raise AnalysisError(f"what was observed, {list(self.observed)}, is no assignment of {self.schedule}")
        prefix = PrefixSums.of(self.values)
        if isinstance(self.schedule, Alternation):
            contrasts = self.schedule.contrasts(prefix, np.array([self.observed], dtype=np.bool_))
        else:
            contrasts = self.schedule.contrasts(prefix, np.array([self.observed], dtype=np.int64))
        if np.isnan(contrasts[0]):
            raise AnalysisError("a phase has no day with a value, so there is nothing to compare")
        return float(contrasts[0])

    def treated(self) -> Values:
        """1 on treated and 0 on other days, 1/2 on a day cut between them; shape (days,)."""
        return self.schedule.treatment_indicator(self.observed)

    def marks(self) -> Values:
        """The same, NaN on days without a value."""
        return np.where(np.isnan(self.values), np.nan, self.treated())


def _without_ties(distance: Values, ties: float) -> Values:
    return np.where(np.abs(distance) <= ties, 0.0, distance)
