"""The Bayesian interrupted time series of a protocol: what its posterior says, and whether it was sampled well.

Here belongs putting `research/bayesian.py` together from a protocol's days. By least squares it is `series.py`; one
never stands in for the other.
"""

from dataclasses import asdict

from americano_pipelines.analysis.config import SegmentedParameters
from americano_pipelines.analysis.observations import Observations
from americano_pipelines.analysis.outcome import Analysis, jsonable
from americano_pipelines.analysis.plots import draw_lines
from americano_pipelines.research.bayesian import PRIOR_SD, BayesianSegmented, bayesian

VERSION = "1"


def analyse_bayesian(seen: Observations, asked: SegmentedParameters) -> Analysis:
    """Sample the posterior of a line in each phase and tell what changes where they meet.

    Raises:
        AnalysisError: PyMC is not installed, or a phase has too few days for a line.
    """
    found = bayesian(seen.days.values, seen.days.phase, seen.labels, seed=asked.seed)
    level, slope = found.changes[:2]
    protocol = seen.extract.protocol
    picture = draw_lines(
        seen.days.values,
        seen.bands(),
        found.fitted,
        found.counterfactual,
        outcome=seen.extract.outcome,
        title=f"{protocol.name or protocol.protocol_id}: segmented regression, posterior means",
    )
    return Analysis(
        name="interrupted_time_series",
        version=VERSION,
        sentence=posterior_sentence(found),
        results={
            "posterior": jsonable(asdict(found)),
            "phases": jsonable(seen.phase_table()),
            "counts": jsonable(seen.counts()),
        },
        pictures={"lines.png": picture},
        methods=_methods(seen, found),
        verdict=None,
        numbers={
            "level_change": level.mean,
            "level_change_low": level.interval[0],
            "level_change_high": level.interval[1],
            "level_change_above_zero": level.above_zero,
            "slope_change": slope.mean,
            "largest_r_hat": found.largest_r_hat,
            "smallest_ess": found.smallest_ess,
            "divergences": float(found.divergences),
        },
        seed=found.seed,
        generator=f"NUTS, PyMC {found.pymc}",
    )


def posterior_sentence(found: BayesianSegmented) -> str:
    """What is said of a posterior. Chains that did not agree come first: nothing after them can be trusted."""
    level = found.changes[0]
    low, high = level.interval
    sampled = (
        f"R-hat at most {found.largest_r_hat:.3f}, at least {found.smallest_ess:,.0f} effective draws, "
        f"{found.divergences} divergences, seed {found.seed}"
    )
    told = (
        f"at the first day of {level.label} the level changed by {level.mean:+.2f} (posterior mean; 95 % credible "
        f"interval {low:.2f} to {high:.2f}; probability of a rise {level.above_zero:.3f})"
    )
    if not found.converged:
        return f"Not to be relied on: the sampler did not converge ({sampled}). As far as it went, {told}."
    return f"Described, not judged: {told}. The sampler converged ({sampled}). {found.warning}"


def _methods(seen: Observations, found: BayesianSegmented) -> str:
    return (
        f"{seen.extract.outcome} was averaged by day and modelled as a line in time with a change of level at the "
        f"first day of each later phase and a change of slope from it on, over {found.days} days with a value. In "
        "units of the outcome's standard deviation and of mean phase lengths all coefficients had "
        f"Normal(0, {PRIOR_SD:g}) priors and the independent normal errors a HalfNormal(1) scale. {found.chains} "
        f"chains of {found.draws} draws each, after as many for tuning, were sampled with NUTS (PyMC {found.pymc}, "
        f"seed {found.seed}). The largest R-hat was {found.largest_r_hat:.3f}, the smallest effective sample size "
        f"{found.smallest_ess:,.0f}, with {found.divergences} divergent transitions. Intervals are the middle 95 % of "
        "the posterior."
    )
