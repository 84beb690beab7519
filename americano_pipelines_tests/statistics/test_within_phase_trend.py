"""A trend within phases: seen where there is one, whatever the treatment does, and seldom where there is none."""

import numpy as np
import pytest

from americano_pipelines.statistics.within_phase_trend import within_phase_trend

PHASE = np.repeat(np.arange(4), [12, 16, 15, 13])
NOISE = np.random.default_rng(2).normal(size=56)


@pytest.mark.parametrize("effect", [0, 3, -3])
@pytest.mark.parametrize("slope", [0.3, -0.3])
def test_a_trend_is_measured_within_phases_whatever_the_effect(slope: float, effect: float) -> None:
    trend = within_phase_trend(NOISE + slope * np.arange(56) + effect * (PHASE % 2), PHASE)
    plain = within_phase_trend(NOISE, PHASE)

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

    trend = within_phase_trend(values, PHASE)

    assert trend is not None
    assert trend.slope == pytest.approx(fit.params[0])
    factor = np.sqrt((1 + trend.autocorrelation) / (1 - trend.autocorrelation))
    assert trend.se == pytest.approx(fit.bse[0] * factor)
    assert within_phase_trend(np.where(PHASE == 2, np.nan, values), PHASE) is not None


@pytest.mark.parametrize(
    "values",
    [np.full(56, 72.3), 0.25 * np.arange(56.0), np.full(56, np.nan), np.where(np.arange(56) < 50, np.nan, 1.0)],
)
def test_too_few_days_and_days_on_the_line_have_none(values: np.ndarray) -> None:
    assert within_phase_trend(values, PHASE) is None
