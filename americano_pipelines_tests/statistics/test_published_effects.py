"""Effects against published numbers: SingleCaseES (its R code, run on these days), scan, and the papers themselves."""

from dataclasses import replace

import numpy as np
import pytest

from americano_pipelines.statistics.combined_effects import combine
from americano_pipelines.statistics.effect_sizes import OutcomeScale, Pair, compare
from americano_pipelines.statistics.overlap_measures import DatedValues, baseline_corrected_tau
from americano_pipelines.statistics.phase_windows import Condition
from americano_pipelines.statistics.randomization_test import Direction

# Parker, Vannest and Davis (2011); Tarlow's days as SingleCaseES tests them; WWC Handbook 5.0, figure 17.
PARKER = [20, 20, 26, 25, 22, 23], [28, 25, 24, 27, 30, 30, 29]
FALLING = [33, 25, 17, 25, 19, 21, 19, 14, 19, 17], [14, 15, 15, 9, 12, 7, 10, 6, 5, 2, 2, 3, 5, 4]
FIGURE_17 = [15, 10, 14, 17, 13, 12], [2, 1, 1, 0, 0], [9, 9, 11, 15, 20], [1, 0, 4, 0, 1]
# scan, exampleAB: Johanna.
JOHANNA = [54, 53, 56, 58, 52], [61, 62, 71, 66, 64, 78, 70, 74, 82, 77, 86, 68, 80, 86, 87]
# Ferron et al. (2020) and English (1997), as SingleCaseES tests them: goal 21.25, PoGO in the paper.
ENGLISH = {
    "Sue": ([4, 0, 3, 3, 4], [16, 19, 13, 15, 22, 17, 20], 79.1),
    "Don": ([1, 6, 0, 0, 6, 0], [5, 20, 17, 15, 23, 12], 69),
    "Jake": ([0, 1, 4, 2, 4, 3, 3, 0, 0, 4, 0], [8, 5, 11, 9, 7, 13], 35.8),
    "Pete": ([8, 4, 0, 0, 5, 8, 0, 0, 3, 2], [29, 31, 25, 13, 29, 9, 17, 29], 108.2),
}


def dated(*phases: list[int]) -> list[DatedValues]:
    ends = np.cumsum([len(phase) for phase in phases]).tolist()
    return [
        DatedValues(np.array(phase, dtype=np.float64), np.arange(end - len(phase), end))
        for phase, end in zip(phases, ends, strict=True)
    ]


def pairs_of(*phases: list[int], improvement: Direction = "increase", scale: OutcomeScale) -> list[Pair]:
    conditions: list[Condition] = ["baseline", "treatment"]
    return compare(
        [f"phase {number}" for number in range(len(phases))],
        conditions * (len(phases) // 2),
        dated(*phases),
        improvement=improvement,
        scale=scale,
    )


def test_the_log_odds_ratio_is_that_of_singlecasees() -> None:
    (pair,) = pairs_of(*PARKER, scale=OutcomeScale(highest=100))
    (share,) = compare(
        ["A", "B"],
        ["baseline", "treatment"],
        [DatedValues(phase.values / 100, phase.days) for phase in dated(*PARKER)],
        improvement="decrease",
        scale=OutcomeScale(highest=1),
    )

    assert pair.log_odds_ratio is not None
    assert share.log_odds_ratio is not None
    assert pair.log_odds_ratio.value == pytest.approx(0.2609312064, abs=1e-9)
    assert pair.log_odds_ratio.se == pytest.approx(0.07356709733, abs=1e-9)
    assert share.log_odds_ratio.value == pytest.approx(pair.log_odds_ratio.value), "not turned by the direction"


@pytest.mark.parametrize(("before", "after"), [([0, 0, 0], [3, 4, 5]), ([1, 2, 3], [100, 100, 100]), ([-1, 2], [3, 4]),
                                               ([1, 2], [101, 3]), ([5], [7, 8])])  # fmt: skip
def test_odds_of_nothing_and_of_what_is_beyond_the_scale_are_undefined(before: list[int], after: list[int]) -> None:
    (pair,) = pairs_of(before, after, scale=OutcomeScale(highest=100))

    assert pair.log_odds_ratio is None


@pytest.mark.parametrize("name", ENGLISH)
def test_the_percent_of_goal_obtained_is_that_of_the_paper(name: str) -> None:
    before, after, published = ENGLISH[name]
    (pair,) = pairs_of(before, after, scale=OutcomeScale(goal=21.25))

    assert pair.goal_obtained is not None
    # The paper read the days off a figure.
    assert pair.goal_obtained.value == pytest.approx(published, abs=0.5)


@pytest.mark.parametrize(
    ("phases", "goal", "improvement", "value", "se"),
    [
        (PARKER, 30, "increase", 66.8831168831, 20.74512789584),
        (FALLING, 0, "decrease", 62.74777854, 11.48277468),
        (FIGURE_17[:2], 0, "decrease", 94.074074074, 10.45882012753),
    ],
)
def test_its_error_is_singlecasees_less_the_shared_covariance(
    phases: tuple[list[int], list[int]], goal: float, improvement: Direction, value: float, se: float
) -> None:
    (pair,) = pairs_of(*phases, improvement=improvement, scale=OutcomeScale(goal=goal))
    baseline = np.array(phases[0], dtype=np.float64)
    shared = 2 * value / 100 * baseline.var(ddof=1) / baseline.size / (goal - baseline.mean()) ** 2

    assert pair.goal_obtained is not None
    assert pair.goal_obtained.value == pytest.approx(value, abs=1e-7)
    assert pair.goal_obtained.se**2 + 1e4 * shared == pytest.approx(se**2, rel=1e-7)


def test_a_goal_that_the_baseline_has_reached_leaves_no_percent_of_it() -> None:
    reached = pairs_of(*PARKER, scale=OutcomeScale(goal=20))
    turned = pairs_of(*PARKER, improvement="decrease", scale=OutcomeScale(goal=30))

    assert (reached[0].goal_obtained, turned[0].goal_obtained) == (None, None)


def test_the_error_of_the_percent_of_goal_is_what_simulated_days_show() -> None:
    generator = np.random.default_rng(6)
    before, after = generator.normal(20, 2, (4000, 12)), generator.normal(27, 2, (4000, 12))
    shares = (after.mean(axis=1) - before.mean(axis=1)) / (30 - before.mean(axis=1))
    (pair,) = compare(
        ["A", "B"],
        ["baseline", "treatment"],
        # Days with exactly these means and variances.
        [DatedValues(level + 2 * np.sqrt(11 / 12) * np.tile([1.0, -1], 6), np.arange(12)) for level in (20, 27)],
        improvement="increase",
        scale=OutcomeScale(goal=30),
    )

    assert pair.goal_obtained is not None
    assert pair.goal_obtained.se == pytest.approx(100 * shares.std(), rel=0.05)


@pytest.mark.parametrize(
    ("phases", "improvement", "tau", "p", "removed", "always"),
    [
        (PARKER, "increase", 0.623609564462, 0.0120605976942, False, 0.2857142857),
        (FALLING, "decrease", -0.143486010796, 0.411948325057, True, -0.2),
        (JOHANNA, "increase", 0.629940788349, 0.00105849289014, False, None),
        (([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), "increase", 0, None, True, 0),
    ],
)
def test_corrected_tau_is_scans_and_without_pretest_singlecasees(
    phases: tuple[list[int], list[int]],
    improvement: Direction,
    tau: float,
    p: float | None,
    removed: bool,  # noqa: FBT001 - an expectation
    always: float | None,
) -> None:
    corrected = baseline_corrected_tau(*dated(*phases), improvement)

    assert corrected is not None
    assert corrected.value == pytest.approx(tau, abs=1e-9)
    assert corrected.p == (None if p is None else pytest.approx(p, rel=1e-9))
    assert corrected.trend_removed is removed
    assert always is None or corrected.always_removed == pytest.approx(always, abs=1e-9)
    # Tarlow (2017).
    assert corrected.se == pytest.approx((2 / sum(map(len, phases)) * (1 - tau**2)) ** 0.5)


# SingleCaseES, batch_calc_ES(aggregate = pair, weighting = "equal") of figure 17; its errors of standardised
# differences are other ones, see `Standardized`.
def test_the_combined_effects_are_those_of_singlecasees() -> None:
    pairs = pairs_of(*FIGURE_17, improvement="decrease", scale=OutcomeScale(ratio=True, goal=0))
    effects = combine(pairs)

    assert effects["overlap.nap"].value == 1
    assert effects["overlap.nap"].se == pytest.approx(0.02260776661, abs=1e-10)
    assert effects["overlap.nap"].interval[1] == 1
    assert effects["log_response_ratio"].value == pytest.approx(-2.456164708, abs=1e-8)
    assert effects["log_response_ratio"].se == pytest.approx(0.39567825577, abs=1e-10)
    assert effects["smd_pooled.value"].value == pytest.approx(4.549316331, abs=1e-8)
    assert effects["goal_obtained.value"].value == pytest.approx(92.349537037, abs=1e-8)
    assert {effect.pairs for effect in effects.values()} == {2}
    assert "log_odds_ratio.value" not in effects
    low, high = effects["log_response_ratio"].interval
    # Wider than the published normal interval, which is -3.2318 to -1.6806.
    assert low < -3.2316798383
    assert high > -1.680649577
    assert (low + high) / 2 == pytest.approx(-2.456164708, abs=1e-8)


def test_one_pair_has_welchs_interval_and_a_pair_without_an_error_none() -> None:
    from scipy.stats import ttest_ind

    (pair,) = pairs_of(*FIGURE_17[:2], scale=OutcomeScale())
    even = pairs_of([1, 2, 3, 4], [5, 7, 9, 11], scale=OutcomeScale())

    # Of two phases of one variance and length Welch's degrees of freedom are m + n - 2.
    welch = ttest_ind([5, 6, 7, 8], [1, 2, 3, 4]).confidence_interval()
    assert combine(pairs_of([1, 2, 3, 4], [5, 6, 7, 8], scale=OutcomeScale()))[
        "mean_difference"
    ].interval == pytest.approx((welch.low, welch.high))
    assert combine(even)["mean_difference"].se == even[0].mean_difference_se
    assert "mean_difference" not in combine([pair, replace(pair, mean_difference_se=None)])
    assert combine([]) == {}
    assert combine(pairs_of([3, 3, 3], [3, 3, 3], scale=OutcomeScale())).keys() == {"overlap.nap"}


@pytest.mark.slow
@pytest.mark.parametrize(("phi", "low", "high"), [(0, 0.9, 0.99), (0.5, 0.68, 0.88)])
def test_the_combined_interval_covers_as_claimed_for_independent_days(phi: float, low: float, high: float) -> None:
    generator = np.random.default_rng(9)
    held, repetitions = 0, 200
    for _ in range(repetitions):
        days = np.empty(28)
        days[0] = generator.normal() / np.sqrt(1 - phi**2)
        for day in range(1, 28):
            days[day] = phi * days[day - 1] + generator.normal()
        phases = [DatedValues(days[start : start + 7], np.arange(start, start + 7)) for start in range(0, 28, 7)]
        conditions: list[Condition] = ["baseline", "treatment"] * 2  # type: ignore[list-item]
        pairs = compare(list("ABCD"), conditions, phases, improvement="increase", scale=OutcomeScale())
        interval = combine(pairs)["mean_difference"].interval
        held += interval[0] <= 0 <= interval[1]

    print(f"combined mean difference, AR(1) {phi}: {held} of {repetitions}")  # noqa: T201
    assert low < held / repetitions < high
