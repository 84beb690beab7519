"""Fit an interrupted time series: a line through each phase, and the changes where phases meet.

Describe only: the randomization test judges.
"""

# Days without a value are left out of the fit and keep their place in time; for statistics of neighbouring residuals
# (Newey and West, Durbin-Watson, Ljung-Box) the days on both sides of a gap are neighbours.
#
# Wagner et al. (2002) for the model; Newey and West (1987) for errors under autocorrelation; Pinheiro and Bates (2000)
# for AR(1) errors by REML; Turner et al. (2020) for how little each can be trusted on short series.

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.autoregressive_fit import fit_autoregressive
from americano_pipelines.statistics.effect_sizes import varies
from americano_pipelines.statistics.prefix_sums import Values

MIN_DAYS = 2  # a line


def design_matrix(phase: NDArray[np.int64], phases: int) -> Values:
    """Columns: 1, day, and for each phase after the first whether it has begun and how many days ago.

    Counted from its first day, so that the coefficient of the level is the jump at the first treated point. Wagner et
    al. (2002) count from the day before, which puts the jump on a day without treatment.

    Args:
        phase: index of each day's phase, -1 for none; shape (days,).
        phases: number of phases.

    Returns:
        Shape (days, 2 * phases).
    """
    day = np.arange(phase.size, dtype=np.float64)
    columns = [np.ones_like(day), day]
    for index in range(1, phases):
        begun = np.flatnonzero(phase == index)
        first = float(begun[0]) if begun.size else np.inf
        columns += [(day >= first).astype(np.float64), np.where(day >= first, day - first, 0.0)]
    return np.column_stack(columns)


def usable_days(values: Values, phase: NDArray[np.int64], labels: Sequence[str]) -> NDArray[np.bool_]:
    """The days that go into the fit: in a phase, with a value.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        phase: index of each day's phase, -1 for none; shape (days,).
        labels: the phases' labels.

    Returns:
        Shape (days,).

    Raises:
        AnalysisError: there is one phase only, a phase has fewer than two days, there are no more days than
            coefficients, or the outcome is the same on all of them.
    """
    if len(labels) < 2:  # noqa: PLR2004 - something has to change
        raise AnalysisError("the protocol has one phase only: nothing changes in it that a line could show")
    used: NDArray[np.bool_] = ~np.isnan(values) & (phase >= 0)
    for index, label in enumerate(labels):
        if (used & (phase == index)).sum() < MIN_DAYS:
            raise AnalysisError(
                f"phase {label!r} has fewer than two days with a value: no line can be drawn through it"
            )
    if used.sum() <= 2 * len(labels):
        raise AnalysisError(f"{used.sum()} days are too few for {2 * len(labels)} coefficients")
    if not varies(values[used]):
        raise AnalysisError("the outcome is the same on every day: there is nothing that a line could explain")
    return used


LAG_RULE = "floor(4 (T / 100)^(2/9)) days"
WARNING = (
    "Errors and intervals are too small when days depend on each other: at AR(1) .5 this test takes chance for a "
    "change of level about one time in four, with either kind of error. On short series of independent days Newey and "
    "West's errors are the worse of the two: with 40 days they do so one time in seven, those of least squares one in "
    "twenty. With AR(1) errors by REML chance is taken for a change five to nine times of 100, at AR(1) 0 to .8."
)
# Ljung-Box looks at so many lags, or at a third of the days.
_LAGS = 5
# Residuals below this share of the largest value are rounding, and what follows what in rounding means nothing.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class AutoregressiveChange:
    """A change by the line with AR(1) errors.

    Attributes:
        value: in outcome units (a day).
        se: its standard error.
        interval: 95 % t interval, with the residual degrees of freedom.
    """

    value: float
    se: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class AutoregressiveErrors:
    """What REML says of the errors.

    Attributes:
        autocorrelation: of the errors of neighbouring days.
        at_limit: whether the likelihood still rises where the search ends, at -.98 or .98; then no change is given.
        scale: standard deviation of the errors, in outcome units.
        log_likelihood: the restricted one.
    """

    autocorrelation: float
    at_limit: bool
    scale: float
    log_likelihood: float


@dataclass(frozen=True)
class Change:
    """One change at a switch of phases.

    Attributes:
        label: of the phase that begins.
        what: `level`, at its first day, or `slope`, a day.
        value: in outcome units (a day).
        se: standard error by least squares.
        hac_se: standard error by Newey and West.
        interval: 95 % t interval by least squares.
        hac_interval: 95 % t interval by Newey and West.
        reml: the same change by the line with AR(1) errors; None where that has none.
    """

    label: str
    what: str
    value: float
    se: float
    hac_se: float
    interval: tuple[float, float]
    hac_interval: tuple[float, float]
    reml: AutoregressiveChange | None


@dataclass(frozen=True)
class Segmented:
    """A segmented regression.

    Attributes:
        changes: level and slope at each switch.
        start: level on the first day, in outcome units.
        slope: change a day in the first phase.
        days: days in the fit.
        degrees_of_freedom: of the t intervals.
        r_squared: share of the variance that is explained.
        hac_lag: lag of Newey and West, in days.
        durbin_watson: near 2 without autocorrelation of the residuals; unreliable on short series; None when the lines
            go through every value.
        ljung_box_lags: lags that Ljung-Box looks at.
        ljung_box_p: p of the hypothesis that the residuals are white; None when the lines go through every value.
        reml: the errors by REML; None when the lines go through every value.
        fitted: the lines, on every day in a phase; NaN elsewhere; shape (days,).
        counterfactual: the first phase's line carried on; shape (days,).
        warning: what must stand beside every number of this.
    """

    changes: tuple[Change, ...]
    start: float
    slope: float
    days: int
    degrees_of_freedom: int
    r_squared: float
    hac_lag: int
    durbin_watson: float | None
    ljung_box_lags: int
    ljung_box_p: float | None
    reml: AutoregressiveErrors | None
    fitted: Values
    counterfactual: Values
    warning: str


def segmented(values: Values, phase: NDArray[np.int64], labels: Sequence[str], hac_lag: int | None = None) -> Segmented:
    """Fit a level and a slope for the first phase and a change of both for each one after it.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        phase: index of each day's phase, -1 for none; shape (days,).
        labels: the phases' labels.
        hac_lag: days; None for `LAG_RULE`.

    Raises:
        AnalysisError: the lag is negative, or the days cannot carry the line (`usable_days`).
    """
    if hac_lag is not None and hac_lag < 0:
        raise AnalysisError(f"hac_lag is {hac_lag}: a lag is 0 days or more")
    import statsmodels.api as sm
    from scipy.stats import t as student
    from statsmodels.stats.diagnostic import acorr_ljungbox
    from statsmodels.stats.stattools import durbin_watson

    used, design = usable_days(values, phase, labels), design_matrix(phase, len(labels))
    lag = floor(4 * (used.sum() / 100) ** (2 / 9)) if hac_lag is None else hac_lag
    fit = sm.OLS(values[used], design[used]).fit()
    hac = fit.get_robustcov_results("HAC", maxlags=lag, use_correction=False, use_t=True)
    width = float(student.ppf(0.975, fit.df_resid))
    rest = bool(np.abs(fit.resid).max() > _ROUNDING * np.abs(values[used]).max())
    reml = fit_autoregressive(values[used], design[used], np.flatnonzero(used)) if rest else None
    changes = []
    for index, label in enumerate(labels[1:]):
        for offset, what in ((2, "level"), (3, "slope")):
            at = 2 * index + offset
            value, se, hac_se = float(fit.params[at]), float(fit.bse[at]), float(hac.bse[at])
            interval = (value - width * se, value + width * se)
            by_reml = None
            if reml is not None and not reml.at_limit:
                coefficient, error = float(reml.coefficients[at]), float(reml.errors[at])
                by_reml = AutoregressiveChange(
                    coefficient, error, (coefficient - width * error, coefficient + width * error)
                )
            changes.append(
                Change(
                    label, what, value, se, hac_se, interval,
                    (value - width * hac_se, value + width * hac_se), by_reml,
                )
            )  # fmt: skip
    lags = max(1, min(_LAGS, int(used.sum()) // 3))
    return Segmented(
        changes=tuple(changes),
        start=float(fit.params[0]),
        slope=float(fit.params[1]),
        days=int(used.sum()),
        degrees_of_freedom=int(fit.df_resid),
        r_squared=float(fit.rsquared),
        hac_lag=lag,
        durbin_watson=float(durbin_watson(fit.resid)) if rest else None,
        ljung_box_lags=lags,
        ljung_box_p=float(acorr_ljungbox(fit.resid, lags=[lags])["lb_pvalue"].iloc[0]) if rest else None,
        reml=AutoregressiveErrors(reml.autocorrelation, reml.at_limit, reml.scale, reml.log_likelihood)
        if reml
        else None,
        fitted=np.where(phase >= 0, design @ fit.params, np.nan),
        counterfactual=design[:, :2] @ fit.params[:2],
        warning=WARNING,
    )
