"""Segmented regression against published numbers and on known lines."""

import numpy as np
import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.autoregressive_fit import MAX_AUTOCORRELATION, fit_autoregressive
from americano_pipelines.statistics.segmented_regression import design_matrix, segmented

# Published: the 24-month example of the Global Health Research course on interrupted time series.
PRE = [50, 60, 45, 47, 50, 55, 53, 51, 48, 50, 47, 48]
POST = [55, 60, 63, 67, 65, 69, 72, 68, 74, 71, 76, 70]
PHASE = np.repeat([0, 1], 12)


def test_published_numbers() -> None:
    regression = segmented(np.array(PRE + POST, dtype=np.float64), PHASE, ["pre", "post"], hac_lag=3)
    level, slope = regression.changes

    assert level.value == pytest.approx(11.4708, abs=1e-3), "at the first treated point"
    # There the level is counted one month earlier, and the first month is 1.
    assert level.value - slope.value == pytest.approx(9.6876, abs=1e-3)
    assert regression.start - regression.slope == pytest.approx(52.5606, abs=1e-3)
    assert (regression.slope, slope.value) == (pytest.approx(-0.3427, abs=1e-4), pytest.approx(1.7832, abs=1e-4))
    assert (slope.se, slope.hac_se) == (pytest.approx(0.4314, abs=1e-4), pytest.approx(0.328649, abs=1e-6))
    assert regression.r_squared == pytest.approx(0.8867, abs=1e-4)
    assert regression.durbin_watson == pytest.approx(2.222948, abs=1e-6)
    assert regression.degrees_of_freedom == 20
    # By hand from the published line: its covariance at the first treated month, and t with 20 degrees of freedom.
    assert (level.se, level.hac_se) == (pytest.approx(2.993953, abs=1e-6), pytest.approx(1.700159, abs=1e-6))
    assert level.interval == pytest.approx((5.225585, 17.716140), abs=1e-6)
    assert level.hac_interval == pytest.approx((7.924394, 15.017331), abs=1e-6)
    assert (regression.ljung_box_lags, regression.ljung_box_p) == (5, pytest.approx(0.639031, abs=1e-6))


# Days left out, and what nlme 3.1 says of the rest: gls(y ~ day + level + slope, correlation = corAR1(form = ~ day))
# by REML; coefficients, their errors, autocorrelation, scale, restricted likelihood.
NLME = {
    (): (
        [52.234744, -0.346090, 11.501681, 1.787418], [1.955035, 0.301259, 2.960919, 0.425444],
        -0.013584, 3.639624, -61.7074496,
    ),
    (3, 9, 10, 17): (
        [54.496529, -0.560877, 11.407385, 2.059401], [1.451974, 0.257434, 2.488307, 0.304775],
        -0.533379, 3.742061, -50.0117642,
    ),
}  # fmt: skip


@pytest.mark.parametrize("missing", NLME)
def test_the_lines_with_autoregressive_errors_are_those_of_nlme(missing: tuple[int, ...]) -> None:
    values, (coefficients, errors, autocorrelation, scale, likelihood) = (
        np.array(PRE + POST, dtype=np.float64),
        NLME[missing],
    )
    values[list(missing)] = np.nan
    used = ~np.isnan(values)

    fit = fit_autoregressive(values[used], design_matrix(PHASE, 2)[used], np.flatnonzero(used))
    regression = segmented(values, PHASE, ["pre", "post"])

    assert fit.coefficients == pytest.approx(coefficients, abs=2e-6)
    assert fit.errors == pytest.approx(errors, abs=2e-6)
    assert (fit.autocorrelation, fit.scale) == (
        pytest.approx(autocorrelation, abs=1e-6),
        pytest.approx(scale, abs=1e-6),
    )
    assert fit.log_likelihood == pytest.approx(likelihood, abs=1e-6)
    assert regression.reml is not None
    assert regression.reml.autocorrelation == fit.autocorrelation
    for change, value, error in zip(regression.changes, coefficients[2:], errors[2:], strict=True):
        assert change.reml is not None
        assert (change.reml.value, change.reml.se) == (pytest.approx(value, abs=2e-6), pytest.approx(error, abs=2e-6))
        # t with as many degrees of freedom as days less four coefficients.
        width = {20: 2.085963, 16: 2.119905}[regression.degrees_of_freedom] * change.reml.se
        assert change.reml.interval == pytest.approx((value - width, value + width), abs=1e-5)


def test_the_nile_is_as_nlme_has_it() -> None:
    import statsmodels.api as sm

    volume = sm.datasets.nile.load_pandas().data["volume"].to_numpy(dtype=np.float64)
    level, slope = segmented(volume, (np.arange(100) >= 28).astype(np.int64), ["before the dam", "after"]).changes

    assert level.reml is not None
    assert slope.reml is not None
    assert (level.reml.value, level.reml.se) == (pytest.approx(-289.68897, abs=1e-4), pytest.approx(69.35855, abs=1e-4))
    assert (slope.reml.value, slope.reml.se) == (pytest.approx(-0.502606, abs=1e-5), pytest.approx(3.720225, abs=1e-5))


def test_a_likelihood_without_a_maximum_gives_no_change() -> None:
    walk = np.cumsum(np.random.default_rng(3).normal(size=60)) + 0.01 * np.arange(60.0) ** 2

    regression = segmented(walk, np.repeat([0, 1], 30), ["a", "b"])

    assert regression.reml is not None
    assert regression.reml.at_limit
    assert regression.reml.autocorrelation == pytest.approx(MAX_AUTOCORRELATION)
    assert [change.reml for change in regression.changes] == [None, None]


def test_four_phases_have_level_and_slope_with_missing_days_in_place() -> None:
    phase = np.repeat([0, 1, 2, 3], 10)
    day = np.arange(40.0)
    line = 5 + 0.1 * day
    line += (
        np.where(day >= 10, 3 + 0.5 * (day - 10), 0)
        + np.where(day >= 20, -4.0, 0)
        - np.where(day >= 30, 0.2 * (day - 30), 0)
    )
    values = line + np.random.default_rng(0).normal(0, 1e-6, 40)
    values[[4, 13, 14, 35]] = np.nan

    regression = segmented(values, phase, ["a", "b", "c", "d"])

    assert [(change.label, change.what) for change in regression.changes] == [
        ("b", "level"), ("b", "slope"), ("c", "level"), ("c", "slope"), ("d", "level"), ("d", "slope")
    ]  # fmt: skip
    assert [change.value for change in regression.changes] == pytest.approx([3, 0.5, -4, 0, 0, -0.2], abs=1e-4)
    assert regression.days == 36
    assert regression.fitted == pytest.approx(line, abs=1e-4)
    assert regression.counterfactual == pytest.approx(5 + 0.1 * day, abs=1e-4)
    assert regression.hac_lag == 3


def test_days_of_no_phase_are_left_out() -> None:
    phase = np.repeat([0, -1, 1], [10, 2, 10])
    values = np.r_[np.zeros(10), [99, 99], np.full(10, 2.0)] + np.random.default_rng(0).normal(0, 0.01, 22)

    regression = segmented(values, phase, ["a", "b"])

    assert regression.changes[0].value == pytest.approx(2, abs=0.1)
    assert np.isnan(regression.fitted[[10, 11]]).all()


def test_too_few_days_are_told() -> None:
    with pytest.raises(AnalysisError, match="'b' has fewer than two days"):
        segmented(np.r_[np.ones(6), [1.0, np.nan]], np.repeat([0, 1], [6, 2]), ["a", "b"])
    with pytest.raises(AnalysisError, match="4 days are too few for 4 coefficients"):
        segmented(np.arange(4.0), np.array([0, 0, 1, 1]), ["a", "b"])


def test_lines_through_every_value_leave_nothing_to_be_correlated() -> None:
    exact = segmented(np.repeat([70.1, 2.0], 10), np.repeat([0, 1], 10), ["a", "b"])
    noisy = segmented(70 + 1e-6 * np.sin(np.arange(20.0) ** 2), np.repeat([0, 1], 10), ["a", "b"])

    assert (exact.durbin_watson, exact.ljung_box_p, exact.reml, exact.changes[0].reml) == (None, None, None, None)
    assert noisy.durbin_watson is not None
    assert noisy.ljung_box_p is not None
    assert noisy.ljung_box_lags == 5
    assert noisy.hac_lag == 2


def test_a_negative_lag_and_a_single_phase_are_refused() -> None:
    values = np.array([1.0, 3, 2, 4, 3, 5])

    with pytest.raises(AnalysisError, match="hac_lag is -1"):
        segmented(values, np.repeat([0, 1], 3), ["a", "b"], hac_lag=-1)
    with pytest.raises(AnalysisError, match="one phase only"):
        segmented(values, np.zeros(6, dtype=np.int64), ["a"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("autocorrelation", "least_squares", "newey_west"),
    [(0.5, (0.15, 0.35), (0.15, 0.35)), (0, (0.02, 0.08), (0.1, 0.2))],
)
def test_what_the_warning_says_of_false_alarms_is_what_is_measured(
    autocorrelation: float, least_squares: tuple[float, float], newey_west: tuple[float, float]
) -> None:
    generator = np.random.default_rng(4)
    alarms, reml_alarms = {"interval": 0, "hac_interval": 0}, 0
    for _ in range(600):
        days = np.empty(40)
        days[0] = generator.normal() / np.sqrt(1 - autocorrelation**2)
        for day in range(1, 40):
            days[day] = autocorrelation * days[day - 1] + generator.normal()
        level = segmented(days, np.repeat([0, 1], 20), ["a", "b"]).changes[0]
        for kind in alarms:
            low, high = getattr(level, kind)
            alarms[kind] += not low <= 0 <= high
        reml_alarms += level.reml is not None and not level.reml.interval[0] <= 0 <= level.reml.interval[1]

    print(f"level test, 40 days, AR(1) {autocorrelation}: {alarms}, reml {reml_alarms} of 600")  # noqa: T201
    assert 0.03 < reml_alarms / 600 < 0.12
    assert least_squares[0] < alarms["interval"] / 600 < least_squares[1]
    assert newey_west[0] < alarms["hac_interval"] / 600 < newey_west[1]
