"""Test a multiple baseline across cases against all joint starts of treatment that could have been drawn."""

# The statistic of an assignment is the mean over the cases of treatment mean less baseline mean. A case's part depends
# on its own start day alone, so it is looked up in a table of that case: a few hundred differences of means serve any
# number of assignments.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.draw_limits import DRAWS
from americano_pipelines.statistics.missing_days import MissingDays
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.prefix_sums import PrefixSums, Values, tolerance
from americano_pipelines.statistics.randomization_test import (
    MAX_EXACT_ASSIGNMENTS,
    Direction,
    RandomizationTest,
    compare_with_reference,
)
from americano_pipelines.statistics.reference_set import ReferenceSet
from americano_pipelines.statistics.start_schedules import Starts, StartSchedule

_BLOCK = 65_536  # assignments looked up together: some MB


@dataclass(frozen=True)
class MultipleBaseline:
    """The days of several cases, and the joint starts of treatment that could have been drawn.

    Attributes:
        values: the outcome of each day of each case, NaN where there is none; a shape (days,) for each case.
        schedule: what could have been drawn.
        starts: the start that was drawn for each case, the number of its first day of treatment.
        cut: whether each case starts within a day, which then belongs to neither phase under any assignment.
    """

    values: tuple[Values, ...]
    schedule: StartSchedule
    starts: tuple[int, ...]
    cut: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        """Refuse days that are not the schedule's.

        Raises:
            AnalysisError: a case has more or fewer days than the schedule has, or an infinite value.
        """
        if tuple(days.size for days in self.values) != self.schedule.days:
            sizes = ", ".join(str(days.size) for days in self.values)
            raise AnalysisError(f"the schedule has cases of {self.schedule.days} days, the values are of {sizes}")
        if any(np.isinf(days).any() for days in self.values):
            raise AnalysisError("a day's value is infinite; leave such days out as missing")
        if len(self.starts) != len(self.values) or any(
            not 1 <= start < days for start, days in zip(self.starts, self.schedule.days, strict=True)
        ):
            raise AnalysisError(f"starts {list(self.starts)} are none of {list(self.schedule.days)} days")

    @property
    def admissible(self) -> bool:
        """Whether the starts could have been drawn."""
        return self.schedule.contains(self.starts)

    def contrasts(self) -> list[float]:
        """The observed difference of each case, treatment less baseline, in outcome units.

        Raises:
            AnalysisError: a phase has no value.
        """
        differences = [float(table[start]) for table, start in zip(self.tables(), self.starts, strict=True)]
        if np.isnan(differences).any():
            raise AnalysisError("a phase has no day with a value, so there is nothing to compare")
        return differences

    def tables(self) -> list[Values]:
        """For each case the difference with each start, NaN with a phase without a value; shape (days,)."""
        return [_table(case, days) for case, days in zip(self._phases, self.values, strict=True)]

    def share_tables(self) -> list[Values]:
        """The part of a constant effect on the observed treatment days that each start contains; shapes as above."""
        effect_parts = [
            np.where(np.isnan(days), np.nan, on) for days, on in zip(self.values, self.treated(), strict=True)
        ]
        return [_table(case, days) for case, days in zip(self._phases, effect_parts, strict=True)]

    def treated(self) -> list[Values]:
        """1 on treatment days, 0 on others, 1/2 on a day cut between them; for each case a shape (days,)."""
        return [
            case.treatment_indicator((start, case.total - start))
            for case, start in zip(self._phases, self.starts, strict=True)
        ]

    def distances_of_weights(self) -> list[Values]:
        """The sum of how far the weights of the missing days differ from the observed start's; shapes as above."""
        tables = []
        for case, days, start in zip(self._phases, self.values, self.starts, strict=True):
            missing = np.flatnonzero(np.isnan(days))
            weights = np.nan_to_num(case.weights(_splits(case.total), missing))
            table = np.full(case.total, np.nan)
            table[1:] = np.abs(weights - weights[start - 1]).sum(axis=1)
            tables.append(table)
        return tables

    @property
    def _phases(self) -> list[PhaseSchedule]:
        """Each case for itself, as a baseline and a treatment of any length."""
        return [
            PhaseSchedule(days, (False, True), (1, 1), (days - 1, days - 1), (False, cut))
            for days, cut in zip(self.schedule.days, self.cut or (False,) * len(self.values), strict=True)
        ]


def joint_test(
    experiment: MultipleBaseline,
    *,
    direction: Direction | None,
    level: float = 0.05,
    seed: int = 0,
    draws: int = DRAWS,
    max_exact: int = MAX_EXACT_ASSIGNMENTS,
) -> RandomizationTest:
    """Test the hypothesis that in no case any day's outcome depends on when treatment started.

    Args:
        experiment: the cases.
        direction: the way that was declared before; None for a two-sided test.
        level: the level of the test; the interval of the effect has a confidence of 1 - level.
        seed: of the draws, if there are too many assignments to look at all.
        draws: how many to draw then.
        max_exact: how many may be looked at.

    Raises:
        AnalysisError: nothing could have been drawn, or a phase has no value.
    """
    schedule = experiment.schedule
    observed = float(np.mean(experiment.contrasts()))
    if not schedule.count:
        raise AnalysisError("no starts within the recorded windows lie as far apart as was recorded: check both")
    is_exact = schedule.count <= max_exact
    tables, shares = experiment.tables(), experiment.share_tables()
    looked_up = [
        (look_up(tables, starts), look_up(shares, starts))
        for starts in start_blocks(schedule, None if is_exact else draws, seed)
    ]
    contrasts, parts = (np.concatenate(arrays) for arrays in zip(*looked_up, strict=True))
    observed_added = 0 if is_exact and experiment.admissible else 1
    reference = ReferenceSet(observed, contrasts, parts, tolerance(*experiment.values), observed_added)
    return compare_with_reference(
        reference,
        assignments=schedule.count,
        admissible=experiment.admissible,
        direction=direction,
        level=level,
        two_sided="doubled",
        sample=None if is_exact else (draws, seed),
    )


def start_blocks(schedule: StartSchedule, draws: int | None, seed: int | None) -> Iterator[Starts]:
    """The joint starts in blocks: all of them, or so many draws."""
    if draws is None:
        yield from schedule.blocks(_BLOCK)
        return
    generator = np.random.Generator(np.random.PCG64(seed))
    for first in range(0, draws, _BLOCK):
        yield schedule.draw(generator, min(_BLOCK, draws - first))


def look_up(tables: Sequence[Values], starts: Starts) -> Values:
    """The mean over the cases of what their tables hold for each assignment; shape (assignments,)."""
    total = np.zeros(starts.shape[0])
    for case, table in enumerate(tables):
        total += table[starts[:, case]]
    return total / len(tables)


def joint_missing_days(
    experiment: MultipleBaseline,
    test: RandomizationTest,
    *,
    level: float,
    seed: int,
    draws: int,
) -> MissingDays:
    """Compare the days without a value between the conditions, and test again with the worst values on them.

    Missing days may have had any value within the observed range of their case. The worst ones that are tried are the
    lowest on treatment days and the highest on baseline days, or the other way round; the bound holds for all.

    Args:
        experiment: the cases.
        test: their test.
        level: as of the test.
        seed: likewise.
        draws: likewise.
    """
    missing = [np.isnan(days) for days in experiment.values]
    all_missing, treated = np.concatenate(missing), np.concatenate(experiment.treated())
    if not all_missing.any():
        return MissingDays.count(all_missing, treated, 1.0, test.p, test.p)

    def retest(values: Sequence[Values], direction: Direction | None) -> RandomizationTest:
        refilled = replace(experiment, values=tuple(values))
        return joint_test(refilled, direction=direction, level=level, seed=seed, draws=draws)

    difference = retest([flags.astype(np.float64) for flags in missing], None)
    direction = test.direction or test.favoured_direction
    worst_case = retest([*_worst_values(experiment, direction)], direction)
    worst_case_p = max(test.p, min(1.0, test.sides * worst_case.p))
    bound = max(worst_case_p, min(1.0, test.sides * _largest_p(experiment, direction, test)))
    return MissingDays.count(all_missing, treated, difference.p, worst_case_p, bound)


def _worst_values(experiment: MultipleBaseline, direction: Direction) -> Iterator[Values]:
    for days, treated in zip(experiment.values, experiment.treated(), strict=True):
        low, high = float(np.nanmin(days)), float(np.nanmax(days))
        against = (1 - treated) if direction == "increase" else treated
        yield np.where(np.isnan(days), low + (high - low) * against, days)


def _largest_p(experiment: MultipleBaseline, direction: Direction, test: RandomizationTest) -> float:
    """A one-sided p that no values on missing days exceed: an assignment counts if any values could make it count."""
    sign = 1.0 if direction == "increase" else -1.0
    ranges = [(float(np.nanmin(days)), float(np.nanmax(days))) for days in experiment.values]
    centred = replace(
        experiment,
        values=tuple(
            np.where(np.isnan(days), (low + high) / 2, days)
            for days, (low, high) in zip(experiment.values, ranges, strict=True)
        ),
    )
    tables = [sign * table for table in centred.tables()]
    observed = sign * float(np.mean(centred.contrasts()))
    reach = [
        (high - low) / 2 * table for table, (low, high) in zip(experiment.distances_of_weights(), ranges, strict=True)
    ]
    largest = max(max(abs(low), abs(high)) for low, high in ranges)
    ties = max(1e-9 * max(high - low for low, high in ranges), 64 * float(np.finfo(np.float64).eps) * largest)
    counted = size = 0
    for starts in start_blocks(experiment.schedule, test.draws, test.seed):
        distance = look_up(tables, starts) + look_up(reach, starts) - observed
        counted, size = counted + int((np.isnan(distance) | (distance >= -ties)).sum()), size + distance.size
    added = 0 if test.draws is None and experiment.admissible else 1
    return (counted + added) / (size + added)


def _splits(days: int) -> NDArray[np.int64]:
    """The lengths of both phases with each start from day 1 on; shape (days - 1, 2)."""
    starts = np.arange(1, days)
    return np.column_stack((starts, days - starts))


def _table(case: PhaseSchedule, values: Values) -> Values:
    table = np.full(case.total, np.nan)
    table[1:] = case.contrasts(PrefixSums.of(values), _splits(case.total))
    return table
