"""Write the days of an analysis as a document of its own: a value a day, the phases, and what was drawn.

It holds no time of an event and no name, and is enough to compute the result again: see `statistics/recompute.py`.
"""

from typing import Any

from americano_pipelines.analysis.alternation_scheme import alternating_phases
from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.extract import BaseExtract, Extract
from americano_pipelines.analysis.randomization_scheme import RandomizationScheme, is_alternation, read_schemes
from americano_pipelines.analysis.registry import AbabParameters, Parameters
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.common.json_values import jsonable
from americano_pipelines.statistics.recorded_fields import recorded_fields

DAYS = "days.json"


def day_values(extract: BaseExtract, parameters: Parameters) -> bytes | None:
    """The canonical text of the days; None for an analysis of all learners, which has none.

    Args:
        extract: the input.
        parameters: the parameters of the analysis.
    """
    if not isinstance(extract, Extract):
        return None
    observations = observe(extract)
    windows = observations.timeline.windows
    document = {
        "version": 1,
        "outcome": extract.outcome,
        "values": observations.days.values,
        "phase": observations.days.phase,
        "labels": [window.label for window in windows],
        "conditions": [window.condition for window in windows],
        "parameters": parameters.recorded(),
        "test": None,
    }
    if isinstance(parameters, AbabParameters):
        schemes = read_schemes(observations, parameters)
        document["test"] = _tested(schemes[0])
        if others := schemes[1:]:
            document["contrasts"] = [_tested(scheme) for scheme in others]
    if is_alternation(observations) and len(part := alternating_phases(observations)) < len(windows):
        document["held"] = [window.label for place, window in enumerate(windows) if place not in part]
    return canonical_json(jsonable(document))


def _tested(scheme: RandomizationScheme) -> dict[str, Any] | None:
    """The case of a randomization test, None where there is none."""
    case = scheme.case
    if case is None:
        return None
    schedule = {"kind": type(case.schedule).__name__, **recorded_fields(case.schedule)}
    return {"values": case.values, "observed": list(case.observed), "schedule": schedule}
