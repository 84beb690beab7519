"""Fit a line with errors of first-order autoregression, AR(1), by restricted maximum likelihood (REML)."""

# The error of a day is r times that of the day before, and something new; of days with a gap of g days between them
# r^g. REML as in Pinheiro and Bates (2000), chapter 5, which nlme's `gls(correlation = corAR1(form = ~ day))` computes:
# the coefficients and the variance are profiled out, and the likelihood that is left is searched over r alone.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.statistics.prefix_sums import Values

# Beyond this autocorrelation the days tell almost only the first value, and the likelihood has no maximum.
MAX_AUTOCORRELATION = 0.98
_GRID, _DECIMALS = 50, 6


@dataclass(frozen=True)
class AutoregressiveFit:
    """A line with AR(1) errors.

    Attributes:
        coefficients: shape (columns,).
        errors: their standard errors, shape (columns,).
        autocorrelation: of the errors of neighbouring days, between -.98 and .98.
        at_limit: whether the likelihood still rises at one of these limits, so that the errors mean little.
        scale: standard deviation of the errors, in outcome units.
        log_likelihood: the restricted one.
    """

    coefficients: Values
    errors: Values
    autocorrelation: float
    at_limit: bool
    scale: float
    log_likelihood: float


def fit_autoregressive(outcome: Values, design: Values, days: NDArray[np.int64]) -> AutoregressiveFit:
    """Fit by REML.

    Args:
        outcome: a value a day, none missing, not all on a line of the design; shape (days,).
        design: shape (days, columns), of full rank.
        days: number of each day, ascending; shape (days,).
    """
    from scipy.optimize import minimize_scalar

    def loss(correlation: float) -> float:
        return -_whitened(correlation, outcome, design, days).log_likelihood

    # There may be two maxima: the best of a grid, then between its neighbours.
    grid = np.linspace(-MAX_AUTOCORRELATION, MAX_AUTOCORRELATION, _GRID)
    best = int(np.argmin([loss(float(correlation)) for correlation in grid]))
    bounds = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)])
    optimum = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x)
    # Where the likelihood is flat another processor ends some 1e-8 away, and every number after it would differ.
    correlation = round(optimum, _DECIMALS)
    fit = _whitened(correlation, outcome, design, days)
    return AutoregressiveFit(
        coefficients=fit.coefficients,
        errors=np.sqrt(np.diag(fit.covariance)),
        autocorrelation=correlation,
        at_limit=best in (0, _GRID - 1) and abs(correlation) > MAX_AUTOCORRELATION - 1e-5,
        scale=fit.scale,
        log_likelihood=fit.log_likelihood,
    )


@dataclass(frozen=True)
class _Whitened:
    """Generalised least squares under a known autocorrelation."""

    coefficients: Values
    covariance: Values
    scale: float
    log_likelihood: float


def _whitened(correlation: float, outcome: Values, design: Values, days: NDArray[np.int64]) -> _Whitened:
    decay = correlation ** np.diff(days)
    spread = np.sqrt(1 - decay**2)
    table = np.column_stack((design, outcome))
    # Each day less its prediction from the day before, divided by the relative error of that prediction.
    table[1:] = (table[1:] - decay[:, None] * table[:-1]) / spread[:, None]
    base, triangle = np.linalg.qr(table[:, :-1])
    coefficients = np.linalg.solve(triangle, base.T @ table[:, -1])
    freedom = outcome.size - design.shape[1]
    variance = float(((table[:, -1] - table[:, :-1] @ coefficients) ** 2).sum()) / freedom
    inverse = np.linalg.inv(triangle)
    log_likelihood = -0.5 * freedom * (np.log(2 * np.pi * variance) + 1)
    log_likelihood -= float(np.log(spread).sum()) + float(np.log(np.abs(np.diag(triangle))).sum())
    return _Whitened(coefficients, variance * inverse @ inverse.T, float(np.sqrt(variance)), float(log_likelihood))
