"""The effect between cases: published examples, one large example by whole matrices, what is refused."""

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.between_case_effect import between_case_effect
from americano_pipelines.statistics.prefix_sums import Values

N = np.nan
# Saddler, Behforooz and Asaro (2008), writing of six pupils, and Laski, Charlop and Schreibman (1988), speech of eight
# children; the examples of Hedges, Pustejovsky and Shadish (2013), as the R package scdhlm has them.
_SADDLER = {
    "quality": (
        [2, 2, 3, 2, 4, 4, 4], [3, 4, 2, N, 5, 5, 6], [4, N, 4, 3, 2, 5, 4, 4], [2, N, 2, 2, 2, 4, 4, 5],
        [1, N, N, N, 1, 2, 1, 3, 4, 4], [3, N, N, N, 3, 3, 3, 5, 6, 6],
    ),
    "T-unit length": (
        [4, 2, 3, 3, 5, 5, 4], [2, 2, 3, N, 3, 6, 4], [5, N, 4, 5, 3, 10, 8, 7], [6, N, 7, 6, 7, 8, 7, 8],
        [4, N, N, N, 3, 4, 2, 5, 5, 6], [7, N, N, N, 8, 10, 4, 5, 9, 6],
    ),
    "constructions": (
        [4, 3, 3, 2, 5, 5, 4], [2, 3, 3, 3, 3, 6, 4], [5, N, 4, 4, 4, 10, 8, 7], [6, N, 7, 5, 7, 8, 7, 9],
        [4, N, N, N, 3, 4, 4, 5, 6, 6], [7, N, N, N, 7, 10, 6, 5, 7, 6],
    ),
}  # fmt: skip
_SADDLER_STARTS = (4, 4, 5, 5, 7, 7)
_LASKI = (
    [27.6, 23.96, 23.83, 47.26, 52.7, 60.99, 66.6, 52.5, 85.88, 47.05, 66.28, 54.05, 51.23],
    [49.67, 23.57, 26.38, 28.35, 45.11, 70.67, 79.13, 84.09, 88.56, 80.9, 91.84, 63.42, 70.38],
    [0, 0, 0, 0, 0, 0, 0, 28.07, 28.2, 57.15, 72.37, 45.56, 52.3, 28.37, 60.37, 57.46],
    [32.84, 14.26, 0, 7.99, 23.55, 11.51, 28.22, 44.94, 35.02, 4.34, 69.26, 69.96, 62.98, 58.13, 58.17, 27.67, 70.85],
    [46.7, 56.07, 32.28, 36.7, 59.93, 12.05, 34.95, 75.18, 92.15, 85.84, 83.33, 81.16, 74.86, 86.54, 74.96, 87.13],
    [52.32, 51.99, 65.23, 57.28, 67.55, 57.62, 55.46, 78.31, 89.4, 72.35, 86.59, 81.79, 89.57, 84.11],
    [58.06, 65.79, 52.63, 72.37, 81.91, 71.38, 73.52, 70.56, 45.39, 77.14, 71.88, 77.14, 87.01, 84.7, 74.18, 54.11,
     74.67, 76.15, 83.39],
    [41.36, 73.04, 47.25, 67.13, 62.1, 56.91, 66.66, 51, 72.87, 48.41, 16.96, 81.37, 86.48, 69.98, 78.41, 72.21, 70.51,
     67.47, 84.53, 81],
)  # fmt: skip
_LASKI_STARTS = (4, 5, 7, 10, 7, 7, 8, 11)
_WAVE = np.sin(2 * np.pi * np.arange(1, 31) / 31).tolist()


def _cases(values: tuple[list[float], ...], starts: tuple[int, ...]) -> tuple[list[Values], list[np.ndarray]]:
    days = [np.array(own, dtype=np.float64) for own in values]
    return days, [np.arange(own.size) >= start for own, start in zip(days, starts, strict=True)]


def test_the_published_examples_of_scdhlm_come_out_to_all_digits() -> None:
    quality = between_case_effect(*_cases(_SADDLER["quality"], _SADDLER_STARTS))
    laski = between_case_effect(*_cases(_LASKI, _LASKI_STARTS))

    # tests/testthat/test_HPS_examples.R: days, groups, unadjusted, phi, rho, nu, delta_hat, V_delta_hat
    published = [
        (quality, (41, 13, 2.149013, 0.099650, 0.633212, 8.918146, 1.963073, 0.33491289)),
        (laski, (128, 27, 1.474439, 0.016526, 0.693966, 13.100415, 1.388385, 0.10050132)),
    ]
    for effect, (days, groups, uncorrected, phi, rho, freedom, value, variance) in published:
        assert (effect.days, effect.groups) == (days, groups)
        parts = (effect.uncorrected, effect.autocorrelation, effect.intraclass, effect.freedom, effect.value)
        assert parts == pytest.approx((uncorrected, phi, rho, freedom, value), abs=5.1e-7)
        assert effect.se**2 == pytest.approx(variance, abs=5.1e-9)
    for measure, value, variance in (("T-unit length", 0.785400, 0.08023320), ("constructions", 0.747554, 0.07847359)):
        effect = between_case_effect(*_cases(_SADDLER[measure], _SADDLER_STARTS))
        assert effect.value == pytest.approx(value, abs=5.1e-7)
        assert effect.se**2 == pytest.approx(variance, abs=5.1e-9)
        reach = (effect.interval[1] - effect.interval[0]) / 2
        assert effect.se < reach / 2.2, "by t, not by the normal distribution"


def test_degrees_of_freedom_are_those_of_whole_matrices() -> None:
    generator = np.random.default_rng(4)
    values = [generator.normal(level, 1, 25) for level in (3, 5, 4)]
    for days in values:
        days[generator.choice(25, 4, replace=False)] = np.nan
    treated = [np.arange(25) >= start for start in (8, 12, 16)]

    effect = between_case_effect(values, treated)

    present = [np.flatnonzero(~np.isnan(days)) for days in values]
    keys = np.concatenate([2 * days + on[days] for days, on in zip(present, treated, strict=True)])
    means = (keys[:, None] == np.unique(keys)).astype(float)
    remove = np.eye(keys.size) - means @ np.linalg.pinv(means)
    correlations = np.zeros((keys.size, keys.size))
    first = 0
    for days in present:
        apart = np.abs(days[:, None] - days)
        block = effect.intraclass + (1 - effect.intraclass) * effect.autocorrelation**apart
        correlations[first : first + days.size, first : first + days.size] = block
        first += days.size
    product = remove @ correlations
    assert effect.freedom == pytest.approx(np.trace(remove) ** 2 / np.trace(product @ product))


@pytest.mark.parametrize(
    ("values", "starts", "why"),
    [
        (_LASKI[:2], _LASKI_STARTS[:2], "it takes 3 cases, and there are 2"),
        (([1, 2, N, N], [1, 2, 3, 4], [4, 3, 2, 1]), (2, 2, 2), "a phase has no day with a value"),
        (([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]), (2, 2, 2), "do not differ"),
        (
            ([1, 3, N, N, N, N, 5, 6], [N, N, 2, 4, N, 1, N, N], [N] * 4 + [1, N, N, N, 4, 6]),
            (5, 5, 7),
            "do not differ",
        ),
        (tuple([level + wave for wave in 2 * _WAVE] for level in (1, 2, 3)), (30, 30, 30), "is estimated as 1.01"),
    ],
)
def test_what_defines_no_effect_is_refused(values: tuple[list[float], ...], starts: tuple[int, ...], why: str) -> None:
    with pytest.raises(AnalysisError, match=why):
        between_case_effect(*_cases(values, starts))
