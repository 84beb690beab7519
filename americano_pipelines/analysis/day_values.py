"""Write the days of an analysis as a document of its own: a value a day, the plan, the phases, and what was drawn.

It holds no time of an event and no learner's id, and is enough to do the analysis again.
"""

# With this package and its libraries by `analysis/repeat.py`, from `extract`; with numpy alone, as far as that goes, by
# `statistics/recompute.py`, from the rest.

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from americano_pipelines.analysis.alternation_scheme import alternating_phases
from americano_pipelines.analysis.combined_extract import CombinedExtract
from americano_pipelines.analysis.daily_series import Observations, observe
from americano_pipelines.analysis.extract import BaseExtract, Extract
from americano_pipelines.analysis.group_extract import GroupExtract
from americano_pipelines.analysis.multiple_baseline_scheme import read_joint_scheme
from americano_pipelines.analysis.parameters import AbabParameters, Parameters
from americano_pipelines.analysis.randomization_scheme import RandomizationScheme, is_alternation, read_schemes
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.common.json_values import jsonable
from americano_pipelines.statistics.recorded_fields import recorded_fields

DAYS = "days.json"


def day_values(extract: BaseExtract, parameters: Parameters) -> bytes | None:
    """The canonical text of the days; None for an analysis of all learners.

    An analysis of records has no days: its text holds the plans and what is taken from the records.

    Args:
        extract: the input.
        parameters: the parameters of the analysis.
    """
    if not extract.members:
        return None
    document: dict[str, Any] = {
        "version": 2,
        "outcome": extract.members[0].outcome,
        "parameters": parameters.recorded(),
    }
    if isinstance(extract, CombinedExtract):
        return canonical_json({**document, "extract": extract.model_dump()})
    every = [observe(member) for member in extract.members]
    daily = [_daily_extract(observations).model_dump() for observations in every]
    if isinstance(extract, GroupExtract):
        document |= {"cases": [_days(observations) for observations in every], "test": _tested_jointly(every)}
        document["extract"] = {**extract.model_dump(exclude={"protocols"}), "protocols": daily}
    else:
        (observations,) = every
        document |= {**_days(observations), "test": None, "extract": daily[0]}
        if isinstance(parameters, AbabParameters):
            first, *others = read_schemes(observations, parameters)
            document["test"] = _tested(first)
            if others:
                document["contrasts"] = [_tested(scheme) for scheme in others]
    return canonical_json(jsonable(document))


def _daily_extract(observations: Observations) -> Extract:
    """The extract with one event on each day with a value, which has the day's value.

    It is at the beginning of the day, or of the phase that begins within the day: such a day has a value under another
    assignment.
    """
    windows, clock = observations.timeline.windows, observations.timeline.clock
    begins = {clock.day(window.starts_us): window for window in windows if not clock.begins_day(window.starts_us)}
    values = observations.days.with_switches
    days = np.flatnonzero(~np.isnan(values)).tolist()
    return observations.extract.model_copy(
        update={
            "times_us": [begins[day].starts_us if day in begins else clock.start(day) for day in days],
            "values": values[days].tolist(),
            "labels": [
                begins[day].label if day in begins else windows[observations.days.phase[day]].label for day in days
            ],
        }
    )


def _days(observations: Observations) -> dict[str, Any]:
    """The days of a protocol with the phase that each belongs to."""
    windows = observations.timeline.windows
    document: dict[str, Any] = {
        "values": observations.days.values,
        "phase": observations.days.phase,
        "labels": [window.label for window in windows],
        "conditions": [window.condition for window in windows],
    }
    if is_alternation(observations) and len(part := alternating_phases(observations)) < len(windows):
        document["held"] = [window.label for index, window in enumerate(windows) if index not in part]
    return document


def _tested_jointly(cases: Sequence[Observations]) -> dict[str, Any] | None:
    """The experiment of a multiple baseline, None where there is none to test."""
    experiment = read_joint_scheme(cases).experiment
    return None if experiment is None else asdict(experiment)


def _tested(scheme: RandomizationScheme) -> dict[str, Any] | None:
    """The case of a randomization test, None where there is none."""
    case = scheme.case
    if case is None:
        return None
    schedule = {"kind": type(case.schedule).__name__, **recorded_fields(case.schedule)}
    return {"values": case.values, "observed": list(case.observed), "schedule": schedule}
