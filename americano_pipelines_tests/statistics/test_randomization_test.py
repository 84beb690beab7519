"""The randomization test against published numbers, against brute force, and on data without an effect."""

from collections.abc import Callable
from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.effect_interval import TwoSided
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import Direction, randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines_tests.statistics.examples import ABAB, DIRECTIONS, MORITZ, ONGHENA, PILLS, SCAN, cases

Series = Callable[[np.random.Generator, int], np.ndarray]


@pytest.mark.parametrize(
    ("cases", "direction", "assignments", "observed", "p"),
    [
        ([ONGHENA], "increase", 165, 2.0, 0.0242424242424242),
        # Published with the absolute value of the statistic.
        ([ONGHENA], None, 165, 2.0, 0.0242424242424242),
        ([MORITZ], "increase", 1771, 12.44881, 0.0016939582156973),
        ([PILLS], "increase", 3432, 1.285714, 0.0224358974),
        ([PILLS], None, 3432, 1.285714, 0.0448717949),
        (SCAN, "increase", 1331, 20.5555556, 0.0360631),
    ],
)
def test_published_numbers(
    cases: list[Case], direction: Direction | None, assignments: int, observed: float, p: float
) -> None:
    test = randomization_test(cases, direction=direction, two_sided="absolute")

    assert test.assignments == assignments
    assert test.observed == pytest.approx(observed, abs=1e-5)
    assert test.p == pytest.approx(p, abs=1e-7)
    assert test.draws is None


def test_a_difference_that_rounding_left_has_few_bins() -> None:
    """Its histogram had a hundred million, and filled the memory."""
    schedule = PhaseSchedule(4, (False, True), (2, 2), (2, 2))

    test = randomization_test([Case(np.array([0.1, 0.2, 0.15, 0.15]), schedule, (2, 2))], direction=None)

    assert 0 < abs(test.observed) < 1e-16
    assert (len(test.counts), test.counts.sum()) == (10, 1)
    assert test.edges[0] <= test.observed <= test.edges[-1]


def brute_force(case: Case, direction: Direction | None, two_sided: TwoSided) -> tuple[int, int]:
    """Assignments, and those at least as extreme, by listing and plain means."""
    if direction is None and two_sided == "doubled":
        sides = [brute_force(case, side, two_sided) for side in ("increase", "decrease")]  # type: ignore[arg-type]
        return min(sides)

    values, schedule = case.values, case.schedule
    assert isinstance(schedule, PhaseSchedule)
    ranges = [range(low, high + 1) for low, high in zip(schedule.shortest, schedule.longest, strict=True)]
    splits = [lengths for lengths in product(*ranges) if sum(lengths) == schedule.total]

    def statistic(lengths: tuple[int, ...]) -> float | None:
        parts = np.split(values, np.cumsum(lengths)[:-1])
        means = [part[~np.isnan(part)].mean() if (~np.isnan(part)).any() else None for part in parts]
        if None in means:
            return None
        groups = [[m for m, t in zip(means, schedule.treated, strict=True) if t is which] for which in (True, False)]
        return float(np.mean(groups[0]) - np.mean(groups[1]))  # type: ignore[arg-type]

    observed = statistic(tuple(case.observed))
    assert observed is not None
    extreme = 0
    for lengths in splits:
        value = statistic(lengths)
        signed = {"increase": 1, "decrease": -1}.get(direction or "")
        if value is None:
            extreme += 1
        elif signed is None:
            extreme += abs(value) >= abs(observed) - 1e-9
        else:
            extreme += signed * value >= signed * observed - 1e-9
    return len(splits), extreme


@given(cases(), st.sampled_from(DIRECTIONS), st.sampled_from(get_args(TwoSided)))
@settings(max_examples=120, deadline=None)
def test_it_counts_what_brute_force_counts(case: Case, direction: Direction | None, two_sided: TwoSided) -> None:
    test = randomization_test([case], direction=direction, two_sided=two_sided)

    assert (test.assignments, test.as_extreme) == brute_force(case, direction, two_sided)
    assert test.p == min(1, test.sides * test.as_extreme / test.assignments)
    assert (test.p_higher, test.p_lower) == tuple(
        randomization_test([case], direction=side).p  # type: ignore[arg-type]
        for side in ("increase", "decrease")
    )
    assert 1 / test.assignments <= test.smallest_p <= test.p <= 1
    assert test.counts.sum() == test.assignments - test.empty


@given(cases(), st.sampled_from(DIRECTIONS), st.integers(-1000, 1000))
@settings(max_examples=40, deadline=None)
def test_a_constant_on_all_days_changes_nothing(case: Case, direction: Direction | None, constant: int) -> None:
    test = randomization_test([case], direction=direction)
    moved = randomization_test([Case(case.values + constant, case.schedule, case.observed)], direction=direction)

    assert moved.as_extreme == test.as_extreme
    assert moved.observed == pytest.approx(test.observed, abs=1e-8)


@given(cases())
@settings(max_examples=40, deadline=None)
def test_turning_the_outcome_round_turns_the_direction_round(case: Case) -> None:
    up = randomization_test([case], direction="increase")
    down = randomization_test([Case(-case.values, case.schedule, case.observed)], direction="decrease")

    assert (down.as_extreme, down.observed) == (up.as_extreme, pytest.approx(-up.observed, abs=1e-9))
    bounds = [down.interval.high, down.interval.low]
    for mine, other in zip([up.interval.low, up.interval.high], bounds, strict=True):
        assert (mine is None) is (other is None)
        assert mine is None or other is None or mine == pytest.approx(-other, abs=1e-8)


def test_the_order_of_cases_does_not_matter() -> None:
    as_extreme = [randomization_test(order, direction="increase").as_extreme for order in (SCAN, SCAN[::-1])]

    assert as_extreme[0] == as_extreme[1]


def test_a_sample_agrees_with_the_whole_and_says_how_sure_it_is() -> None:
    exact = randomization_test([MORITZ], direction="increase")
    drawn = randomization_test([MORITZ], direction="increase", max_exact=100, draws=20_000, seed=3)
    again = randomization_test([MORITZ], direction="increase", max_exact=100, draws=20_000, seed=3)

    assert drawn.p == (drawn.as_extreme + 1) / 20_001 == again.p
    assert drawn.p_interval is not None
    assert drawn.p_interval[0] < exact.p < drawn.p_interval[1]
    assert (drawn.seed, drawn.generator, exact.seed, exact.generator) == (3, "PCG64", None, None)
    assert drawn.undecided(exact.p)
    assert not drawn.undecided(0.05)
    assert drawn.interval.low == pytest.approx(exact.interval.low, rel=0.1)
    never = Case(np.arange(60.0), PhaseSchedule(60, ABAB, (5,) * 4, (60,) * 4), [15, 15, 15, 15])
    assert randomization_test([never], direction="decrease", max_exact=1, draws=99).p >= 1 / 100


def test_several_cases_are_drawn_from_independently() -> None:
    drawn = randomization_test(SCAN, direction="increase", max_exact=100, draws=50_000)

    assert drawn.assignments == 1331
    assert drawn.p_interval is not None
    assert drawn.p_interval[0] < 0.0360631 < drawn.p_interval[1]


@pytest.mark.parametrize("two_sided", get_args(TwoSided))
def test_both_sides_double_the_smallest_p(two_sided: TwoSided) -> None:
    assert randomization_test([PILLS], direction="increase").smallest_p == 1 / 3432
    # Of the absolute value the mirrored order counts too.
    assert randomization_test([PILLS], direction=None, two_sided=two_sided).smallest_p == 2 / 3432


def test_the_doubled_p_is_twice_the_smaller_side_and_says_which_that_is() -> None:
    test = randomization_test([MORITZ], direction=None)

    assert test.p == 2 * test.p_higher == pytest.approx(2 * 0.0016939582156973)
    assert (test.as_extreme, test.two_sided, test.favoured_direction) == (3, "doubled", "increase")
    turned = randomization_test([Case(-MORITZ.values, MORITZ.schedule, MORITZ.observed)], direction=None)
    assert (turned.p, turned.favoured_direction) == (test.p, "decrease")


def test_a_drawn_two_sided_p_and_its_interval_are_doubled_too() -> None:
    exact = randomization_test([MORITZ], direction=None)
    drawn = randomization_test([MORITZ], direction=None, max_exact=100, draws=20_000, seed=3)

    assert drawn.p == 2 * (drawn.as_extreme + 1) / 20_001
    assert drawn.p_interval is not None
    assert drawn.p_interval[0] < exact.p < drawn.p_interval[1]


def test_what_could_not_have_been_drawn_is_described_and_not_tested() -> None:
    schedule = PhaseSchedule(20, ABAB, (4,) * 4, (6,) * 4)
    values = np.repeat([0.0, 9.0, 0.0, 9.0], [3, 5, 6, 6])

    test = randomization_test([Case(values, schedule, [3, 5, 6, 6])], direction="increase")

    assert not test.admissible
    assert (test.as_extreme, test.p) == (0, 1 / (schedule.count + 1))
    assert (test.interval.low, test.interval.high) == (None, None)
    assert test.interval.why == "what was observed could not have been drawn"
    assert randomization_test([Case(values, schedule, [4, 5, 6, 5])], direction="increase").admissible


def test_what_is_no_plan_for_these_days_and_an_empty_phase_are_refused() -> None:
    schedule = PhaseSchedule(20, ABAB, (4,) * 4, (6,) * 4)
    for lengths in ([5, 5, 5, 4], [10, 10], [10, 10, 0, 0]):
        with pytest.raises(AnalysisError, match="is no assignment of"):
            randomization_test([Case(np.zeros(20), schedule, lengths)], direction=None)
    with pytest.raises(AnalysisError, match="is no assignment of"):
        randomization_test([Case(np.zeros(8), Alternation(8, 4, 8, 8), [True] * 4)], direction=None)
    narrow = PhaseSchedule(20, ABAB, (1,) * 4, (4,) * 4)
    with pytest.raises(AnalysisError, match="add up to the planned days"):
        randomization_test([Case(np.zeros(20), narrow, [5, 5, 5, 5])], direction=None)
    values = np.r_[np.full(5, np.nan), np.ones(15)]
    with pytest.raises(AnalysisError, match="nothing to compare"):
        randomization_test([Case(values, schedule, [5, 5, 5, 5])], direction=None)


def test_days_that_are_not_the_schedules_are_refused() -> None:
    schedule = PhaseSchedule(20, ABAB, (4,) * 4, (6,) * 4)
    for days in (19, 21):
        with pytest.raises(AnalysisError, match=f"the schedule has 20 days, the values are of {days}"):
            Case(np.zeros(days), schedule, [5, 5, 5, 5])
    with pytest.raises(AnalysisError, match="infinite"):
        Case(np.r_[np.inf, np.zeros(19)], schedule, [5, 5, 5, 5])


@pytest.mark.parametrize("slope", [0.0, 0.1, 1 / 3, 0.7])
def test_statistics_that_differ_by_rounding_only_are_ties(slope: float) -> None:
    # On a straight line every AB division has the same difference of means: half the line.
    case = Case(slope * np.arange(30), PhaseSchedule(30, (False, True), (5, 5), (25, 25)), [14, 16])

    for direction in DIRECTIONS:
        test = randomization_test([case], direction=direction)
        assert test.p == 1
        assert test.counts.sum() == 21


def test_assignments_that_differ_in_empty_days_raise_the_smallest_p() -> None:
    schedule = PhaseSchedule(23, ABAB, (5,) * 4, (23,) * 4)
    values = np.repeat([0.0, 9.0, 0.0, 9.0], [5, 6, 6, 6]) + np.random.default_rng(0).normal(size=23)
    assert randomization_test([Case(values, schedule, [5, 6, 6, 6])], direction="increase").smallest_p == 1 / 20
    values[5] = np.nan  # whether the first phase has five days or six makes no difference now

    test = randomization_test([Case(values, schedule, [5, 6, 6, 6])], direction="increase")

    assert (test.assignments, test.as_extreme, test.smallest_p) == (20, 2, 2 / 20)


# Calibration: of data without an effect, as many are rejected as the level says


def autoregressive(phi: float) -> Series:
    def series(generator: np.random.Generator, days: int) -> np.ndarray:
        shocks = generator.normal(size=days)
        values = np.empty(days)
        values[0] = shocks[0] / np.sqrt(1 - phi**2)
        for day in range(1, days):
            values[day] = phi * values[day - 1] + shocks[day]
        return values

    return series


PROCESSES: dict[str, Series] = {
    "AR(1) 0": autoregressive(0),
    "AR(1) .3": autoregressive(0.3),
    "AR(1) .5": autoregressive(0.5),
    "trend": lambda generator, days: 0.1 * np.arange(days) + generator.normal(size=days),
    "cycle of 28 days": lambda generator, days: (
        2 * np.sin(2 * np.pi * np.arange(days) / 28) + generator.normal(size=days)
    ),
}
LEVEL = 0.05
TRUE_SET = PhaseSchedule(56, ABAB, (7,) * 4, (21,) * 4)


def rejections(
    process: Series,
    claimed: PhaseSchedule,
    repetitions: int,
    direction: Direction | None,
    true: PhaseSchedule = TRUE_SET,
    two_sided: TwoSided = "doubled",
) -> float:
    """How often data without an effect are taken for one, the lengths drawn anew from the true set each time."""
    generator = np.random.default_rng(20)
    lengths = true.draw(generator, repetitions)
    count = 0
    for row in lengths:
        case = Case(process(generator, true.total), claimed, row.tolist())
        count += randomization_test([case], direction=direction, two_sided=two_sided).p <= LEVEL
    return count / repetitions


@pytest.mark.parametrize(
    "repetitions", [pytest.param(250, id="quick"), pytest.param(4000, marks=pytest.mark.slow, id="long")]
)
@pytest.mark.parametrize("process", PROCESSES)
def test_without_an_effect_the_level_is_kept(process: str, repetitions: int) -> None:
    nominal = np.floor(LEVEL * TRUE_SET.count) / TRUE_SET.count

    rate = rejections(PROCESSES[process], TRUE_SET, repetitions, "increase")

    print(f"calibration {process}: {rate:.4f} of {repetitions}, nominal {nominal:.4f}, N = {TRUE_SET.count}")  # noqa: T201
    assert abs(rate - nominal) <= 3 * np.sqrt(nominal * (1 - nominal) / repetitions)


@pytest.mark.slow
@pytest.mark.parametrize(("two_sided", "wrong_rate"), [("absolute", 0.3), ("doubled", 0.15)])
def test_a_set_that_was_not_drawn_from_takes_a_cycle_for_an_effect(two_sided: TwoSided, wrong_rate: float) -> None:
    true = PhaseSchedule(56, ABAB, (10,) * 4, (18,) * 4)
    wrong = PhaseSchedule(56, ABAB, (5,) * 4, (56,) * 4)

    rates = [
        rejections(PROCESSES["cycle of 28 days"], claimed, 1000, None, true, two_sided) for claimed in (true, wrong)
    ]

    print(f"calibration, cycle of 28 days, {two_sided}: true set {rates[0]:.4f}, wrong set {rates[1]:.4f} of 1000")  # noqa: T201
    assert rates[0] < 0.07
    assert rates[1] > wrong_rate, "which is why there is no default set"


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("value", [0.0, 72.3, 1e9 + 0.1])
def test_values_that_are_all_the_same_are_ties_and_not_rounding(direction: Direction | None, value: float) -> None:
    schedule = PhaseSchedule(24, (False, True, False, True), (4,) * 4, (9,) * 4)
    test = randomization_test([Case(np.full(24, value), schedule, (6, 5, 7, 6))], direction=direction)

    assert (test.p, test.as_extreme) == (1.0, test.assignments)


@given(cases(), st.sampled_from(DIRECTIONS))
@settings(max_examples=60)
def test_each_bin_lies_on_one_side_of_the_observed_statistic(case: Case, direction: Direction | None) -> None:
    """So a picture can colour exactly what is at least as extreme."""
    test = randomization_test([case], direction=direction)
    middles = (test.edges[:-1] + test.edges[1:]) / 2
    higher = test.favoured_direction == "increase"
    shaded = test.counts[middles >= test.observed if higher else middles <= test.observed]

    assert shaded.sum() == test.as_extreme - test.empty
    assert test.counts.sum() == test.assignments - test.empty
