"""Pairs of conditions and statistics: p by brute force over all assignments that agree on the other days."""

from itertools import product

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.criterion_schedules import CriterionSchedule
from americano_pipelines.statistics.holm_correction import holm
from americano_pipelines.statistics.outcome_statistics import Statistic
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines_tests.statistics.examples import ABAB

NAN = float("nan")
# Baseline, A, baseline, B, baseline, and the same in days.
ORDER, LENGTHS = "0A0B0", (5, 4, 6, 5, 4)
VALUES = np.random.default_rng(5).normal(size=24).round(2) + np.repeat([0, 2, 0, 3, 0], LENGTHS)


def labels(lengths: tuple[int, ...]) -> str:
    return "".join(side * days for side, days in zip(ORDER, lengths, strict=True))


def every(bounds: tuple[int, int], total: int = 24) -> list[tuple[int, ...]]:
    return [row for row in product(range(bounds[0], bounds[1] + 1), repeat=5) if sum(row) == total]


def schedule_of(first: str, second: str, bounds: tuple[int, int]) -> PhaseSchedule:
    compared = [side in first + second for side in ORDER]
    starts = [
        None if own and before else day
        for own, before, day in zip(compared, [True, *compared], np.cumsum([0, *LENGTHS]).tolist(), strict=False)
    ]
    return PhaseSchedule(
        24,
        tuple(side == first for side in ORDER),
        (bounds[0],) * 5,
        (bounds[1],) * 5,
        (),
        tuple(compared),
        tuple(starts),
    )


@pytest.mark.parametrize(("first", "second"), ["A0", "B0", "BA"])
def test_a_contrast_is_compared_over_what_agrees_on_the_other_days(first: str, second: str) -> None:
    schedule = schedule_of(first, second, (2, 9))
    kept = [day if day not in first + second else "." for day in labels(LENGTHS)]
    agreeing = [row for row in every((2, 9))
                if [day if day not in first + second else "." for day in labels(row)] == kept]  # fmt: skip

    def statistic(row: tuple[int, ...]) -> float:
        means = [part.mean() for part in np.split(VALUES, np.cumsum(row)[:-1])]
        level = {side: np.mean([m for m, own in zip(means, ORDER, strict=True) if own == side]) for side in "0AB"}
        return float(level[first] - level[second])

    observed = statistic(LENGTHS)
    higher = sum(statistic(row) >= observed - 1e-9 for row in agreeing)

    assert [tuple(row) for block in schedule.blocks(7) for row in block.tolist()] == agreeing
    assert schedule.count == len(agreeing)
    assert all(schedule.contains(row) is (row in agreeing) for row in every((2, 9)))
    drawn = {tuple(row) for row in schedule.draw(np.random.default_rng(1), 500).tolist()}
    assert drawn <= set(agreeing)
    test = randomization_test([Case(VALUES, schedule, LENGTHS)], direction="increase")
    assert (test.observed, test.p) == (pytest.approx(observed), pytest.approx(higher / len(agreeing)))
    if first + second == "BA":
        assert len(agreeing) == 1


def test_a_phase_that_has_to_begin_on_no_day_is_refused() -> None:
    with pytest.raises(AnalysisError, match="has to begin on one of 24 days"):
        PhaseSchedule(24, ABAB, (2,) * 4, (9,) * 4, (), (), (0, 30, None, None))


SIMPLE = PhaseSchedule(16, ABAB, (2,) * 4, (7,) * 4, (False, False, True, False))
SIMPLE_VALUES = np.array([3, 1, 2, NAN, 6, 5, 7, 5, 4, 2, 1, 2, 6, 8, NAN, 7])


def by_hand(statistic: Statistic, phases: list[np.ndarray]) -> float:
    """The statistic of baseline, treatment, baseline, treatment, written once more."""
    present = [phase[~np.isnan(phase)] for phase in phases]
    if statistic == "nap":
        pairs = [(t > b) + 0.5 * (t == b) for into in (1, 3) for t in present[into] for out in (0, 2) for b in present[out]]  # fmt: skip # noqa: E501
        return float(np.mean(pairs) - 0.5) if all(phase.size for phase in present) else NAN
    if statistic == "immediacy":
        switches = [np.nanmean(phases[k][:3]) - np.nanmean(phases[k - 1][-3:]) for k in (1, 2, 3)]
        return float(np.mean([switches[0], -switches[1], switches[2]]))
    level = {
        "mean": np.mean,
        "median": np.median,
        "slope": lambda _: None,
    }[statistic]
    levels = [level(phase) for phase in present]
    if statistic == "slope":
        levels = [
            np.polyfit(np.flatnonzero(~np.isnan(phase)), own, 1)[0] if own.size > 1 else NAN
            for phase, own in zip(phases, present, strict=True)
        ]
    return float(np.mean([levels[1], levels[3]]) - np.mean([levels[0], levels[2]]))


@pytest.mark.parametrize("statistic", ["mean", "median", "slope", "immediacy", "nap"])
def test_each_statistic_of_phases_has_the_p_of_brute_force(statistic: Statistic) -> None:
    rows = [row for row in product(range(2, 8), repeat=4) if sum(row) == 16]

    def value(row: tuple[int, ...]) -> float:
        ends = np.cumsum(row)
        phases = [SIMPLE_VALUES[end - days + (place == 2) : end]
                  for place, (days, end) in enumerate(zip(row, ends, strict=True))]  # fmt: skip
        return by_hand(statistic, phases)

    observed, each = value((4, 4, 4, 4)), np.array([value(row) for row in rows])
    case = Case(SIMPLE_VALUES, SIMPLE, (4, 4, 4, 4), statistic)
    assert case.evaluate(np.array(rows)) == pytest.approx(each, nan_ok=True)
    test = randomization_test([case], direction="increase")
    assert test.observed == pytest.approx(observed)
    assert test.p == pytest.approx(np.mean(np.isnan(each) | (each >= observed - 1e-9)))
    assert (test.interval.why is not None and "not linear" in test.interval.why) is (statistic in {"median", "nap"})


@pytest.mark.parametrize("statistic", ["slope", "immediacy"])
def test_the_interval_of_a_linear_statistic_holds_what_the_test_leaves(statistic: Statistic) -> None:
    schedule, lengths = PhaseSchedule(40, (False, True), (4, 4), (36, 36)), (20, 20)
    effect = np.repeat([0.0, 1.0], 20) * (np.arange(40) - 20 if statistic == "slope" else 1)
    values = np.random.default_rng(2).normal(size=40) + 3 * effect

    def p(shift: float) -> float:
        return randomization_test([Case(values - shift * effect, schedule, lengths, statistic)], direction=None,
                                  level=0.2).p  # fmt: skip

    interval = randomization_test([Case(values, schedule, lengths, statistic)], direction=None, level=0.2).interval
    assert interval.low is not None
    assert interval.high is not None
    left = [shift for shift in np.linspace(0, 6, 121) if p(shift) > 0.2]
    assert interval.low - 0.05 <= min(left) <= max(left) <= interval.high + 0.05
    assert p(interval.low - 1e-6) <= 0.2 >= p(interval.high + 1e-6)
    assert min(p(interval.low + 1e-6), p(interval.high - 1e-6)) > 0.2


@pytest.mark.parametrize("statistic", ["mean", "median", "nap"])
def test_each_statistic_of_alternating_days_has_the_p_of_brute_force(statistic: Statistic) -> None:
    # Two days before and one amid them are held; runs of two at most, counted anew after a day that is held.
    held = (True, True, False, False, False, False, True, False, False, False, False)
    values = np.array([9, 9, 1, 4, 2, 5, 9, NAN, 2, 3, 6.0])
    observed = (0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1)
    schedule = Alternation(11, 2, 4, 2, held)

    def admitted(order: tuple[int, ...]) -> bool:
        free = [day for day, stays in zip(order, held, strict=True) if not stays]
        text = "".join("h" if stays else str(day) for day, stays in zip(order, held, strict=True))
        return (not any(day and stays for day, stays in zip(order, held, strict=True))
                and sum(free[:4]) == sum(free[4:]) == 2 and "000" not in text and "111" not in text)  # fmt: skip

    rows = [row for row in product((0, 1), repeat=11) if admitted(row)]

    def value(row: tuple[int, ...]) -> float:
        mark, free = np.array(row), ~np.array(held) & ~np.isnan(values)
        high, low = values[free & (mark == 1)], values[free & (mark == 0)]
        if statistic == "nap":
            return float(np.mean(np.sign(high[:, None] - low)) / 2)
        return float(getattr(np, statistic)(high) - getattr(np, statistic)(low))

    case = Case(values, schedule, observed, statistic)
    assert [tuple(map(int, row)) for block in schedule.blocks(5) for row in block.tolist()] == rows
    assert schedule.contains(observed)
    assert not schedule.contains((1, *observed[1:]))
    assert case.evaluate(np.array(rows)) == pytest.approx([value(row) for row in rows])
    test = randomization_test([case], direction="increase")
    assert test.p == np.mean([value(row) >= value(observed) - 1e-9 for row in rows])
    with pytest.raises(AnalysisError, match="compared by mean, median, nap, not by slope"):
        randomization_test([Case(values, schedule, observed, "slope")], direction=None)


def test_the_correction_is_that_of_holm() -> None:
    # As p.adjust of R gives it.
    assert holm([0.03, 0.01, 0.5, 0.01, 0.02]) == pytest.approx([0.06, 0.05, 0.5, 0.05, 0.06])


def test_a_changing_criterion_has_the_p_of_brute_force() -> None:
    criteria, lengths = (None, 3.0, 5.0, 4.0), (4, 4, 4, 4)
    schedule = CriterionSchedule(16, (False, True, True, True), (2,) * 4, (7,) * 4, SIMPLE.cut, criteria=criteria)
    rows = [row for row in product(range(2, 8), repeat=4) if sum(row) == 16]

    def distance(row: tuple[int, ...]) -> float:
        ends = np.cumsum(row)
        far = [
            np.abs(SIMPLE_VALUES[end - days + (place == 2) : end] - (criteria[place] or 0.0))
            for place, (days, end) in enumerate(zip(row, ends, strict=True))
        ]
        return float(np.nanmean(np.concatenate(far[1:])))

    each = np.array([distance(row) for row in rows])
    test = randomization_test([Case(SIMPLE_VALUES, schedule, lengths, "distance")], direction="decrease")

    assert test.observed == pytest.approx(distance(lengths))
    assert test.p == np.mean(each <= distance(lengths) + 1e-9)
    assert test.smallest_p == pytest.approx(1 / len(rows))
    with pytest.raises(AnalysisError, match="at least two criteria that differ"):
        CriterionSchedule(16, (False, True), (2, 2), (9, 9), criteria=(None, 3.0))
