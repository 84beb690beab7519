"""Compute the statistic that compares two conditions: means, medians, slopes, the days about a switch, or overlap."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.criterion_schedules import CriterionSchedule
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.prefix_sums import PrefixSums, Values, tolerance

Statistic = Literal["mean", "median", "slope", "immediacy", "nap", "distance"]
"""
mean, median, slope: of the treatment phases less those of the baseline phases; slope is that of least squares, a day.
immediacy: of each switch the mean of three days on the treatment's side less that on the baseline's side.
distance: of a changing criterion, the mean distance of the days from the criterion in force.
nap: the share of the pairs of a treatment and a baseline day in which the treatment day is higher, ties half, less 1/2.
"""

Assignments = NDArray[np.int64] | NDArray[np.bool_]
"""Phase lengths or treated days, one assignment a row; see `phase_schedules` and `alternating_schedules`."""

Evaluate = Callable[[Assignments], Values]
"""The statistic of each assignment, NaN where a phase has too few values; shape (assignments,)."""

IMMEDIATE_DAYS = 3
_NAP_TIES = 1e-9
_LINEAR: tuple[Statistic, ...] = ("mean", "slope", "immediacy")
_DAY_STATISTICS: tuple[Statistic, ...] = ("mean", "median", "nap")


def is_linear(statistic: Statistic) -> bool:
    """Whether a statistic is linear in the values, so that its test can be inverted without a search."""
    return statistic in _LINEAR


def ties_of(statistic: Statistic, values: Values) -> float:
    """Differences of the statistic up to it are ties; NAP has the same unit whatever the outcome."""
    return _NAP_TIES if statistic == "nap" else tolerance(values)


def evaluator(statistic: Statistic, schedule: PhaseSchedule | Alternation, values: Values) -> Evaluate:
    """The statistic as a function of the assignments.

    Args:
        statistic: which one.
        schedule: the assignments' schedule.
        values: the days, NaN where there is none; shape (days,).

    Raises:
        AnalysisError: the schedule has no such statistic.
    """
    if isinstance(schedule, Alternation):
        if statistic not in _DAY_STATISTICS:
            raise AnalysisError(f"days that alternate are compared by {', '.join(_DAY_STATISTICS)}, not by {statistic}")
        of_orders = {"mean": _mean_of_orders, "median": _median_of_orders, "nap": _nap_of_orders}[statistic]
        return of_orders(schedule, values)
    if isinstance(schedule, CriterionSchedule):
        return lambda lengths: schedule.distances(values, lengths.astype(np.int64))
    of_phases = {
        "mean": _mean_of_phases,
        "median": _median_of_phases,
        "slope": _slope_of_phases,
        "immediacy": _immediacy_of_phases,
        "nap": _nap_of_phases,
    }[statistic]
    return of_phases(schedule, values)


def effect_of(statistic: Statistic, schedule: PhaseSchedule | Alternation, observed: list[int]) -> Values:
    """The days' part of an effect of 1 of which the observed assignment has the whole; shape (days,).

    An effect on the level is the same on all treatment days. One on the slope grows by 1 a day within each treatment
    phase, and begins again with the next one.
    """
    treated = schedule.treatment_indicator(observed)
    if statistic != "slope":
        return treated
    lengths = np.array(observed)
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    growing: Values = treated * (np.arange(first.size) - first)
    return growing


def _mean_of_phases(schedule: PhaseSchedule, values: Values) -> Evaluate:
    prefix = PrefixSums.of(values)
    return lambda lengths: schedule.contrasts(prefix, lengths.astype(np.int64))


def _mean_of_orders(schedule: Alternation, values: Values) -> Evaluate:
    prefix = PrefixSums.of(values)
    return lambda orders: schedule.contrasts(prefix, orders.astype(np.bool_))


def _median_of_phases(schedule: PhaseSchedule, values: Values) -> Evaluate:
    table = np.full((values.size + 1, values.size + 1), np.nan)
    filled = {0}

    def medians(lengths: Assignments) -> Values:
        starts, ends = schedule.edges(lengths.astype(np.int64))
        # Only lengths that occur: a table of every first and last day took 10 times as long.
        for length in {*np.unique(ends - starts).tolist()} - filled:
            ordered = np.sort(sliding_window_view(values, length), axis=1)  # missing days come last
            number, first = length - np.isnan(ordered).sum(axis=1), np.arange(len(ordered))
            low, high = (ordered[first, place] for place in (np.maximum(number - 1, 0) // 2, number // 2))
            table[first, first + length] = np.where(number == 0, np.nan, (low + high) / 2)
            filled.add(length)
        return schedule.contrast_of_phases(table[starts, ends])

    return medians


def _slope_of_phases(schedule: PhaseSchedule, values: Values) -> Evaluate:
    present = ~np.isnan(values)
    day = np.where(present, np.arange(values.size), 0)
    outcome = np.where(present, values - np.nanmean(values) if present.any() else 0.0, 0.0)
    sums = [np.concatenate(([0.0], np.cumsum(part))) for part in (present, day, day**2, outcome, day * outcome)]

    def slopes(lengths: Assignments) -> Values:
        starts, ends = schedule.edges(lengths.astype(np.int64))
        number, days, squares, outcomes, products = (part[ends] - part[starts] for part in sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = squares - days**2 / number
            slope = (products - days * outcomes / number) / np.where(number > 1, spread, np.nan)
        return schedule.contrast_of_phases(slope)

    return slopes


def _immediacy_of_phases(schedule: PhaseSchedule, values: Values) -> Evaluate:
    prefix, switches = PrefixSums.of(values), schedule.switches
    if not switches:
        raise AnalysisError("no phase of one condition follows one of the other, so there is no switch to look at")
    before, signs = np.array([phase for phase, _ in switches]), np.array([sign for _, sign in switches])

    def at_switches(lengths: Assignments) -> Values:
        starts, ends = schedule.edges(lengths.astype(np.int64))
        last = prefix.means(np.maximum(starts, ends - IMMEDIATE_DAYS)[:, before], ends[:, before])
        first = prefix.means(starts[:, before + 1], np.minimum(ends, starts + IMMEDIATE_DAYS)[:, before + 1])
        result: Values = (signs * (first - last)).mean(axis=-1)
        return result

    return at_switches


def _nap_of_phases(schedule: PhaseSchedule, values: Values) -> Evaluate:
    # By how much the wins exceed the losses between the first days and the first other days.
    wins = np.pad(np.sign(_differences(values)).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    numbers = np.concatenate(([0], np.cumsum(~np.isnan(values))))
    treated, baseline = schedule.sides

    def shares(lengths: Assignments) -> Values:
        starts, ends = schedule.edges(lengths.astype(np.int64))
        present = numbers[ends] - numbers[starts]
        total = np.zeros(len(lengths))
        for first in np.flatnonzero(treated):
            for second in np.flatnonzero(baseline):
                high, low, right, left = ends[:, first], starts[:, first], ends[:, second], starts[:, second]
                total += wins[high, right] - wins[low, right] - wins[high, left] + wins[low, left]
        pairs = present[:, treated].sum(axis=1) * present[:, baseline].sum(axis=1)
        empty = (present[:, treated | baseline] == 0).any(axis=1)
        result: Values = total / np.where(empty, np.nan, 2.0 * pairs)
        return result

    return shares


def _differences(values: Values) -> Values:
    """Each day's value less every other day's, 0 where one of them has none."""
    return np.nan_to_num(values[:, np.newaxis] - values)


def _median_of_orders(schedule: Alternation, values: Values) -> Evaluate:
    counted = schedule.compared_days & ~np.isnan(values)
    days = values[counted]

    def medians(orders: Assignments) -> Values:
        treated = orders[:, counted].astype(np.bool_)
        return _row_medians(days, treated) - _row_medians(days, ~treated)

    return medians


def _row_medians(days: Values, chosen: NDArray[np.bool_]) -> Values:
    """The median of the chosen days in each row, NaN where none is."""
    ordered, number = np.sort(np.where(chosen, days, np.inf), axis=1), chosen.sum(axis=1)
    middle = [np.clip(rank, 0, None) for rank in ((number - 1) // 2, number // 2)]
    rows = np.arange(len(chosen))
    if not days.size:
        return np.full(len(chosen), np.nan)
    low, high = (ordered[rows, np.minimum(rank, days.size - 1)] for rank in middle)
    return np.where(number == 0, np.nan, (low + high) / 2)


def _nap_of_orders(schedule: Alternation, values: Values) -> Evaluate:
    counted = schedule.compared_days & ~np.isnan(values)
    # Treatment days win and lose against each other alike, so what each wins against all days is enough.
    wins = np.sign(_differences(values[counted])).sum(axis=1)

    def shares(orders: Assignments) -> Values:
        treated = orders[:, counted].astype(np.float64)
        number = treated.sum(axis=1)
        pairs = number * (wins.size - number)
        result: Values = treated @ wins / np.where(pairs == 0, np.nan, 2 * pairs)
        return result

    return shares
