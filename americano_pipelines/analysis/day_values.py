"""Write the days of an analysis as a document of its own: a value a day, the phases, and what was drawn.

It holds no time of an event and no name, and is enough to compute the result again: see `statistics/recompute.py`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from americano_pipelines.analysis.alternation_scheme import alternating_phases
from americano_pipelines.analysis.combined_extract import CombinedExtract
from americano_pipelines.analysis.daily_series import Observations, observe
from americano_pipelines.analysis.extract import BaseExtract
from americano_pipelines.analysis.group_extract import GroupExtract
from americano_pipelines.analysis.multiple_baseline_scheme import read_joint_scheme
from americano_pipelines.analysis.parameters import AbabParameters, Parameters
from americano_pipelines.analysis.randomization_scheme import RandomizationScheme, is_alternation, read_schemes
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.common.json_values import jsonable
from americano_pipelines.statistics.recorded_fields import recorded_fields

DAYS = "days.json"


def day_values(extract: BaseExtract, parameters: Parameters) -> bytes | None:
    """The canonical text of the days; None for an analysis of all learners or of records, which has none.

    Args:
        extract: the input.
        parameters: the parameters of the analysis.
    """
    if not extract.members or isinstance(extract, CombinedExtract):
        return None
    every = [observe(member) for member in extract.members]
    document: dict[str, Any] = {
        "version": 1,
        "outcome": extract.members[0].outcome,
        "parameters": parameters.recorded(),
    }
    if isinstance(extract, GroupExtract):
        document |= {"cases": [_days(observations) for observations in every], "test": _tested_jointly(every)}
    else:
        (observations,) = every
        document |= {**_days(observations), "test": None}
        if isinstance(parameters, AbabParameters):
            first, *others = read_schemes(observations, parameters)
            document["test"] = _tested(first)
            if others:
                document["contrasts"] = [_tested(scheme) for scheme in others]
    return canonical_json(jsonable(document))


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
