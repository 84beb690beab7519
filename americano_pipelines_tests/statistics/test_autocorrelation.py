"""Trend, autocorrelation and reversal: known values, days that are missing, and phases too short."""

import numpy as np
import pytest

from americano_pipelines.statistics.autocorrelation import (
    autocorrelations,
    phase_dependence,
    residual_autocorrelations,
    reversal,
)
from americano_pipelines.statistics.effect_sizes import varies

NAN = float("nan")
FIRST = np.array([15, 10, 14, 17, 13, 12], dtype=np.float64)
SECOND = np.array([9, 9, 11, 15, 20], dtype=np.float64)


def test_published_reversal_and_trend() -> None:
    # WWC Handbook 5.0, figure 17, by R's scdtb; fewer is better.
    conditions = ["baseline", "treatment", "baseline", "treatment"]
    phases = [FIRST, np.zeros(5), SECOND, np.zeros(5)]

    assert reversal(conditions, phases, "decrease") == pytest.approx(0.6166667, abs=1e-7)  # type: ignore[arg-type]
    assert phase_dependence("baseline_1", FIRST, "decrease").nap_trend == pytest.approx(0.4444444, abs=1e-7)
    assert reversal(["baseline", "treatment"], phases[:2], "decrease") is None
    odd = phase_dependence("odd", np.array([1.0, 2, 0, 3, 4]), "increase")
    assert odd.nap_trend == 1, "the middle day is in neither half"


def test_a_line_has_its_slope_whatever_days_are_missing() -> None:
    line = 3 + 0.5 * np.arange(10)
    line[[2, 3, 7]] = NAN

    dependence = phase_dependence("a", line, "increase")

    assert dependence.slope == pytest.approx(0.5)
    assert dependence.nap_trend == 1


def test_autocorrelation_is_that_of_the_process_without_pairs_across_gaps() -> None:
    generator = np.random.default_rng(3)
    days = np.zeros(4000)
    for day in range(1, days.size):
        days[day] = 0.6 * days[day - 1] + generator.normal()
    gaps = days.copy()
    gaps[generator.random(days.size) < 0.3] = NAN

    for series in (days, gaps):
        assert autocorrelations(series) == pytest.approx((0.6, 0.36, 0.216), abs=0.06)
    # Days without their neighbours on one side: closing the gaps would make neighbours of what is not.
    every_third = np.full(60, NAN)
    every_third[::3] = np.tile([1.0, -1.0], 10)
    assert autocorrelations(every_third) == (None, None, pytest.approx(-1, abs=0.1))


def test_residuals_are_taken_by_phase_and_not_across_a_switch() -> None:
    step = [np.array([1.0, -1, 1, -1, 1, -1]), 100 + np.array([-1.0, 1, -1, 1, -1, 1])]

    autocorrelations = residual_autocorrelations(step)

    assert autocorrelations[0] == pytest.approx(-1)
    assert autocorrelations[1] == pytest.approx(1)
    assert residual_autocorrelations([np.full(3, NAN)]) == (None, None, None)
    level = np.full(9, 70.1)
    level[-1] = np.nextafter(70.1, 99)
    assert residual_autocorrelations([level, np.full(9, 0.1)]) == (None, None, None), "rounding is no residual"


def test_too_little_is_none() -> None:
    short = phase_dependence("a", np.array([1.0, NAN]), "increase")
    flat = phase_dependence("a", np.ones(8), "increase")

    assert (short.slope, short.nap_trend, short.autocorrelation) == (None, None, (None, None, None))
    assert flat.autocorrelation == (None, None, None)
    assert flat.nap_trend == 0.5
    assert autocorrelations(np.full(7, 70.1)) == (None, None, None), "its standard deviation is rounding, not 0"


def test_autocorrelation_stays_within_one_though_days_are_missing() -> None:
    values = np.full(30, NAN)
    values[[0, 1, 2, 10, 11, 20]] = [9, 9.5, 9, 1, 0, 1]

    first = autocorrelations(values)[0]

    assert first is not None
    assert 0.9 < first <= 1


def test_two_pairs_of_days_are_no_autocorrelation() -> None:
    assert autocorrelations(np.array([1.0, 2.0, 4.0])) == (None, None, None)
    assert autocorrelations(np.array([1.0, 2.0, 4.0, 3.0]))[0] is not None


def test_what_differs_by_rounding_does_not_vary() -> None:
    assert not varies(np.array([0.1, (0.1 + 0.1 + 0.1) / 3]))
    assert not varies(np.array([]))
    assert varies(np.array([1e6, 1e6 + 0.01]))
    assert varies(np.array([0.0, 1e-9])), "small is not rounding"
