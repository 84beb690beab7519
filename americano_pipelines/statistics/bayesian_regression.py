"""Fit the piecewise line of an interrupted time series by Bayesian regression.

PyMC is an optional extra; without it the request fails, since another method would answer another question.
"""

# Model, in units of the outcome's standard deviation s, y centred at the first phase's mean, time in mean phase
# lengths: start, slope, every step and every ramp ~ Normal(0, 2.5), sigma ~ HalfNormal(1), r ~ Normal(0, 0.5) within -1
# and 1. The error of a day is r^g times that of g days before and something new, its standard deviation is sigma. So
# the priors follow the data's scale and are wide: one step in three that they draw is larger than 2.5 s. Vehtari et al.
# (2021) for R-hat, the effective sample size and the limits 1.01 and 400.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.segmented_regression import design_matrix, usable_days

PRIOR_SD, AUTOCORRELATION_SD = 2.5, 0.5
CHAINS, DRAWS, TARGET_ACCEPT = 4, 1000, 0.95
_PARAMETERS = ("beta", "sigma", "rho")
MAX_R_HAT, MIN_EFFECTIVE_DRAWS = 1.01, 400
PYMC = "pymc>=5,<6"
"""What the extra `bayesian` asks for; the project itself is on no package index."""
WARNING = (
    "The model lets a day depend on the day before it (AR(1)). With 40 days and no change, 95 % intervals of the "
    "change of level leave out 0 three to six times of 100, at AR(1) 0 to .8. A probability near 1 is no proof of an "
    "effect."
)


@dataclass(frozen=True)
class Posterior:
    """The posterior of one change at a switch of phases.

    Attributes:
        label: of the phase that begins.
        what: `level`, at its first day, or `slope`, a day.
        mean: in outcome units (a day).
        sd: likewise.
        interval: the middle 95 %.
        above_zero: posterior probability that it is greater than 0.
        r_hat: rank-normalised; 1 when the chains agree.
        ess_bulk: effective draws for its centre.
        ess_tail: effective draws for its interval.
    """

    label: str
    what: str
    mean: float
    sd: float
    interval: tuple[float, float]
    above_zero: float
    r_hat: float
    ess_bulk: float
    ess_tail: float


@dataclass(frozen=True)
class BayesianSegmented:
    """What was sampled.

    Attributes:
        changes: level and slope at each switch.
        autocorrelation: posterior mean of that of the errors of neighbouring days.
        autocorrelation_interval: the middle 95 % of its posterior.
        days: days in the fit.
        seed: of the sampler.
        chains: their number.
        draws: kept of each chain; as many before were for tuning.
        divergences: steps that went wrong; more than none puts the posterior in doubt.
        largest_r_hat: of all parameters.
        smallest_ess: of all parameters, bulk or tail.
        converged: no divergence, R-hat at most 1.01, effective draws at least 400.
        pymc: version of PyMC.
        fitted: posterior mean of the line, on every day in a phase; NaN elsewhere; shape (days,).
        counterfactual: that of the first phase's line carried on; shape (days,).
        counterfactual_interval: its middle 95 %, without the noise of single days; shape (2, days).
        warning: what must stand beside every number of this.
    """

    changes: tuple[Posterior, ...]
    autocorrelation: float
    autocorrelation_interval: tuple[float, float]
    days: int
    seed: int
    chains: int
    draws: int
    divergences: int
    largest_r_hat: float
    smallest_ess: float
    converged: bool
    pymc: str
    fitted: Values
    counterfactual: Values
    counterfactual_interval: Values
    warning: str


def bayesian(values: Values, phase: NDArray[np.int64], labels: Sequence[str], *, seed: int) -> BayesianSegmented:
    """Sample the posterior of a level and a slope for the first phase and a change of both for each one after it.

    Args:
        values: the outcome of each day, NaN where there is none; shape (days,).
        phase: index of each day's phase, -1 for none; shape (days,).
        labels: the phases' labels.
        seed: of the sampler; the same seed gives the same draws under the same versions.

    Raises:
        AnalysisError: PyMC is not installed, or the days cannot carry the line (`usable_days`).
    """
    try:
        import arviz as az
        import pymc as pm
    except ImportError as error:
        raise AnalysisError(
            "a Bayesian interrupted time series needs PyMC, which is not installed: "
            f"python -m pip install '{PYMC}', with the project's Python ({error})"
        ) from error

    used, design = usable_days(values, phase, labels), design_matrix(phase, len(labels))
    centre, scale = float(values[used & (phase == 0)].mean()), float(values[used].std(ddof=1))
    # A slope of 1 then changes the outcome by s within a phase of mean length.
    units = np.where(np.arange(design.shape[1]) % 2, used.sum() / len(labels), 1.0)
    outcome, gaps = (values[used] - centre) / scale, np.diff(np.flatnonzero(used))
    with pm.Model():
        beta = pm.Normal("beta", 0.0, PRIOR_SD, shape=design.shape[1])
        sigma = pm.HalfNormal("sigma", 1.0)
        rho = pm.TruncatedNormal("rho", 0.0, AUTOCORRELATION_SD, lower=-1.0, upper=1.0)
        line, decay = pm.math.dot(design[used] / units, beta), rho**gaps
        pm.Normal("first", line[0], sigma, observed=outcome[0])
        expected = line[1:] + decay * (outcome[:-1] - line[:-1])
        pm.Normal("later", expected, sigma * pm.math.sqrt(1 - decay**2), observed=outcome[1:])
        # One process: a pipeline's worker must not fork while it holds connections and locks.
        trace = pm.sample(
            DRAWS, tune=DRAWS, chains=CHAINS, cores=1, random_seed=seed, target_accept=TARGET_ACCEPT, progressbar=False
        )
    r_hat, bulk, tail = az.rhat(trace), az.ess(trace), az.ess(trace, method="tail")
    largest = max(float(r_hat[name].max()) for name in _PARAMETERS)
    smallest = min(float(ess[name].min()) for ess in (bulk, tail) for name in _PARAMETERS)
    divergences = int(trace.sample_stats["diverging"].sum())
    correlation = trace.posterior["rho"].to_numpy().reshape(-1)
    draws = trace.posterior["beta"].to_numpy().reshape(-1, design.shape[1]) * scale / units
    changes = []
    for at in range(2, design.shape[1]):
        drawn, quality = draws[:, at], [float(of["beta"][at]) for of in (r_hat, bulk, tail)]
        interval = (float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975)))
        mean, sd, above = float(drawn.mean()), float(drawn.std(ddof=1)), float((drawn > 0).mean())
        changes.append(Posterior(labels[at // 2], "slope" if at % 2 else "level", mean, sd, interval, above, *quality))
    carried_on = centre + draws[:, :2] @ design[:, :2].T
    return BayesianSegmented(
        changes=tuple(changes),
        autocorrelation=float(correlation.mean()),
        autocorrelation_interval=(float(np.quantile(correlation, 0.025)), float(np.quantile(correlation, 0.975))),
        days=int(used.sum()),
        seed=seed,
        chains=CHAINS,
        draws=DRAWS,
        divergences=divergences,
        largest_r_hat=largest,
        smallest_ess=smallest,
        converged=divergences == 0 and largest <= MAX_R_HAT and smallest >= MIN_EFFECTIVE_DRAWS,
        pymc=pm.__version__,
        fitted=np.where(phase >= 0, centre + design @ draws.mean(axis=0), np.nan),
        counterfactual=carried_on.mean(axis=0),
        counterfactual_interval=np.quantile(carried_on, [0.025, 0.975], axis=0),
        warning=WARNING,
    )
