"""On data without an effect the rate of rejections is the level, for every design and way to compute p.

The ABAB test on straight trends, cycles and dependent days is in `test_randomization_test.py`.
"""

from collections.abc import Callable

import numpy as np
import pytest

from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.outcome_statistics import Statistic
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import Direction, randomization_test
from americano_pipelines.statistics.reference_set import Case, Schedule
from americano_pipelines_tests.statistics.examples import ABAB
from americano_pipelines_tests.statistics.simulation import dependent_days

LEVEL = 0.05
PHASES = PhaseSchedule(40, ABAB, (6,) * 4, (14,) * 4)
STARTS = PhaseSchedule(14, (False, True), (4, 4), (10, 10))
DESIGNS: dict[str, tuple[list[Schedule], Direction | None]] = {
    "ABAB, two-sided": ([PHASES], None),
    "two ABAB": ([PhaseSchedule(20, ABAB, (4,) * 4, (7,) * 4)] * 2, "decrease"),
    "three AB": ([STARTS] * 3, "increase"),
    "any order": ([Alternation(10, 5, 10, 10)], None),
    "pairs": ([Alternation(14, 1, 2, 14)], "increase"),
    "runs of two at most": ([Alternation(12, 6, 12, 2)], "decrease"),
}


def days(generator: np.random.Generator, number: int) -> np.ndarray:
    """Days that depend on each other, on a curve: a straight trend cancels in the mean of ABAB's phase means."""
    values = generator.normal(size=number)
    for day in range(1, number):
        values[day] += 0.5 * values[day - 1]
    return values + 6 * (np.arange(number) / number) ** 2


def rejected(schedules: list[Schedule], repetitions: int, test: Callable[[list[Case]], float]) -> float:
    """Share of repetitions with p at the level or below, each with an assignment drawn anew."""
    generator = np.random.default_rng(8)
    rejections = 0
    for _ in range(repetitions):
        drawn = [schedule.draw(generator, 1)[0].tolist() for schedule in schedules]
        totals = [s.days for s in schedules]
        cases = [
            Case(days(generator, total), schedule, lengths)
            for total, schedule, lengths in zip(totals, schedules, drawn, strict=True)
        ]
        rejections += test(cases) <= LEVEL
    return rejections / repetitions


@pytest.mark.parametrize("repetitions", [300, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("design", DESIGNS)
def test_each_design_keeps_the_level(design: str, repetitions: int) -> None:
    schedules, direction = DESIGNS[design]
    assignments = int(np.prod([schedule.count for schedule in schedules]))
    # Opposite orders are a tie in a two-sided test, so p comes in steps of two.
    step = 2 if direction is None and isinstance(schedules[0], Alternation) else 1
    nominal = step * np.floor(LEVEL * assignments / step) / assignments

    rate = rejected(schedules, repetitions, lambda cases: randomization_test(cases, direction=direction).p)

    print(f"calibration, {design}: {rate:.4f} of {repetitions}, nominal {nominal:.4f}, N = {assignments}")  # noqa: T201
    assert abs(rate - nominal) <= 3 * np.sqrt(nominal * (1 - nominal) / repetitions)


ABABAC = (False, True, False, True, False, False)
CONDITIONS: dict[str, tuple[Schedule, Statistic]] = {
    "A against baseline": (PHASES, "mean"),
    "A against baseline, medians": (PHASES, "median"),
    "A against baseline, slopes": (PHASES, "slope"),
    "A against baseline, switches": (PHASES, "immediacy"),
    "A against baseline, NAP": (PHASES, "nap"),
    "alternating after a baseline, NAP": (Alternation(24, 1, 2, 24, (True,) * 8 + (False,) * 16), "nap"),
    "alternating after a baseline": (Alternation(24, 1, 2, 24, (True,) * 8 + (False,) * 16), "mean"),
}


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5])
def test_contrasts_and_statistics_keep_the_level(correlation: float) -> None:
    """A against baseline beside an effect of a third condition; the joint assignment is drawn, the pair is tested."""
    generator, repetitions, bounds = np.random.default_rng(11), 400, (4, 12)
    joint = PhaseSchedule(44, ABABAC, (bounds[0],) * 6, (bounds[1],) * 6)
    rejections = dict.fromkeys((*CONDITIONS, "ABABAC"), 0)
    nominal = dict.fromkeys(rejections, 0.0)
    for _ in range(repetitions):
        lengths = joint.draw(generator, 1)[0].tolist()
        starts = (None,) * 5 + (44 - lengths[5],)
        third = PhaseSchedule(44, ABABAC, joint.shortest, joint.longest, (), (True,) * 5 + (False,), starts)
        cases: dict[str, Case] = {"ABABAC": Case(dependent_days(generator, 44, 1, correlation)[:, 0], third, lengths)}
        cases["ABABAC"].values[44 - lengths[5] :] += 5
        for name, (schedule, statistic) in CONDITIONS.items():
            drawn = schedule.draw(generator, 1)[0].tolist()
            cases[name] = Case(
                dependent_days(generator, schedule.days, 1, correlation)[:, 0], schedule, drawn, statistic
            )
        for name, case in cases.items():
            rejections[name] += randomization_test([case], direction="increase").p <= LEVEL
            nominal[name] += np.floor(LEVEL * case.schedule.count) / case.schedule.count / repetitions
    for name, number in rejections.items():
        rate = number / repetitions
        print(f"calibration, {name}, AR(1) {correlation}: {rate:.3f}, nominal {nominal[name]:.3f}")  # noqa: T201
        error = np.sqrt(nominal[name] * (1 - nominal[name]) / repetitions)
        # NAP has many ties, and then rejects less often than the level.
        assert rate <= nominal[name] + 3.5 * error
        assert rate >= nominal[name] - 3.5 * error or "NAP" in name


@pytest.mark.parametrize("repetitions", [500, pytest.param(4000, marks=pytest.mark.slow)])
def test_an_estimated_p_keeps_the_level_however_few_the_draws(repetitions: int) -> None:
    seeds = iter(range(repetitions))

    rate = rejected(
        [PHASES],
        repetitions,
        lambda cases: randomization_test(cases, direction="increase", max_exact=1, draws=19, seed=next(seeds)).p,
    )

    print(f"calibration, 19 draws: {rate:.4f} of {repetitions}, nominal .05, N = {PHASES.count}")  # noqa: T201
    assert abs(rate - LEVEL) <= 3 * np.sqrt(LEVEL * (1 - LEVEL) / repetitions)
