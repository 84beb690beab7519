"""Analyses that describe a series without judging it: interrupted time series, and the search for change points.

Here belongs putting them together from a protocol's days. Neither gives a verdict; what is said of them carries the
warning that their numbers need. The Bayesian fit is `posterior.py`.
"""

from dataclasses import asdict

from americano_pipelines.analysis.config import ChangePointParameters, SegmentedParameters
from americano_pipelines.analysis.observations import Observations
from americano_pipelines.analysis.outcome import Analysis, jsonable
from americano_pipelines.analysis.plots import draw_lines, draw_phases
from americano_pipelines.analysis.posterior import analyse_bayesian
from americano_pipelines.research.changepoints import change_points
from americano_pipelines.research.segmented import LAG_RULE, segmented

VERSION = "1"
# Below this, errors of either kind are known to be far too small (Turner et al. 2020).
_SHORT = 100


def analyse_interrupted(seen: Observations, asked: SegmentedParameters) -> Analysis:
    """Fit a line to each phase, by the method that was asked for, and tell what changes where they meet.

    Raises:
        AnalysisError: a phase has too few days for a line, or the method needs what is not installed.
    """
    return analyse_bayesian(seen, asked) if asked.method == "bayesian" else analyse_segmented(seen, asked)


def analyse_segmented(seen: Observations, asked: SegmentedParameters) -> Analysis:
    """The same by least squares.

    Raises:
        AnalysisError: a phase has too few days for a line.
    """
    found = segmented(seen.days.values, seen.days.phase, seen.labels, asked.hac_lag)
    level, slope = found.changes[:2]
    (low, high), (hac_low, hac_high) = level.interval, level.hac_interval
    sentence = (
        f"Described, not judged: at the first day of {level.label} the level changed by {level.value:+.2f} "
        f"(95 % t interval {low:.2f} to {high:.2f} by least squares, {hac_low:.2f} to {hac_high:.2f} with Newey and "
        f"West's errors). {found.warning}"
    )
    if found.days < _SHORT:
        sentence += f" With {found.days} days this series is short."
    picture = draw_lines(
        seen.days.values,
        seen.bands(),
        found.fitted,
        found.counterfactual,
        outcome=seen.extract.outcome,
        title=f"{_name(seen)}: segmented regression",
    )
    methods = (
        f"{seen.extract.outcome} was averaged by day and regressed on time, with a change of level at the first day of "
        f"each later phase and a change of slope from it on, by ordinary least squares over {found.days} days with a "
        "value; days without one kept their place in time. Errors are given twice: of least squares, and of Newey and "
        f"West with a lag of {found.hac_lag} days and without small-sample correction; intervals are t intervals with "
        f"{found.degrees_of_freedom} degrees of freedom. The counterfactual carries the first phase's line on."
    )
    return Analysis(
        name="interrupted_time_series",
        version=VERSION,
        sentence=sentence,
        results={
            "regression": jsonable({**asdict(found), "lag rule": LAG_RULE if asked.hac_lag is None else "given"}),
            "phases": jsonable(seen.phase_table()),
            "counts": jsonable(seen.counts()),
        },
        pictures={"lines.png": picture},
        methods=methods,
        verdict=None,
        numbers={
            "level_change": level.value,
            "level_change_low": low,
            "level_change_high": high,
            "slope_change": slope.value,
            "durbin_watson": found.durbin_watson,
            "ljung_box_p": found.ljung_box_p,
        },
    )


def analyse_change_points(seen: Observations, asked: ChangePointParameters) -> Analysis:
    """Look for changes of level without being told where.

    Raises:
        AnalysisError: there are too few days.
    """
    # Days cut by a switch are in no phase and have no value; what was done outside all phases is not looked at.
    found = change_points(seen.days.values, min_size=asked.min_size, factor=asked.factor)
    switches = ", ".join(str(int(band.first)) for band in seen.bands()[1:])
    sentence = (
        f"Exploration, no verdict: changes of level on day {', '.join(map(str, found.days)) or 'none'}; phases switch "
        f"on day {switches}. {found.note}"
    )
    picture = draw_phases(
        seen.days.values,
        seen.bands(),
        seen.days.switched,
        outcome=seen.extract.outcome,
        title=f"{_name(seen)}: change points",
        marked=found.days,
    )
    methods = (
        f"Changes of the level of {seen.extract.outcome}, averaged by day, were looked for with PELT: squared error, "
        f"every day a candidate, at least {found.min_size} days between two changes, and a penalty of {asked.factor:g} "
        f"noise^2 ln(days) = {found.penalty:.2f}, the noise ({found.noise:.2f}) estimated from the median difference "
        "of neighbouring days. The search was repeated under other penalties."
    )
    return Analysis(
        name="change_points",
        version=VERSION,
        sentence=sentence,
        results={
            "change points": jsonable(asdict(found)),
            "phases": jsonable(seen.phase_table()),
            "counts": jsonable(seen.counts()),
        },
        pictures={"phases.png": picture},
        methods=methods,
        verdict=None,
        numbers={"change_points": float(len(found.days)), "penalty": found.penalty, "noise": found.noise},
    )


def _name(seen: Observations) -> str:
    return seen.extract.protocol.name or seen.extract.protocol.protocol_id
