"""A trend within phases: seen where there is one, whatever the treatment does, and seldom where there is none."""

import numpy as np
import pytest

from americano_pipelines.statistics.within_phase_trend import Line, within_phase_trend

PHASE = np.repeat(np.arange(4), [12, 16, 15, 13])
TREATED = np.array([False, True, False, True])
NOISE = np.random.default_rng(2).normal(size=56)


@pytest.mark.parametrize("effect", [0, 3, -3])
@pytest.mark.parametrize("slope", [0.3, -0.3])
def test_a_trend_is_measured_within_phases_whatever_the_effect(slope: float, effect: float) -> None:
    trend = within_phase_trend(NOISE + slope * np.arange(56) + effect * (PHASE % 2), PHASE, TREATED)
    plain = within_phase_trend(NOISE, PHASE, TREATED)

    assert trend is not None
    assert plain is not None
    assert trend.slope == pytest.approx(slope + plain.slope)
    assert (trend.se, trend.autocorrelation) == (pytest.approx(plain.se), pytest.approx(plain.autocorrelation))
    assert (trend.visible, plain.visible) == (True, False)


def test_slope_and_error_are_those_of_least_squares_on_independent_days() -> None:
    import statsmodels.api as sm

    values = np.random.default_rng(7).normal(size=56) + 0.02 * np.arange(56)
    values[[3, 20, 21]] = np.nan
    used = ~np.isnan(values)
    design = np.column_stack([np.arange(56.0), *(index == PHASE for index in range(4))])
    fit = sm.OLS(values[used], design[used]).fit()

    trend = within_phase_trend(values, PHASE, TREATED)

    assert trend is not None
    assert trend.slope == pytest.approx(fit.params[0])
    factor = np.sqrt((1 + trend.autocorrelation) / (1 - trend.autocorrelation))
    assert trend.se == pytest.approx(fit.bse[0] * factor)
    assert within_phase_trend(np.where(PHASE == 2, np.nan, values), PHASE, TREATED) is not None


@pytest.mark.parametrize(
    "values",
    [np.full(56, 72.3), 3.1 * (PHASE % 2), np.full(56, np.nan), np.where(np.arange(56) < 50, np.nan, 1.0)],
)
def test_too_few_days_and_days_that_are_alike_have_none(values: np.ndarray) -> None:
    assert within_phase_trend(values, PHASE, TREATED) is None


@pytest.mark.parametrize("way", [1, -1])
def test_an_effect_that_grows_within_the_treatment_phases_is_no_trend(way: int) -> None:
    position = np.concatenate([np.linspace(0, 1, days) for days in (12, 16, 15, 13)])
    grows = way * 4 * position * (PHASE % 2)
    noise = np.random.default_rng(7).normal(size=56)

    growing = within_phase_trend(noise + grows, PHASE, TREATED)
    both = within_phase_trend(NOISE + grows + way * 0.3 * np.arange(56), PHASE, TREATED)

    assert growing is not None
    assert growing.p <= 0.01
    assert growing.visible is False
    assert both is not None
    assert both.visible
    assert both.baseline is not None
    assert both.baseline == within_phase_trend_of_baseline(NOISE + way * 0.3 * np.arange(56))


def within_phase_trend_of_baseline(values: np.ndarray) -> Line | None:
    trend = within_phase_trend(np.where(PHASE % 2 == 0, values, np.nan), PHASE, TREATED)
    assert trend is not None
    return trend.baseline


def test_slopes_of_opposite_signs_are_no_trend() -> None:
    slopes = np.where(PHASE % 2 == 0, 0.2, -0.05) * np.arange(56)

    trend = within_phase_trend(NOISE + slopes, PHASE, TREATED)

    assert trend is not None
    assert trend.p <= 0.01
    assert not trend.visible


def test_days_on_the_line_are_a_trend() -> None:
    trend = within_phase_trend(0.25 * np.arange(56.0), PHASE, TREATED)

    assert trend is not None
    assert (trend.slope, trend.se, trend.p, trend.visible) == (pytest.approx(0.25), 0, 0, True)
