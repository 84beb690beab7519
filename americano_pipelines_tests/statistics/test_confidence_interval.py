"""The interval of the effect holds exactly the effects that the test does not reject."""

import numpy as np
import pytest
from hypothesis import given, settings

from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines_tests.statistics.examples import ABAB, MORITZ, cases


@given(cases())
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_exactly_the_effects_that_are_not_rejected(case: Case) -> None:
    confidence = 0.6  # small schedules have few assignments
    interval = randomization_test([case], direction=None, confidence=confidence).interval
    assert isinstance(case.schedule, PhaseSchedule)
    marks = case.schedule.treated_days(case.observed)

    def rejected(effect: float) -> bool:
        rest = [Case(case.values - effect * marks, case.schedule, case.observed)]
        tests = [randomization_test(rest, direction=direction) for direction in ("increase", "decrease")]  # type: ignore[arg-type]
        return any(test.p <= (1 - confidence) / 2 for test in tests)

    low, high = (-1e6 if interval.low is None else interval.low), (1e6 if interval.high is None else interval.high)
    margin = 1e-4 * (1 + abs(interval.low or 0) + abs(interval.high or 0))
    assert rejected(low - margin) is (interval.low is not None)
    assert rejected(high + margin) is (interval.high is not None)
    if high - low > 3 * margin:
        assert not rejected(low + margin)
        assert not rejected(high - margin)


@pytest.mark.parametrize("confidence", [0.9, 1 - 0.1])
def test_one_in_twenty_is_enough_for_nine_tenths(confidence: float) -> None:
    schedule = PhaseSchedule(23, ABAB, (5,) * 4, (23,) * 4)
    assert schedule.count == 20
    values = np.repeat([0.0, 9.0, 0.0, 9.0], [5, 6, 6, 6]) + np.random.default_rng(0).normal(size=23)

    interval = randomization_test(
        [Case(values, schedule, [5, 6, 6, 6])], direction=None, confidence=confidence
    ).interval

    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < 9 < interval.high
    wider = randomization_test([Case(values, schedule, [5, 6, 6, 6])], direction=None, confidence=0.95).interval
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
        days = generator.normal(size=40) + 0.05 * np.arange(40) + 3 * schedule.treated_days(row.tolist())
        interval = randomization_test([Case(days, schedule, row.tolist())], direction=None, confidence=0.9).interval
        held += (interval.low is None or interval.low <= 3) and (interval.high is None or interval.high >= 3)

    number = schedule.count
    nominal = 1 - 2 * (number * 5 // 100) / number
    print(f"coverage: {held / repetitions:.4f} of {repetitions}, nominal {nominal:.4f}, N = {number}")  # noqa: T201
    assert abs(held / repetitions - nominal) <= 3 * np.sqrt(nominal * (1 - nominal) / repetitions)
