"""A day in which a phase switches belongs to neither phase, under any assignment."""

from dataclasses import replace

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines_tests.statistics.examples import ABAB

CUT = (False, True, True, True)
SCHEDULE = PhaseSchedule(30, ABAB, (5,) * 4, (11,) * 4, CUT)


def test_every_assignment_leaves_out_its_own_switch_days() -> None:
    values = np.random.default_rng(3).normal(size=30)
    lengths = [row for block in SCHEDULE.blocks(1000) for row in block.tolist()]

    def statistic(phases: list[int]) -> float:
        parts = np.split(values, np.cumsum(phases)[:-1])
        means = [part[cut:].mean() for part, cut in zip(parts, map(int, CUT), strict=True)]
        return float(means[1] + means[3] - means[0] - means[2]) / 2

    expected = np.array([statistic(phases) for phases in lengths])
    test = randomization_test([Case(values, SCHEDULE, lengths[70])], direction="increase")

    assert test.observed == pytest.approx(expected[70])
    assert test.as_extreme == (expected >= expected[70] - 1e-9).sum()


def test_a_phase_of_nothing_but_such_a_day_counts_as_extreme() -> None:
    schedule = PhaseSchedule(12, ABAB, (1,) * 4, (6,) * 4, CUT)
    lengths = [row for block in schedule.blocks(1000) for row in block.tolist()]

    test = randomization_test([Case(np.arange(12.0), schedule, [3, 3, 3, 3])], direction="increase")

    assert test.empty == sum(1 in phases[1:] for phases in lengths)
    assert test.as_extreme >= test.empty > 0
    assert test.smallest_p == (1 + test.empty) / test.assignments


def test_half_of_the_effect_is_taken_on_such_a_day() -> None:
    marks = SCHEDULE.treatment_indicator([7, 8, 8, 7])

    assert marks.tolist() == [0.0] * 7 + [0.5] + [1.0] * 7 + [0.5] + [0.0] * 7 + [0.5] + [1.0] * 6


def test_a_schedule_says_of_each_phase_whether_it_is_cut() -> None:
    with pytest.raises(AnalysisError, match="each phase"):
        replace(SCHEDULE, cut=(True,))


@pytest.mark.parametrize("repetitions", [500, pytest.param(4000, marks=pytest.mark.slow)])
def test_without_an_effect_the_level_is_kept_on_a_steep_trend(repetitions: int) -> None:
    """Leaving out the same days under every assignment rejects a fourth of that, or twice as much on a cycle."""
    generator = np.random.default_rng(77)
    rejections = 0
    for lengths in SCHEDULE.draw(generator, repetitions):
        values = np.arange(30.0) + generator.normal(size=30)
        rejections += randomization_test([Case(values, SCHEDULE, lengths.tolist())], direction="decrease").p <= 0.05

    nominal = np.floor(0.05 * SCHEDULE.count) / SCHEDULE.count
    print(f"calibration, switch days: {rejections / repetitions:.4f} of {repetitions}, nominal {nominal:.4f}")  # noqa: T201
    assert abs(rejections / repetitions - nominal) <= 3 * np.sqrt(nominal * (1 - nominal) / repetitions)
