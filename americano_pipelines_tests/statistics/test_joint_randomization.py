"""The test of a multiple baseline: published values, brute force, the other engine, and its error rate."""

from collections.abc import Sequence
from itertools import combinations, permutations, product

import numpy as np
import pytest
from scipy.stats import chi2, norm

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.joint_randomization import (
    MultipleBaseline,
    joint_missing_days,
    joint_test,
    look_up,
    start_blocks,
)
from americano_pipelines.statistics.missing_days import MissingDays
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines.statistics.start_schedules import StartSchedule
from americano_pipelines_tests.statistics.examples import SCAN

_SCHEMES = {
    "independent": StartSchedule((14, 15, 13), ((4, 9), (5, 10), (3, 8))),
    "staggered": StartSchedule((14, 15, 13), ((4, 9), (5, 10), (3, 8)), distance=2),
    "fixed starts": StartSchedule((14, 15, 13), ((4, 4), (7, 7), (10, 10)), permuted=True),
    "windows": StartSchedule((14, 15, 13), ((3, 4), (6, 8), (10, 10)), permuted=True),
}


def _experiment(
    schedule: StartSchedule, seed: int, *, effect: float = 0.0, missing: float = 0.0, rho: float = 0.0
) -> MultipleBaseline:
    """Cases of normal days, AR(1), with starts that were drawn."""
    generator = np.random.default_rng(seed)
    starts = tuple(schedule.draw(generator, 1)[0].tolist())
    values = []
    for days, start in zip(schedule.days, starts, strict=True):
        noise = generator.standard_normal(days)
        for day in range(1, days):
            noise[day] = rho * noise[day - 1] + np.sqrt(1 - rho**2) * noise[day]
        noise[start:] += effect
        noise[generator.random(days) < missing] = np.nan
        values.append(noise)
    return MultipleBaseline(tuple(values), schedule, starts)


def _all_starts(schedule: StartSchedule) -> list[tuple[int, ...]]:
    """Every joint start, by the definition."""
    inside = product(*(range(first, last + 1) for first, last in schedule.windows))
    if schedule.permuted:
        return sorted(
            tuple(starts[window] for window in order)
            for starts in inside
            for order in permutations(range(len(schedule.days)))
        )
    return [
        starts
        for starts in inside
        if all(abs(first - second) >= schedule.distance for first, second in combinations(starts, 2))
    ]


def _statistic(values: Sequence[np.ndarray], starts: Sequence[int]) -> float:
    return float(
        np.mean(
            [np.nanmean(days[start:]) - np.nanmean(days[:start]) for days, start in zip(values, starts, strict=True)]
        )
    )


@pytest.mark.parametrize("name", _SCHEMES)
def test_every_joint_start_is_listed_once_and_drawn_as_often(name: str) -> None:
    schedule = _SCHEMES[name]
    expected = _all_starts(schedule)

    for size in (20, 1000):
        listed = np.concatenate(list(schedule.blocks(size)))
        assert sorted(map(tuple, listed.tolist())) == expected
    assert schedule.count == len(expected)
    assert all(schedule.contains(starts) for starts in expected)
    drawn, times = np.unique(schedule.draw(np.random.default_rng(2), 50_000), axis=0, return_counts=True)
    assert [tuple(starts) for starts in drawn.tolist()] == expected
    share = 50_000 / len(expected)
    assert chi2.sf(((times - share) ** 2 / share).sum(), len(expected) - 1) > 1e-3


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        (((20, 20), ((5, 9),), False, 0), "2 cases need as many windows"),
        (((20, 20), ((5, 9), (0, 9)), False, 0), "treatment cannot start on day 0 to 9 of 20"),
        (((20, 20), ((5, 9), (9, 20)), False, 0), "treatment cannot start on day 9 to 20 of 20"),
        (((20, 12), ((5, 9), (10, 14)), True, 0), "treatment cannot start on day 10 to 14 of 12"),
        (((20, 20), ((5, 9), (9, 12)), True, 0), "do not overlap"),
        (((20, 20), ((5, 9), (10, 12)), True, 2), "is not for permuted cases"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(schedule: tuple[object, ...], problem: str) -> None:
    with pytest.raises(AnalysisError, match=problem):
        StartSchedule(*schedule)  # type: ignore[arg-type]


def test_published_values_of_scan() -> None:
    values = tuple(case.values for case in SCAN)
    experiment = MultipleBaseline(values, StartSchedule((20,) * 3, ((5, 15),) * 3), (5, 5, 5))

    test = joint_test(experiment, direction="increase")

    assert test.assignments == 1331
    assert test.observed == pytest.approx(20.55556, abs=5e-6)
    # The package's own test has one sum of all it computes: p, statistic, z, p of z, mean of the distribution.
    statistics = np.concatenate(
        [look_up(experiment.tables(), starts) for starts in start_blocks(experiment.schedule, None, None)]
    )
    z = (test.observed - statistics.mean()) / statistics.std(ddof=1)
    assert round(test.p + test.observed + z + float(norm.sf(z)) + statistics.mean(), 8) == 40.97299008


@pytest.mark.parametrize("name", _SCHEMES)
def test_p_and_interval_are_those_of_brute_force(name: str) -> None:
    experiment = _experiment(_SCHEMES[name], 5, effect=0.8, missing=0.1)
    differences = np.array([_statistic(experiment.values, starts) for starts in _all_starts(experiment.schedule)])
    observed = _statistic(experiment.values, experiment.starts)

    test = joint_test(experiment, direction=None, level=0.4)

    assert test.observed == pytest.approx(observed)
    higher, lower = (differences >= observed - 1e-12).mean(), (differences <= observed + 1e-12).mean()
    assert (test.p_higher, test.p_lower) == (pytest.approx(higher), pytest.approx(lower))
    assert test.p == pytest.approx(min(1, 2 * min(higher, lower)))
    assert joint_test(experiment, direction="increase").p == pytest.approx(higher)
    # An effect is in the interval exactly when the days without it give no smaller p than the level.
    assert test.interval.low is not None
    assert test.interval.high is not None
    span = test.interval.high - test.interval.low
    for effect, held in ((test.interval.low, True), (test.interval.high, True), (test.interval.low - span, False)):
        nearer = effect + (1e-9 if held else 0) * np.sign(observed - effect)
        less = tuple(days - nearer * on for days, on in zip(experiment.values, experiment.treated(), strict=True))
        p = joint_test(MultipleBaseline(less, experiment.schedule, experiment.starts), direction=None).p
        assert (p > 0.4) is held


def test_independent_starts_are_those_of_the_engine_for_one_case_each() -> None:
    experiment = _experiment(_SCHEMES["independent"], 3, effect=1, missing=0.1)
    cut = (True, False, True)
    experiment = MultipleBaseline(experiment.values, experiment.schedule, experiment.starts, cut)
    cases = [
        Case(
            values,
            PhaseSchedule(days, (False, True), (first, days - last), (last, days - first), (False, is_cut)),
            (start, days - start),
        )
        for values, days, (first, last), start, is_cut in zip(
            experiment.values,
            experiment.schedule.days,
            experiment.schedule.windows,
            experiment.starts,
            cut,
            strict=True,
        )
    ]

    ours, theirs = joint_test(experiment, direction=None), randomization_test(cases, direction=None)

    assert (ours.p, ours.assignments, ours.as_extreme) == (theirs.p, theirs.assignments, theirs.as_extreme)
    assert ours.observed == pytest.approx(theirs.observed)
    assert (ours.interval.low, ours.interval.high) == pytest.approx((theirs.interval.low, theirs.interval.high))
    drawn = joint_test(experiment, direction=None, max_exact=10, draws=20_000, seed=4)
    assert drawn.draws == 20_000
    assert drawn.p_interval is not None
    assert drawn.p_interval[0] <= ours.p <= drawn.p_interval[1]


def test_starts_that_could_not_be_drawn_give_no_test() -> None:
    experiment = _experiment(_SCHEMES["staggered"], 1)
    outside = MultipleBaseline(experiment.values, experiment.schedule, (5, 5, 5))

    test = joint_test(outside, direction=None)

    assert not test.admissible
    assert test.interval.why == "what was observed could not have been drawn"
    with pytest.raises(AnalysisError, match="lie as far apart"):
        joint_test(
            MultipleBaseline(experiment.values, StartSchedule((14, 15, 13), ((4, 5),) * 3, distance=9), (4, 5, 4)),
            direction=None,
        )


def test_no_values_on_missing_days_give_a_p_above_the_bound() -> None:
    schedule = StartSchedule((9, 10), ((3, 6), (3, 7)))
    experiment = _experiment(schedule, 8, effect=2, missing=0.2)
    places = [np.flatnonzero(np.isnan(days)) for days in experiment.values]
    assert 1 <= sum(map(len, places)) <= 5
    test = joint_test(experiment, direction="increase")

    missing = joint_missing_days(experiment, test, level=0.05, seed=0, draws=1000)

    assert isinstance(missing, MissingDays)
    largest = 0.0
    for fills in product(
        *(
            product((np.nanmin(days), np.nanmax(days)), repeat=len(place))
            for days, place in zip(experiment.values, places, strict=True)
        )
    ):
        values = [days.copy() for days in experiment.values]
        for days, place, fill in zip(values, places, fills, strict=True):
            days[place] = fill
        p = joint_test(MultipleBaseline(tuple(values), schedule, experiment.starts), direction="increase").p
        largest = max(largest, p)
    assert missing.worst_case_p is not None
    assert missing.worst_case_bound is not None
    assert test.p <= missing.worst_case_p <= max(largest, test.p) <= missing.worst_case_bound
    assert missing.treatment_missing + missing.baseline_missing == sum(map(len, places))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["staggered", "windows"])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5])
def test_without_an_effect_no_more_than_the_level_is_rejected(name: str, rho: float) -> None:
    schedules = {
        "staggered": StartSchedule((30,) * 3, ((6, 24),) * 3, distance=3),
        "windows": StartSchedule((30,) * 3, ((5, 9), (13, 16), (20, 24)), permuted=True),
    }
    runs = 400
    rejected = sum(
        joint_test(_experiment(schedules[name], seed, rho=rho, missing=0.05), direction=None).p <= 0.05
        for seed in range(runs)
    )
    assert rejected / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
