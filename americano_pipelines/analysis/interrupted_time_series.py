"""Describe a series without a verdict: interrupted time series (OLS, Bayesian) and change points.

Each result carries the warning that its numbers need.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

from pydantic import JsonValue

from americano_pipelines.analysis.daily_series import DAILY, Observations
from americano_pipelines.analysis.parameters import (
    BAYESIAN_VERSION,
    CHANGE_POINTS_VERSION,
    SEGMENTED_VERSION,
    ChangePointParameters,
    SegmentedParameters,
)
from americano_pipelines.analysis.plots import draw_lines, draw_phases
from americano_pipelines.analysis.randomization_scheme import is_alternation
from americano_pipelines.analysis.result import Analysis, Pictures
from americano_pipelines.common.json_values import jsonable
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.bayesian_regression import PRIOR_SD, BayesianSegmented, bayesian
from americano_pipelines.statistics.changepoint_search import change_points
from americano_pipelines.statistics.formulas import CHANGE_POINTS, POSTERIOR, SEGMENTED, Formula
from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome
from americano_pipelines.statistics.segmented_regression import LAG_RULE, Segmented, segmented, usable_days


def analyse_bayesian(observations: Observations, parameters: SegmentedParameters) -> Analysis:
    """Sample the posterior of a line in each phase, and describe the changes where the phases meet.

    Raises:
        AnalysisError: PyMC is not installed, or a phase has too few days for a line.
    """
    fit = bayesian(observations.days.values, observations.days.phase, observations.labels, seed=parameters.seed)
    level, slope = fit.changes[:2]
    return Analysis(
        name="interrupted_time_series",
        version=BAYESIAN_VERSION,
        sentence=posterior_sentence(fit),
        results={
            "posterior": jsonable(asdict(fit)),
            **_common_results(observations, POSTERIOR),
        },
        pictures=Pictures(
            {"lines.png": partial(_draw_fit, observations, fit, "segmented regression, posterior means")}
        ),
        methods=_methods(observations, fit),
        verdict=None,
        numbers={
            "level_change": level.mean,
            "level_change_low": level.interval[0],
            "level_change_high": level.interval[1],
            "level_change_above_zero": level.above_zero,
            "slope_change": slope.mean,
            "largest_r_hat": fit.largest_r_hat,
            "smallest_ess": fit.smallest_ess,
            "divergences": float(fit.divergences),
        },
        counts=observations.counts(),
        files={DAILY: observations.daily_csv()},
        seed=fit.seed,
        generator=f"NUTS, PyMC {fit.pymc}",
    )


def _draw_fit(observations: Observations, fit: BayesianSegmented | Segmented, title: str) -> bytes:
    """The days with the fitted lines and the counterfactual."""
    return draw_lines(
        observations.days.values,
        observations.bands(),
        fit.fitted,
        fit.counterfactual,
        outcome=observations.extract.outcome,
        title=f"{observations.extract.protocol.title}: {title}",
    )


def _common_results(observations: Observations, formulas: Sequence[Formula]) -> dict[str, JsonValue]:
    """What each of these analyses reports beside its own numbers."""
    return {
        "phases": jsonable(observations.phase_table()),
        "days": observations.day_definition(),
        "counts": jsonable(observations.counts()),
        "formulas": jsonable([asdict(formula) for formula in formulas]),
    }


def posterior_sentence(fit: BayesianSegmented) -> str:
    """Describe a posterior in a sentence; say first when the chains did not agree, since nothing else holds then."""
    level = fit.changes[0]
    decimals = decimals_for((level.mean, *level.interval))
    mean = format_outcome(level.mean, decimals, sign=True)
    low, high = (format_outcome(bound, decimals) for bound in level.interval)
    sampled = (
        f"R-hat at most {fit.largest_r_hat:.3f}, at least {fit.smallest_ess:,.0f} effective draws, "
        f"{fit.divergences} divergences, seed {fit.seed}"
    )
    description = (
        f"at the first day of {level.label} the level changed by {mean} (posterior mean; 95 % credible "
        f"interval {low} to {high}; probability of a rise {level.above_zero:.3f})"
    )
    if not fit.converged:
        return f"Not to be relied on: the sampler did not converge ({sampled}). As far as it went, {description}."
    return f"Described, not judged: {description}. The sampler converged ({sampled}). {fit.warning}"


def _methods(observations: Observations, fit: BayesianSegmented) -> str:
    return (
        f"{observations.extract.outcome} was averaged by day, {observations.day_in_words}, "
        "and modelled as a line in time with a change of level "
        "at the "
        f"first day of each later phase and a change of slope from it on, over {fit.days} days with a value. In "
        "units of the outcome's standard deviation and of mean phase lengths all coefficients had "
        f"Normal(0, {PRIOR_SD:g}) priors and the independent normal errors a HalfNormal(1) scale. {fit.chains} "
        f"chains of {fit.draws} draws each, after as many for tuning, were sampled with NUTS (PyMC {fit.pymc}, "
        f"seed {fit.seed}). The largest R-hat was {fit.largest_r_hat:.3f}, the smallest effective sample size "
        f"{fit.smallest_ess:,.0f}, with {fit.divergences} divergent transitions. Intervals are the middle 95 % of "
        "the posterior."
    )


# Below this, errors of either kind are known to be far too small (Turner et al. 2020).
_SHORT = 100


def analyse_interrupted(observations: Observations, parameters: SegmentedParameters) -> Analysis:
    """Fit a line to each phase by the chosen method, and describe the changes where the phases meet.

    An alternation whose runs are too short for lines is no error: its design has none.

    Raises:
        AnalysisError: a phase has too few days for a line, or the method needs a package that is not installed.
    """
    if is_alternation(observations):
        try:
            usable_days(observations.days.values, observations.days.phase, observations.labels)
        except AnalysisError as error:
            return _without_lines(observations, str(error))
    return (
        analyse_bayesian(observations, parameters)
        if parameters.method == "bayesian"
        else analyse_segmented(observations, parameters)
    )


def _without_lines(observations: Observations, why: str) -> Analysis:
    """The result of an alternation through which no lines can be drawn."""
    sentence = f"Not described: in a design of type ALTERNATING phases are runs of days, and {why}."
    bands = [replace(band, label="") for band in observations.bands()]
    picture = partial(
        draw_phases,
        observations.days.values,
        bands,
        observations.days.switched,
        outcome=observations.extract.outcome,
        title=f"{observations.extract.protocol.title}: no lines (treatment days on orange)",
    )
    return Analysis(
        name="interrupted_time_series",
        version=SEGMENTED_VERSION,
        sentence=sentence,
        results={"regression": {"why there is none": why}, **_common_results(observations, ())},
        pictures=Pictures({"phases.png": picture}),
        methods=f"No line was fitted: {why}.",
        verdict=None,
        numbers={"level_change": None, "slope_change": None},
        counts=observations.counts(),
        files={DAILY: observations.daily_csv()},
    )


def analyse_segmented(observations: Observations, parameters: SegmentedParameters) -> Analysis:
    """Fit a line to each phase by least squares, and describe the changes where the phases meet.

    Raises:
        AnalysisError: a phase has too few days for a line.
    """
    fit = segmented(observations.days.values, observations.days.phase, observations.labels, parameters.hac_lag)
    level, slope = fit.changes[:2]
    decimals = decimals_for((level.value, *level.interval, *level.hac_interval, *(level.reml or level).interval))
    low, high, hac_low, hac_high = (format_outcome(bound, decimals) for bound in (*level.interval, *level.hac_interval))
    sentence = (
        f"Described, not judged: at the first day of {level.label} the level changed by "
        f"{format_outcome(level.value, decimals, sign=True)} (95 % t interval {low} to {high} by least squares, "
        f"{hac_low} to {hac_high} with Newey and West's errors){_by_reml(fit, decimals)}. {fit.warning}"
    )
    if fit.days < _SHORT:
        sentence += f" With {fit.days} days this series is short."
    methods = (
        f"{observations.extract.outcome} was averaged by day, {observations.day_in_words}, "
        "and regressed on time, with a change of level at the "
        "first day of "
        f"each later phase and a change of slope from it on, by ordinary least squares over {fit.days} days with a "
        "value; days without one kept their place in time. Errors are given twice: of least squares, and of Newey and "
        f"West with a lag of {fit.hac_lag} days and without small-sample correction. The same lines were also "
        "fitted with AR(1) errors by restricted maximum likelihood, in which days depend on each other less the larger "
        f"the gap between them. Intervals are t intervals with {fit.degrees_of_freedom} degrees of freedom. The "
        "counterfactual carries the first phase's line on."
    )
    return Analysis(
        name="interrupted_time_series",
        version=SEGMENTED_VERSION,
        sentence=sentence,
        results={
            "regression": jsonable({**asdict(fit), "lag rule": LAG_RULE if parameters.hac_lag is None else "given"}),
            **_common_results(observations, SEGMENTED),
        },
        pictures=Pictures({"lines.png": partial(_draw_fit, observations, fit, "segmented regression")}),
        methods=methods,
        verdict=None,
        numbers={
            "level_change": level.value,
            "level_change_low": level.interval[0],
            "level_change_high": level.interval[1],
            "slope_change": slope.value,
            "level_change_reml": level.reml.value if level.reml else None,
            "level_change_reml_low": level.reml.interval[0] if level.reml else None,
            "level_change_reml_high": level.reml.interval[1] if level.reml else None,
            "autocorrelation_reml": fit.reml.autocorrelation if fit.reml else None,
            "durbin_watson": fit.durbin_watson,
            "ljung_box_p": fit.ljung_box_p,
        },
        counts=observations.counts(),
        files={DAILY: observations.daily_csv()},
    )


def _by_reml(fit: Segmented, decimals: int) -> str:
    """The first change of level by REML, as a part of the sentence."""
    level = fit.changes[0].reml
    if fit.reml is None:
        return ""
    if level is None:
        return (
            "; with AR(1) errors by REML nothing can be said, because the estimated autocorrelation "
            f"({fit.reml.autocorrelation:.2f}) is at its limit"
        )
    low, high = (format_outcome(bound, decimals) for bound in level.interval)
    return (
        f"; by {format_outcome(level.value, decimals, sign=True)} ({low} to {high}) with AR(1) errors by REML "
        f"(autocorrelation {fit.reml.autocorrelation:.2f})"
    )


def analyse_change_points(observations: Observations, parameters: ChangePointParameters) -> Analysis:
    """Search for changes of level at unknown days.

    Raises:
        AnalysisError: there are too few days.
    """
    # Days in which phases switch are in no phase and have no value; events outside all phases are left out.
    changes = change_points(observations.days.values, min_size=parameters.min_size, factor=parameters.factor)
    switches = ", ".join(str(int(band.first)) for band in observations.bands()[1:])
    sentence = (
        f"Exploration, no verdict: changes of level on day {', '.join(map(str, changes.days)) or 'none'}; phases "
        "switch "
        f"on day {switches}. {changes.note}"
    )
    picture = partial(
        draw_phases,
        observations.days.values,
        observations.bands(),
        observations.days.switched,
        outcome=observations.extract.outcome,
        title=f"{observations.extract.protocol.title}: change points",
        marked=changes.days,
    )
    methods = (
        f"Changes of the level of {observations.extract.outcome}, averaged by day, "
        f"{observations.day_in_words}, were looked for with PELT: "
        "squared error, "
        f"every day a candidate, at least {changes.min_size} days between two changes, and a penalty of "
        f"{parameters.factor:g} "
        f"noise^2 ln(days) = {changes.penalty:.3g}, the noise ({changes.noise:.3g}) estimated from the median "
        "difference "
        "of neighbouring days. The search was repeated under other penalties."
    )
    return Analysis(
        name="change_points",
        version=CHANGE_POINTS_VERSION,
        sentence=sentence,
        results={
            "change points": jsonable(asdict(changes)),
            **_common_results(observations, CHANGE_POINTS),
        },
        pictures=Pictures({"phases.png": picture}),
        methods=methods,
        verdict=None,
        numbers={"change_points": float(len(changes.days)), "penalty": changes.penalty, "noise": changes.noise},
        counts=observations.counts(),
        files={DAILY: observations.daily_csv()},
    )
