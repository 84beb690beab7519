"""The reference set: the statistic of every assignment, or of draws from them."""

from itertools import combinations, product

import numpy as np
import pytest

from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.outcome_statistics import evaluator
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.reference_set import clopper_pearson, draw_assignments, enumerate_assignments

DAYS = np.array([3.0, 1.0, 4.0, np.nan, 5.0, 9.0, 2.0, 6.0])


def test_orders_of_days_have_the_difference_of_their_plain_means() -> None:
    def difference(treated: tuple[int, ...]) -> float:
        mark = np.isin(np.arange(DAYS.size), treated)
        return float(np.nanmean(DAYS[mark]) - np.nanmean(DAYS[~mark]))

    schedule = Alternation(8, 4, 8, 8)
    (differences,) = enumerate_assignments([schedule], [[evaluator("mean", schedule, DAYS)]])

    assert np.sort(differences) == pytest.approx(np.sort([difference(days) for days in combinations(range(8), 4)]))


def test_each_start_of_one_case_meets_each_start_of_the_others() -> None:
    schedule = PhaseSchedule(8, (False, True), (2, 2), (6, 6))
    others = [DAYS, DAYS[::-1].copy(), DAYS**2]
    single = [
        [float(np.nanmean(values[start:]) - np.nanmean(values[:start])) for start in range(2, 7)] for values in others
    ]

    (means,) = enumerate_assignments([schedule] * 3, [[evaluator("mean", schedule, values)] for values in others])

    assert means == pytest.approx([np.mean(each) for each in product(*single)])


def test_draws_come_from_the_whole_set_in_its_proportions() -> None:
    schedule = PhaseSchedule(300, (False, True), (5, 5), (295, 295))
    statistic = evaluator("mean", schedule, np.random.default_rng(1).normal(size=300))
    (every,) = enumerate_assignments([schedule], [[statistic]])

    (some,) = draw_assignments([schedule], [[statistic]], seed=4, draws=70_000)  # more than one block

    assert some.size == 70_000
    assert np.isin(np.round(some, 9), np.round(every, 9)).all()
    assert np.unique(np.round(some, 9)).size == np.unique(np.round(every, 9)).size
    assert some.mean() == pytest.approx(every.mean(), abs=4 * every.std() / np.sqrt(70_000))


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 200)])
def test_the_interval_of_an_estimated_p_leaves_half_a_percent_each_side(successes: int, trials: int) -> None:
    from scipy.stats import binom

    low, high = clopper_pearson(successes, trials)

    assert low == 0 if successes == 0 else binom.sf(successes - 1, trials, low) == pytest.approx(0.005)
    assert high == 1 if successes == trials else binom.cdf(successes, trials, high) == pytest.approx(0.005)
