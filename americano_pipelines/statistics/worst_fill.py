"""Search the values on missing days that make p largest, and bound the p of all values in the observed range."""

# A test for an increase counts the assignments whose statistic s is at least the observed o. With values x on the
# missing days, s - o is a number plus the sum of d x, where d is the difference between the day's weights in s and in
# o.
#
# - The largest s - o of one assignment has the highest observed value on each day with d > 0 and the lowest on the
#   others. An assignment that falls short even then never counts, so the others bound p from above.
# - In an alternation a day weighs alike under every assignment that treats it. Then the lowest value on all treatment
#   days and the highest on all baseline days is the worst for each assignment, and the bound is reached.
# - Of phases, whose lengths are weights too, no values need be the worst for all assignments. A search begins at these
#   values and changes a day while that adds to the count. What it finds is a p that values do give: the largest one is
#   at least that, and at most the bound.

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.prefix_sums import PrefixSums, Values
from americano_pipelines.statistics.randomization_test import Direction
from americano_pipelines.statistics.reference_set import Case, schedule_blocks

# Assignments times missing days that are kept for the search, 32 MB; beyond it the values by condition are taken.
_MAX_SEARCHED = 4_000_000


@dataclass(frozen=True)
class WorstFill:
    """Values for the missing days of a case.

    Attributes:
        values: the days with the values that were found; shape (days,).
        bound: the one-sided p that no values give more than; None where these values give the largest p.
    """

    values: Values
    bound: float | None


def worst_fill(case: Case, direction: Direction, *, draws: int | None, seed: int | None) -> WorstFill:
    """Find values for the missing days, between the lowest and the highest observed one.

    Args:
        case: the days and their schedule; at least one is missing, and not all are.
        direction: the way that p looks.
        draws: how many assignments the test drew; None where it looked at all.
        seed: of these draws.
    """
    sign = 1 if direction == "increase" else -1
    treated = case.treated()
    compared = ~np.isnan(treated)
    days = np.flatnonzero(np.isnan(case.values) & compared)
    observed = case.values[compared]
    low, high = sorted((sign * float(np.nanmin(observed)), sign * float(np.nanmax(observed))))
    by_condition = high + (low - high) * treated[days]
    if isinstance(case.schedule, Alternation):
        return WorstFill(_filled(case.values, days, sign * by_condition), None)
    middle = np.full(days.size, (low + high) / 2)
    centred = _filled(sign * case.values, days, middle)
    # At least the tolerance of a test with any of these values, so that the bound counts its ties.
    ties = max(1e-9 * (high - low), 64 * float(np.finfo(np.float64).eps) * max(abs(low), abs(high)))
    counted, size, kept = 0, 0, []
    searched = (case.schedule.count if draws is None else draws) * days.size <= _MAX_SEARCHED
    for distance, weights in _distances(case, case.schedule, centred, days, draws, seed):
        reachable = distance + (high - low) / 2 * np.abs(weights).sum(axis=1) >= -ties
        counted, size = counted + int((np.isnan(distance) | reachable).sum()), size + distance.size
        if searched:
            kept.append((distance, weights))
    added = 0 if draws is None and case.admissible else 1
    fill = by_condition
    if searched:
        distances, all_weights = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        distances = np.where(np.isnan(distances), np.inf, distances)
        fill = _searched(distances - all_weights @ middle, all_weights, by_condition, (low, high), ties)
    return WorstFill(_filled(case.values, days, sign * fill), (counted + added) / (size + added))


def _distances(
    case: Case,
    schedule: PhaseSchedule,
    centred: Values,
    days: NDArray[np.int64],
    draws: int | None,
    seed: int | None,
) -> Iterator[tuple[Values, Values]]:
    """Of blocks of assignments: how far each lies above the observed one, NaN with an empty phase, and its weights."""
    prefix, observed = PrefixSums.of(centred), np.array([case.observed], dtype=np.int64)
    statistic, own_weights = schedule.contrasts(prefix, observed), schedule.weights(observed, days)
    generator = None if draws is None else np.random.Generator(np.random.PCG64(seed))
    for block in schedule_blocks(schedule, generator, draws or 0):
        for lengths in np.array_split(block, max(1, block.shape[0] * days.size // _MAX_SEARCHED)):
            weights = np.nan_to_num(schedule.weights(lengths, days)) - own_weights
            yield schedule.contrasts(prefix, lengths) - statistic, weights


def _searched(base: Values, weights: Values, fill: Values, bounds: tuple[float, float], ties: float) -> Values:
    """Change one value at a time to the other bound, as long as that adds to the assignments that count."""
    fill, distance = fill.copy(), base + weights @ fill
    most = int((distance >= -ties).sum())
    improved = True
    while improved:
        improved = False
        for day in range(fill.size):
            for value in bounds:
                other = distance + weights[:, day] * (value - fill[day])
                count = int((other >= -ties).sum())
                if count > most:
                    most, distance, improved = count, other, True
                    fill[day] = value
    return fill


def _filled(values: Values, days: NDArray[np.int64], fill: Values) -> Values:
    filled = values.copy()
    filled[days] = fill
    return filled
