"""Missing days: counted by condition, tested over the same assignments, and with the worst values on them."""

from itertools import product

import numpy as np
import pytest

from americano_pipelines.statistics.missing_days import MissingDays, missing_days
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import Direction, RandomizationTest, randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines_tests.statistics.examples import ABAB

SCHEDULE = PhaseSchedule(40, ABAB, (6,) * 4, (14,) * 4)
LENGTHS = [9, 10, 11, 10]
TREATED = np.repeat([False, True, False, True], LENGTHS)


def retest(case: Case, direction: Direction | None) -> RandomizationTest:
    return randomization_test([case], direction=direction)


def compared(values: np.ndarray, direction: Direction | None) -> tuple[RandomizationTest, MissingDays]:
    case = Case(values, SCHEDULE, LENGTHS)
    test = retest(case, direction)
    return test, missing_days(case, test, retest)


def days(effect: float, *missing: int) -> np.ndarray:
    values = np.random.default_rng(5).normal(size=40) + effect * TREATED
    values[list(missing)] = np.nan
    return values


def test_without_missing_days_there_is_nothing_to_compare() -> None:
    test, missing = compared(days(1), "increase")

    assert missing == MissingDays(20, 0, 20, 0, 1.0, test.p)
    assert (missing.gap, missing.differ) == (0, False)


@pytest.mark.parametrize("direction", ["increase", "decrease", None])
@pytest.mark.parametrize("effect", [1, -1])
def test_the_worst_values_are_those_against_the_finding(direction: Direction | None, effect: float) -> None:
    gone = (10, 12, 31, 33, 2)
    values = days(effect, *gone)
    test, missing = compared(values, direction)
    up = test.points == "increase"
    low, high = np.nanmin(values), np.nanmax(values)
    filled = values.copy()
    for day in gone:
        filled[day] = low if TREATED[day] == up else high

    one_sided = retest(Case(filled, SCHEDULE, LENGTHS), test.points).p

    assert missing.worst_case_p == min(1, test.sides * one_sided)
    assert missing.worst_case_p is not None
    assert missing.worst_case_p >= test.p
    assert (missing.treatment_missing, missing.baseline_missing) == (4, 1)


def test_the_difference_is_tested_over_the_same_assignments() -> None:
    values = days(0, *range(9, 15), *range(30, 34))
    _, missing = compared(values, None)
    shares = np.isnan(values).astype(float)
    lengths = [split for split in product(range(6, 15), repeat=4) if sum(split) == 40]

    def difference(split: tuple[int, ...]) -> float:
        first, second, third, fourth = (part.mean() for part in np.split(shares, np.cumsum(split)[:-1]))
        return float(second + fourth - first - third) / 2

    all_differences = np.array([difference(split) for split in lengths])
    observed = difference(tuple(LENGTHS))
    sides = ((all_differences >= observed - 1e-9).mean(), (all_differences <= observed + 1e-9).mean())

    assert missing.p == pytest.approx(min(1, 2 * min(sides)))
    assert missing.clause == "10 of 20 treatment days and 0 of 20 baseline days have no value"
    assert (missing.gap, missing.largest_share, missing.differ) == (0.5, 0.5, True)


@pytest.mark.parametrize(("gone", "p", "differ"), [(3, 0.5, False), (4, 0.5, True), (1, 0.05, True), (1, None, False)])
def test_shares_differ_by_size_or_by_the_test(gone: int, p: float | None, differ: bool) -> None:  # noqa: FBT001
    assert MissingDays(20, gone, 20, 0, p, 0.5).differ is differ


def test_a_day_between_both_conditions_counts_in_neither() -> None:
    schedule = PhaseSchedule(40, ABAB, (6,) * 4, (14,) * 4, (False, True, True, True))
    case = Case(days(1, 9, 12), schedule, LENGTHS)

    missing = missing_days(case, retest(case, None), retest)

    assert (missing.treatment_days, missing.treatment_missing) == (18, 1)
    assert (missing.baseline_days, missing.baseline_missing) == (19, 0)
