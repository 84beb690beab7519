"""Missing days: counted by condition, tested over the same assignments, and with the worst values on them."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from americano_pipelines.statistics.alternating_schedules import Alternation
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

    assert missing == MissingDays(20, 0, 20, 0, 1.0, test.p, test.p)
    assert (missing.gap, missing.is_unequal) == (0, False)


GONE = (10, 12, 31, 33, 2)


def p_of_fill(values: np.ndarray, fill: Sequence[float], test: RandomizationTest) -> float:
    filled = values.copy()
    filled[np.isnan(values)] = fill
    return min(1.0, test.sides * retest(Case(filled, SCHEDULE, LENGTHS), test.favoured_direction).p)


@pytest.mark.parametrize("direction", ["increase", "decrease", None])
@pytest.mark.parametrize("effect", [0.8, -0.8])
def test_no_values_exceed_the_bound_and_the_search_finds_the_worst(direction: Direction | None, effect: float) -> None:
    values = days(effect, *GONE)
    test, missing = compared(values, direction)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    up = test.favoured_direction == "increase"
    by_condition = [low if TREATED[day] == up else high for day in sorted(GONE)]
    generator = np.random.default_rng(8)

    extreme = [p_of_fill(values, fill, test) for fill in product((low, high), repeat=5)]
    inside = [p_of_fill(values, generator.uniform(low, high, size=5), test) for _ in range(20)]

    assert missing.worst_case_p is not None
    assert missing.worst_case_bound is not None
    assert missing.worst_case_p == max(test.p, *extreme)
    assert max(test.p, *extreme, *inside) <= missing.worst_case_bound
    assert p_of_fill(values, by_condition, test) <= missing.worst_case_p
    assert (missing.treatment_missing, missing.baseline_missing) == (4, 1)


def test_the_values_by_condition_are_not_always_the_worst() -> None:
    values = days(0.8, *GONE)
    test, missing = compared(values, "increase")
    low, high = float(np.nanmin(values)), float(np.nanmax(values))

    p = p_of_fill(values, [low if TREATED[day] else high for day in sorted(GONE)], test)

    assert missing.worst_case_p is not None
    assert missing.worst_case_p > p


def test_the_worst_p_is_never_below_the_p_without_the_missing_days() -> None:
    """Left out, a day may make the observed difference less extreme than any value on it does."""
    less_extreme = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        values = generator.normal(size=40) + TREATED
        values[generator.integers(40)] = np.nan
        test, missing = compared(values, "increase")
        assert missing.worst_case_p is not None
        assert missing.worst_case_p >= test.p
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        less_extreme += test.p > max(p_of_fill(values, [low], test), p_of_fill(values, [high], test))
    assert less_extreme


def test_the_values_by_condition_are_the_worst_of_an_alternation() -> None:
    """Every value on every missing day, in steps."""
    schedule = Alternation(8, 1, 2, 8)
    order = [1, 0, 0, 1, 1, 0, 0, 1]
    values = np.array([3.0, 1, np.nan, 4, np.nan, 2, 1, np.nan])
    case = Case(values, schedule, order)
    missing = missing_days(case, retest(case, "increase"), retest)

    def p(fill: tuple[float, ...]) -> float:
        filled = values.copy()
        filled[[2, 4, 7]] = fill
        return retest(Case(filled, schedule, order), "increase").p

    largest = max(p(fill) for fill in product((1.0, 2.0, 3.0, 4.0), repeat=3))
    assert missing.worst_case_p == missing.worst_case_bound == largest


def test_a_schedule_that_is_drawn_from_is_bounded_by_the_same_draws() -> None:
    case = Case(days(0.8, *GONE), SCHEDULE, LENGTHS)

    def sampled(case: Case, direction: Direction | None) -> RandomizationTest:
        return randomization_test([case], direction=direction, draws=2000, max_exact=1, seed=5)

    drawn, exact = missing_days(case, sampled(case, "increase"), sampled), compared(case.values, "increase")[1]

    assert (drawn.worst_case_p, drawn.worst_case_bound) == (
        pytest.approx(exact.worst_case_p, abs=0.04),
        pytest.approx(exact.worst_case_bound, abs=0.04),
    )
    assert drawn.worst_case_bound is not None
    assert (drawn.worst_case_bound * 2001) % 1 == pytest.approx(0, abs=1e-6)


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
    assert (missing.gap, missing.largest_share, missing.is_unequal) == (0.5, 0.5, True)


@pytest.mark.parametrize(("gone", "p", "differ"), [(3, 0.5, False), (4, 0.5, True), (1, 0.05, True), (1, None, False)])
def test_shares_differ_by_size_or_by_the_test(gone: int, p: float | None, differ: bool) -> None:  # noqa: FBT001
    assert MissingDays(20, gone, 20, 0, p, 0.5, 0.5).is_unequal is differ


def test_a_day_between_both_conditions_counts_in_neither() -> None:
    schedule = PhaseSchedule(40, ABAB, (6,) * 4, (14,) * 4, (False, True, True, True))
    case = Case(days(1, 9, 12), schedule, LENGTHS)

    missing = missing_days(case, retest(case, None), retest)

    assert (missing.treatment_days, missing.treatment_missing) == (18, 1)
    assert (missing.baseline_days, missing.baseline_missing) == (19, 0)
