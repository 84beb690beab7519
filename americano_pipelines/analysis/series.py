"""Analyses that describe a series without judging it: segmented regression, and the search for change points.

Here belongs putting them together from a protocol's days. Neither gives a verdict; the warnings that come with their
numbers stand first in what is said of them.
"""

from dataclasses import asdict

import numpy as np
from pydantic import JsonValue

from americano_pipelines.analysis.config import ChangePointParameters, SegmentedParameters
from americano_pipelines.analysis.observations import Observations
from americano_pipelines.analysis.outcome import Analysis, jsonable
from americano_pipelines.analysis.plots import draw_lines, draw_phases
from americano_pipelines.research.changepoints import change_points
from americano_pipelines.research.segmented import LAG_RULE, segmented

VERSION = "1"


def analyse_segmented(seen: Observations, asked: SegmentedParameters) -> Analysis:
    """Fit a line to each phase and tell what changes where they meet.

    Raises:
        AnalysisError: a phase has too few days for a line.
    """
    found = segmented(seen.days.values, seen.days.phase, seen.labels, asked.hac_lag)
    first = found.changes[0]
    low, high = first.hac_interval
    sentence = (
        f"Described, not judged: at the first day of {first.label} the level changed by {first.value:+.2f} "
        f"(95 % t interval with Newey and West's errors {low:.2f} to {high:.2f}). {found.warning}"
    )
    if found.days < _SHORT:
        sentence += f" With {found.days} days this series is short."
    results: dict[str, JsonValue] = {
        "regression": jsonable({**asdict(found), "lag rule": LAG_RULE if asked.hac_lag is None else "given"}),
        "phases": jsonable(seen.phase_table()),
        "counts": jsonable(seen.counts()),
    }
    picture = draw_lines(
        seen.days.values,
        seen.bands(),
        found.fitted,
        found.counterfactual,
        outcome=seen.extract.outcome,
        title=f"{seen.extract.protocol.name or seen.extract.protocol.protocol_id}: segmented regression",
    )
    methods = (
        f"{seen.extract.outcome} was averaged by day and regressed on time, with a change of level at the first "
        f"day of each "
        f"later phase and a change of slope from it on, by ordinary least squares over {found.days} days with a value; "
        f"days without one kept their place in time. Errors are given twice: of least squares, and of Newey and "
        f"West with "
        f"a lag of {found.hac_lag} days and without small-sample correction; intervals are t intervals with "
        f"{found.degrees_of_freedom} degrees of freedom. The counterfactual carries the first phase's line on."
    )
    return Analysis(
        name="interrupted_time_series",
        version=VERSION,
        sentence=sentence,
        results=results,
        pictures={"lines.png": picture},
        methods=methods,
        verdict=None,
        numbers={
            "level_change": first.value,
            "level_change_low": low,
            "level_change_high": high,
            "slope_change": found.changes[1].value,
            "durbin_watson": found.durbin_watson,
            "ljung_box_p": found.ljung_box_p,
        },
    )


# Below this, errors by either kind are known to be far too small (Turner et al. 2020 recommend no more than OLS).
_SHORT = 100


def analyse_change_points(seen: Observations, asked: ChangePointParameters) -> Analysis:
    """Look for changes of level without being told where.

    Raises:
        AnalysisError: there are too few days.
    """
    # Days cut by a switch are in no phase and have no value; what was done outside all phases is not looked at.
    found = change_points(
        np.where(seen.days.phase >= 0, seen.days.values, np.nan), min_size=asked.min_size, factor=asked.factor
    )
    starts = [int(band.first) for band in seen.bands()[1:]]
    where = ", ".join(map(str, found.days)) or "nowhere"
    sentence = (
        f"Exploration, no verdict: changes of level on day {where}; phases switch on day "
        f"{', '.join(map(str, starts))}. "
        f"{found.note}"
    )
    results: dict[str, JsonValue] = {
        "change points": jsonable(asdict(found)),
        "phases": jsonable(seen.phase_table()),
        "counts": jsonable(seen.counts()),
    }
    picture = draw_phases(
        seen.days.values,
        seen.bands(),
        seen.days.switched,
        outcome=seen.extract.outcome,
        title=f"{seen.extract.protocol.name or seen.extract.protocol.protocol_id}: change points",
        marked=found.days,
    )
    methods = (
        f"Changes of the level of {seen.extract.outcome}, averaged by day, were looked for with PELT: squared "
        f"error, every "
        f"day a candidate, at least {found.min_size} days between two changes, and a penalty of "
        f"{asked.factor:g} noise^2 "
        f"ln(days) = {found.penalty:.2f}, the noise ({found.noise:.2f}) estimated from the median difference of "
        f"neighbouring "
        "days. The search was repeated under other penalties."
    )
    return Analysis(
        name="change_points",
        version=VERSION,
        sentence=sentence,
        results=results,
        pictures={"phases.png": picture},
        methods=methods,
        verdict=None,
        numbers={"change_points": float(len(found.days)), "penalty": found.penalty, "noise": found.noise},
    )
