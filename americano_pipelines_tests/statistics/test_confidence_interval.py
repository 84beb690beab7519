"""The interval of the effect holds exactly the effects that the test does not reject."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from americano_pipelines.statistics.effect_interval import TwoSided, rejects
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines_tests.statistics.examples import ABAB, MORITZ, cases

WAYS = st.sampled_from(get_args(TwoSided))


@given(cases(), WAYS)
@settings(max_examples=120, deadline=None)
def test_the_interval_holds_exactly_the_effects_that_are_not_rejected(case: Case, two_sided: TwoSided) -> None:
    level = 0.4  # small schedules have few assignments
    interval = randomization_test([case], direction=None, level=level, two_sided=two_sided).interval
    assert isinstance(case.schedule, PhaseSchedule)
    marks = case.schedule.treatment_indicator(case.observed)

    def rejected(effect: float) -> bool:
        rest = [Case(case.values - effect * marks, case.schedule, case.observed)]
        return randomization_test(rest, direction=None, two_sided=two_sided).p <= level

    low, high = (-1e6 if interval.low is None else interval.low), (1e6 if interval.high is None else interval.high)
    margin = 1e-4 * (1 + abs(interval.low or 0) + abs(interval.high or 0))
    assert rejected(low - margin) is (interval.low is not None)
    assert rejected(high + margin) is (interval.high is not None)
    if high - low > 3 * margin:
        assert not rejected(low + margin)
        assert not rejected(high - margin)


@given(cases(), WAYS, st.sampled_from([0.05, 0.1, 0.2, 1 - 0.7, 0.5]), st.sampled_from([1, 10**6]))
@settings(max_examples=200, deadline=None)
def test_p_is_at_the_level_exactly_where_the_interval_leaves_0_out(
    case: Case, two_sided: TwoSided, level: float, max_exact: int
) -> None:
    test = randomization_test([case], direction=None, level=level, two_sided=two_sided, max_exact=max_exact, draws=59)

    assert rejects(test.p, level) is not test.interval.holds_zero


def test_ties_do_not_part_p_and_interval() -> None:
    """Statistics that differ by rounding are ties: a bound of 1e-17 would leave 0 out where p counts them."""
    values = 0.1 * np.array([3, 1, 2, 3, 1, 2, 7, 8, 9, 7, 8, 9, 3, 1, 2, 3, 1, 2, 7, 8, 9, 7, 8, 9], dtype=np.float64)
    case = Case(values, PhaseSchedule(24, ABAB, (3,) * 4, (9,) * 4), [6, 6, 6, 6])
    whole = randomization_test([case], direction=None)
    levels = np.unique([k / whole.assignments for k in range(1, whole.assignments)])

    for level in levels:
        test = randomization_test([case], direction=None, level=float(level))
        assert rejects(test.p, float(level)) is not test.interval.holds_zero


@pytest.mark.parametrize("level", [0.1, 1 - 0.9])
def test_one_in_twenty_on_each_side_is_enough_for_nine_tenths(level: float) -> None:
    schedule = PhaseSchedule(23, ABAB, (5,) * 4, (23,) * 4)
    assert schedule.count == 20
    values = np.repeat([0.0, 9.0, 0.0, 9.0], [5, 6, 6, 6]) + np.random.default_rng(0).normal(size=23)

    interval = randomization_test([Case(values, schedule, [5, 6, 6, 6])], direction=None, level=level).interval

    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < 9 < interval.high
    wider = randomization_test([Case(values, schedule, [5, 6, 6, 6])], direction=None).interval
    assert (wider.low, wider.high) == (None, None)


def test_the_interval_comes_in_the_outcomes_units() -> None:
    plain, scaled = (
        randomization_test([Case(factor * MORITZ.values, MORITZ.schedule, MORITZ.observed)], direction=None).interval
        for factor in (1, 60)
    )

    assert plain.low is not None
    assert plain.high is not None
    assert plain.low < 12.44881 < plain.high
    assert (scaled.low, scaled.high) == (pytest.approx(60 * plain.low), pytest.approx(60 * plain.high))


@pytest.mark.slow
def test_it_holds_the_true_effect_as_often_as_it_claims() -> None:
    schedule, generator, repetitions = PhaseSchedule(40, ABAB, (6,) * 4, (14,) * 4), np.random.default_rng(9), 2000
    held = 0
    for row in schedule.draw(generator, repetitions):
        days = generator.normal(size=40) + 0.05 * np.arange(40) + 3 * schedule.treatment_indicator(row.tolist())
        interval = randomization_test([Case(days, schedule, row.tolist())], direction=None, level=0.1).interval
        held += (interval.low is None or interval.low <= 3) and (interval.high is None or interval.high >= 3)

    number = schedule.count
    nominal = 1 - 2 * (number * 5 // 100) / number
    print(f"coverage: {held / repetitions:.4f} of {repetitions}, nominal {nominal:.4f}, N = {number}")  # noqa: T201
    assert abs(held / repetitions - nominal) <= 3 * np.sqrt(nominal * (1 - nominal) / repetitions)
