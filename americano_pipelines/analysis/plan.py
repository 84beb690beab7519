"""What was laid down before, and the parameters that follow from it.

Here belongs reading the plan out of the protocol. A protocol's plan for machines stands with its phases, beside the
drawing of their lengths: `interventionParams.analysis`, such as
`{"type": "ABAB_RANDOMIZATION", "direction": "increase", "alpha": 0.05}`. `analysisPlan` is the same for people. Whether
a run is what was planned is `standing.py`.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from americano_pipelines.analysis.catalog import Kind, requested
from americano_pipelines.analysis.config import Parameters
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.errors import AnalysisError


def plan_of(extract: Extract) -> dict[str, Any] | None:
    """The plan that all phases record, None when they record none, or not the same."""
    noted = [
        phase.parameters.get("analysis") if isinstance(phase.parameters, dict) else None for phase in extract.phases
    ]
    first = noted[0] if noted else None
    return first if isinstance(first, dict) and all(one == first for one in noted) else None


def resolve(kind: Kind, given: Mapping[str, Any], extract: Extract) -> Parameters:
    """The parameters of a run: what was given, else what the plan says of this analysis, else the defaults.

    Raises:
        AnalysisError: one is unknown or out of its bounds; the message names it.
    """
    found = planned_of(kind, extract) or {}
    values = {**found, **given, "outcome": extract.outcome}
    return parse(kind, values, planned=frozenset(found) - given.keys() - {"outcome"})


def parse(kind: Kind, values: Mapping[str, Any], *, planned: frozenset[str] = frozenset()) -> Parameters:
    """Check parameters.

    Args:
        kind: the analysis.
        values: its parameters.
        planned: which of them the plan laid down, so that what is wrong with the plan is looked for there.

    Raises:
        AnalysisError: one is unknown or out of its bounds; the message names it.
    """
    try:
        return kind.parameters.model_validate(values)
    except ValidationError as error:
        told = [
            f"{'.'.join(map(str, one['loc'])) or 'parameters'}"
            f"{' of the plan (interventionParams.analysis)' if planned & {*one['loc']} else ''}: {one['msg']}"
            for one in error.errors()
        ]
        raise AnalysisError(f"parameters of {kind.name}: {'; '.join(told)}") from None


def planned_of(kind: Kind, extract: Extract) -> dict[str, Any] | None:
    """What the plan says of this kind of analysis, None when it plans none of it."""
    plan = plan_of(extract)
    asked = requested(str(plan.get("type"))) if plan else None
    if plan is None or asked is None or asked[0] != kind.name:
        return None
    return {**{name: value for name, value in plan.items() if name != "type"}, **asked[1]}
