"""Effect sizes against published numbers, and properties that hold for any data."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from americano_pipelines.statistics.effect_sizes import OutcomeScale, combined, compare, smd_baseline, smd_pooled
from americano_pipelines.statistics.overlap_measures import DatedValues, baseline_corrected_tau, overlap

# Published: Parker, Vannest and Davis (2011), recomputed by R's SingleCaseES.
BASELINE = np.array([20, 20, 26, 25, 22, 23], dtype=np.float64)
TREATMENT = np.array([28, 25, 24, 27, 30, 30, 29], dtype=np.float64)
# Published: WWC Handbook 5.0, figure 17; fewer is better.
FIGURE_17 = {
    "baseline_1": [15, 10, 14, 17, 13, 12],
    "treatment_1": [2, 1, 1, 0, 0],
    "baseline_2": [9, 9, 11, 15, 20],
    "treatment_2": [1, 0, 4, 0, 1],
}
PHASES = [np.array(values, dtype=np.float64) for values in FIGURE_17.values()]
CONDITIONS = ["baseline", "treatment", "baseline", "treatment"]
values = st.lists(st.integers(1, 60).map(float), min_size=2, max_size=12).map(np.array)


def dated(*phases: np.ndarray) -> list[DatedValues]:
    """Phases whose days follow each other."""
    ends = np.cumsum([phase.size for phase in phases]).tolist()
    return [DatedValues(phase, np.arange(end - phase.size, end)) for phase, end in zip(phases, ends, strict=True)]


def test_published_overlap() -> None:
    sizes = overlap(BASELINE, TREATMENT, "increase")

    assert sizes is not None
    assert sizes.nap == pytest.approx(0.9166667, abs=1e-7)
    assert sizes.nap_se == pytest.approx(0.06900656, abs=1e-8)
    assert sizes.nap_interval == pytest.approx((0.5973194, 0.9859977), abs=1e-6)
    assert sizes.tau == pytest.approx(0.8333333, abs=1e-7)
    assert sizes.tau_u == pytest.approx(0.7380952, abs=1e-7)
    assert sizes.pnd == pytest.approx(0.7142857, abs=1e-7)
    assert sizes.pem == 1
    assert sizes.pand == pytest.approx(1 - 2 / 13)
    assert sizes.ird == pytest.approx(6 / 7 - 1 / 6)


def test_published_baseline_corrected_tau() -> None:
    """Tarlow (2017): a line that goes on is no effect; 33 ... 4 as in SingleCaseES, recomputed below."""
    line = dated(np.arange(1.0, 6), np.arange(6.0, 11))
    before = np.array([33.0, 25, 17, 25, 19, 21, 19, 14, 19, 17])
    after = np.array([14.0, 15, 15, 9, 12, 7, 10, 6, 5, 2, 2, 3, 5, 4])

    straight = baseline_corrected_tau(*line, "increase")
    falling = baseline_corrected_tau(*dated(before, after), "decrease")
    flat = baseline_corrected_tau(*dated(BASELINE, TREATMENT), "increase")

    assert straight is not None
    assert falling is not None
    assert flat is not None
    assert (straight.value, straight.trend_removed) == (0, True)
    assert falling.trend_removed
    assert falling.value == pytest.approx(-corrected_by_hand(before, after))
    assert not flat.trend_removed
    # Kendall's tau-b without a correction: S / sqrt of the pairs that are no ties, S = 38 - 3.
    assert flat.value == pytest.approx(35 / np.sqrt(42 * (78 - 3)))


def corrected_by_hand(before: np.ndarray, after: np.ndarray) -> float:
    """Pair by pair in plain Python."""
    pairs = [(i, j) for j in range(before.size) for i in range(j)]
    slope = float(np.median([(before[j] - before[i]) / (j - i) for i, j in pairs]))
    rest = [float(value) - slope * day for day, value in enumerate(np.concatenate((before, after)))]
    first, second = rest[: before.size], rest[before.size :]
    score = sum((b > a + 1e-9) - (b < a - 1e-9) for a in first for b in second)
    days = len(rest)
    ties = sum(abs(rest[i] - rest[j]) < 1e-9 for j in range(days) for i in range(j))
    return float(score / np.sqrt(before.size * after.size * (days * (days - 1) / 2 - ties)))


def test_a_baseline_after_treatment_and_empty_days_keep_their_place() -> None:
    days = np.arange(30)
    line = 3.0 * days
    early, late = DatedValues(line[:10], days[:10]), DatedValues(line[12:][::2], days[12:][::2])

    for baseline, treatment in ((early, late), (late, early)):
        tau = baseline_corrected_tau(baseline, treatment, "increase")
        assert tau is not None
        assert tau.value == 0


@given(values, values)
@settings(max_examples=60, deadline=None)
def test_the_fewest_days_are_removed(before: np.ndarray, after: np.ndarray) -> None:
    sizes = overlap(before, after, "increase")
    cuts = [-np.inf, *before.tolist(), *after.tolist()]
    fewest = min(sum(a > cut for a in before) + sum(b <= cut for b in after) for cut in cuts)

    assert sizes is not None
    assert sizes.pand == pytest.approx(1 - fewest / (before.size + after.size))
    assert 0 <= sizes.pem <= 1


@pytest.mark.parametrize(("m", "n"), [(6, 5), (2, 2), (15, 8)])
def test_the_interval_of_full_overlap_or_none_is_no_point(m: int, n: int) -> None:
    # The equation divided by its root t = 1 and freed of fractions: what is left is a cubic.
    h, z = (m + n) / 2 - 1, 1.959963984540054
    t = np.polynomial.Polynomial([0, 1])
    cubic = m * n * (1 - t) * (2 - t) * (1 + t) - z**2 * t * (2 + h + (1 + 2 * h) * t * (1 - t))
    (root,) = (
        float(candidate.real) for candidate in cubic.roots() if abs(candidate.imag) < 1e-9 and 0 < candidate.real < 1
    )

    full = overlap(np.arange(m) * 1.0, 100.0 + np.arange(n), "increase")
    none = overlap(np.arange(m) * 1.0, 100.0 + np.arange(n), "decrease")

    assert full is not None
    assert none is not None
    assert full.nap_interval == pytest.approx((root, 1), abs=1e-9)
    assert none.nap_interval == pytest.approx((0, 1 - root), abs=1e-9)


def test_published_differences_of_means() -> None:
    (pair,) = compare(
        ["A", "B"],
        ["baseline", "treatment"],
        dated(BASELINE, TREATMENT),
        improvement="increase",
        scale=OutcomeScale(ratio=True),
    )

    assert pair.smd_baseline is not None
    assert pair.smd_pooled is not None
    assert pair.smd_baseline.value == pytest.approx(1.649932, abs=1e-6)
    assert pair.smd_pooled.value == pytest.approx(1.876247, abs=1e-6)
    # By hand: sqrt(1/m + var_t / (n var_b) + d^2 / (2 (m - 1))), and sqrt(1/m + 1/n + d^2 / (2 (m + n - 2))).
    assert pair.smd_baseline.se == pytest.approx(0.752986, abs=1e-6)
    assert pair.smd_pooled.se == pytest.approx(0.685228, abs=1e-6)
    assert pair.log_response_ratio == pytest.approx(0.195396, abs=1e-6)
    assert pair.log_response_ratio_se == pytest.approx(0.055577, abs=1e-6)
    assert pair.log_median_ratio == pytest.approx(np.log(28 / 22.5))
    assert pair.mean_difference == pytest.approx(TREATMENT.mean() - BASELINE.mean())
    assert pair.median_difference == 28 - 22.5


def test_pairs_are_neighbours_and_combined_from_baseline_to_treatment_only() -> None:
    pairs = compare(list(FIGURE_17), CONDITIONS, dated(*PHASES), improvement="decrease", scale=OutcomeScale(ratio=True))  # type: ignore[arg-type]

    assert [(pair.first, pair.second, pair.into_treatment) for pair in pairs] == [
        ("baseline_1", "treatment_1", True),
        ("treatment_1", "baseline_2", False),
        ("baseline_2", "treatment_2", True),
    ]
    assert [pair.overlap.nap for pair in pairs if pair.overlap] == [1, 1, 1], "treatment against baseline, both ways"
    assert combined(pairs, "overlap.nap") == 1
    first, _, last = (pair.mean_difference or 0 for pair in pairs)
    assert combined(pairs, "mean_difference") == pytest.approx((first + last) / 2)
    assert combined(pairs, "smd_pooled.value") > 2  # type: ignore[operator]
    assert all((pair.mean_difference or 0) < 0 for pair in pairs)
    short = compare(
        list(FIGURE_17),
        CONDITIONS,
        dated(*PHASES[:3], PHASES[3][:1]),
        improvement="decrease",
        scale=OutcomeScale(ratio=True),
    )  # type: ignore[arg-type]
    assert short[0].smd_pooled is not None
    assert combined(short, "smd_pooled.value") is None, "the mean of one of two pairs would be another quantity"


@given(values, values, st.integers(-50, 50))
@settings(max_examples=80, deadline=None)
def test_a_constant_changes_nothing_but_the_ratio(before: np.ndarray, after: np.ndarray, constant: int) -> None:
    assert overlap(before + constant, after + constant, "increase") == overlap(before, after, "increase")
    for measure in (smd_baseline, smd_pooled):
        mine, other = measure(before, after, "increase"), measure(before + constant, after + constant, "increase")
        assert (mine is None) is (other is None)
        assert mine is None or other is None or mine.value == pytest.approx(other.value, abs=1e-8)


@given(values, values)
@settings(max_examples=80, deadline=None)
def test_the_other_direction_turns_the_sign_round(before: np.ndarray, after: np.ndarray) -> None:
    up, down = overlap(before, after, "increase"), overlap(before, after, "decrease")
    assert up is not None
    assert down is not None
    assert up.nap == pytest.approx(1 - down.nap)
    assert up.tau == pytest.approx(-down.tau)
    assert up.tau_u == pytest.approx(-down.tau_u)
    assert up.pem == pytest.approx(1 - down.pem)
    first, second = (baseline_corrected_tau(*dated(before, after), way) for way in ("increase", "decrease"))
    assert first is not None
    assert second is not None
    assert first.value == pytest.approx(-second.value)
    assert down == overlap(-before, -after, "increase")
    mine, other = smd_pooled(before, after, "increase"), smd_pooled(before, after, "decrease")
    assert mine is None or other is None or mine.value == pytest.approx(-other.value)


@given(values, values, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_nap_knows_no_order_and_lies_in_its_interval(before: np.ndarray, after: np.ndarray, random: object) -> None:
    sizes = overlap(before, after, "increase")
    shuffled = overlap(np.array(random.sample(list(before), before.size)), after, "increase")  # type: ignore[attr-defined]
    assert sizes is not None
    assert shuffled is not None
    assert shuffled.nap == sizes.nap
    assert sizes.nap_interval is not None
    assert 0 <= sizes.nap_interval[0] <= sizes.nap <= sizes.nap_interval[1] <= 1
    assert sizes.nap_interval[0] < sizes.nap_interval[1]
    assert 0 <= sizes.pnd <= 1
    assert sizes.nap_se is not None
    assert sizes.nap_se > 0


def test_ties_are_half_a_win_for_nap_and_none_for_pnd() -> None:
    sizes = overlap(np.array([1.0, 3.0]), np.array([3.0, 3.0, 4.0, 5.0]), "increase")

    assert sizes is not None
    assert sizes.nap == (4 + 2 * 0.5 + 2) / 8
    assert sizes.pnd == 0.5, "a day as good as the best baseline day is not beyond it"


ONE, NONE, FLAT = np.array([3.0]), np.array([]), np.array([2.0, 2.0, 2.0])


def test_what_is_undefined_is_none() -> None:
    assert overlap(NONE, ONE, "increase") is None
    single = overlap(ONE, ONE, "increase")
    assert single is not None
    assert (single.nap, single.nap_se, single.nap_interval) == (0.5, None, None)
    assert smd_baseline(FLAT, TREATMENT, "increase") is None
    assert smd_pooled(FLAT, FLAT, "increase") is None
    (pair,) = compare(
        ["A", "B"], ["baseline", "treatment"], dated(NONE, ONE), improvement="increase", scale=OutcomeScale(ratio=True)
    )
    assert (pair.mean_difference, pair.overlap, pair.smd_pooled, pair.log_response_ratio) == (None,) * 4
    assert combined([pair], "overlap.nap") is None
    negative = compare(
        ["A", "B"],
        ["baseline", "treatment"],
        dated(-BASELINE, TREATMENT),
        improvement="increase",
        scale=OutcomeScale(ratio=True),
    )
    assert (negative[0].log_response_ratio, negative[0].log_median_ratio) == (None, None)
    once = compare(
        ["A", "B"],
        ["baseline", "treatment"],
        dated(np.r_[BASELINE, -1], TREATMENT),
        improvement="increase",
        scale=OutcomeScale(ratio=True),
    )
    assert once[0].log_response_ratio is None, "what can be negative has no true zero"
    scale = compare(
        ["A", "B"], ["baseline", "treatment"], dated(BASELINE, TREATMENT), improvement="increase", scale=OutcomeScale()
    )
    assert scale[0].log_response_ratio is None


@pytest.mark.parametrize("constant", [0.1, 70.1, 200 / 3])
def test_a_phase_that_varies_by_rounding_only_does_not_vary(constant: float) -> None:
    flat = np.full(7, constant)
    flat[0] = np.nextafter(constant, 100)  # as the mean of three events of .1 is not .1

    assert smd_baseline(flat, flat + 1, "increase") is None
    assert smd_pooled(flat, flat + 1, "increase") is None


@pytest.mark.slow
@pytest.mark.parametrize("delta", [0.0, 1.0, 2.0])
def test_the_errors_of_standardised_differences_are_not_too_small(delta: float) -> None:
    generator = np.random.default_rng(5)
    held = np.zeros(2)
    repetitions = 4000
    for _ in range(repetitions):
        before, after = generator.normal(size=6), generator.normal(delta, size=7)
        for index, smd in enumerate((smd_baseline(before, after, "increase"), smd_pooled(before, after, "increase"))):
            assert smd is not None
            held[index] += abs(smd.value - delta) <= 1.96 * smd.se

    assert (held / repetitions > 0.93).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phi", "nap", "low", "high"), [(0.0, 0.5, 0.93, 0.99), (0.0, 0.98, 0.93, 1), (0.5, 0.5, 0.7, 0.85)]
)
def test_the_interval_covers_as_claimed_for_independent_days_only(
    phi: float, nap: float, low: float, high: float
) -> None:
    generator = np.random.default_rng(8)
    covered, repetitions = 0, 2000
    # Two normal values that differ by it on average are in order as often as NAP says.
    shift = NormalDist(0, (2 / (1 - phi**2)) ** 0.5).inv_cdf(nap)
    for _ in range(repetitions):
        days = np.empty(30)
        days[0] = generator.normal() / np.sqrt(1 - phi**2)
        for day in range(1, 30):
            days[day] = phi * days[day - 1] + generator.normal()
        days[15:] += shift
        sizes = overlap(days[:15], days[15:], "increase")
        assert sizes is not None
        assert sizes.nap_interval is not None
        covered += sizes.nap_interval[0] <= nap <= sizes.nap_interval[1]

    assert low < covered / repetitions < high
