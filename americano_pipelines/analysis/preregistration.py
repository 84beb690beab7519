"""Read the preregistered plan of a protocol, and the parameters that it gives an analysis."""

# The phases record the plan beside the randomization scheme, in `interventionParams.analysis`, such as `{"type":
# "ABAB_RANDOMIZATION", "direction": "increase", "alpha": 0.05}`. `analysisPlan` is the same for people.

import reprlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from americano_pipelines.analysis.app_types import planned_kind
from americano_pipelines.analysis.direction_words import (
    DIRECTION,
    IMPROVEMENT,
    direction_problem,
    is_direction,
    normalize_direction_names,
    parse_direction,
)
from americano_pipelines.analysis.extract import UNREAD_PLAN_NOTE, BaseExtract, Extract
from americano_pipelines.analysis.parameters import Parameters
from americano_pipelines.analysis.registry import COMBINED, KINDS, Kind
from americano_pipelines.common.hashing import decode_json_text
from americano_pipelines.errors import AnalysisError

# Entries of a plan beside the parameters.
_NO_PARAMETERS = frozenset({"type", "group", "combination", "include"})


def plan_of(extract: Extract) -> dict[str, Any] | None:
    """The plan that all phases record, None when they record none, or different ones."""
    plans = [phase.stated("analysis") for phase in extract.phases]
    first = plans[0] if plans else None
    return first if isinstance(first, dict) and all(plan == first for plan in plans) else None


def resolve(kind: Kind, overrides: Mapping[str, Any], extract: BaseExtract) -> Parameters:
    """The parameters of a run: the overrides, else those of the plan for this analysis, else the defaults.

    The plan of a group is the one that all its protocols record.

    Raises:
        AnalysisError: one is unknown or out of its bounds; the message names it.
    """
    first, *others = extract.members
    planned = planned_of(kind, first) or {}
    if any((planned_of(kind, other) or {}) != planned for other in others):
        planned = {}
    values = {**planned, **overrides, "outcome": first.outcome}
    return parse(kind, values, planned=frozenset(planned) - overrides.keys() - {"outcome"})


def parse(kind: Kind, values: Mapping[str, Any], *, planned: frozenset[str] = frozenset()) -> Parameters:
    """Check parameters.

    Args:
        kind: the analysis.
        values: its parameters.
        planned: names of those that are from the plan; the message says so where one of them is wrong.

    Raises:
        AnalysisError: one is unknown or out of its bounds; the message names it.
    """
    try:
        return kind.parameters.model_validate(values)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, detail['loc'])) or 'parameters'}"
            f"{' of the plan (interventionParams.analysis)' if planned & {*detail['loc']} else ''}: {detail['msg']}"
            for detail in error.errors()
        ]
        raise AnalysisError(f"parameters of {kind.name}: {'; '.join(problems)}") from None


def planned_of(kind: Kind, extract: Extract) -> dict[str, Any] | None:
    """The parameters that the plan gives for this kind of analysis, None when it plans another kind, or none."""
    plan = plan_of(extract)
    if kind.name == COMBINED:
        return _plan_to_combine(plan)
    request = planned_kind(str(plan.get("type"))) if plan else None
    if plan is None or request is None or request[0] != kind.name:
        return None
    # A null counts as not stated.
    stated = {name: value for name, value in plan.items() if name not in _NO_PARAMETERS and value is not None}
    values = normalize_direction_names(stated)
    if direction_problem(plan):
        values.pop(DIRECTION, None)  # two-sided, as without one
    elif "either" in {parse_direction(value) for name, value in stated.items() if is_direction(name)}:
        values[DIRECTION] = "either"
    if parse_direction(values.get(IMPROVEMENT)) not in ("increase", "decrease"):
        values.pop(IMPROVEMENT, None)  # `declared_improvement` names it
    return {**values, **request[1]}


def _plan_to_combine(plan: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The parameters of the combined analysis that a plan with a group gives, None where it names none.

    The tests of a multiple baseline are joint already.
    """
    request = planned_kind(str(plan.get("type"))) if plan else None
    if plan is None or not plan.get("group") or request is None or KINDS[request[0]].scope != "protocol":
        return None
    stated = {"method": plan.get("combination"), "alpha": plan.get("alpha"), "include": plan.get("include")}
    return {name: value for name, value in stated.items() if value is not None}


def missing_plan_reason(extract: Extract) -> str:
    """Why the plan is not of an analysis: another kind was planned, or none that is read."""
    plan = plan_of(extract)
    if plan is None:
        return _no_plan(extract)
    request = planned_kind(str(plan.get("type")))
    return (
        f"what was planned is the {KINDS[request[0]].title}" if request else f"what was planned is {plan.get('type')!r}"
    )


def _no_plan(extract: Extract) -> str:
    """Why the protocol has no plan that is read."""
    if any(not isinstance(phase.stated_parameters, dict | None) for phase in extract.phases):
        return "the interventionParams of its phases are not understood: they are no JSON object"
    plans = {str(phase.label): phase.stated("analysis") for phase in extract.phases}
    if stated := {label: plan for label, plan in plans.items() if plan is not None}:
        strange = [f"{label}: {reprlib.repr(plan)}" for label, plan in stated.items() if not isinstance(plan, dict)]
        if strange:
            return f"its plan is not understood, for it is no JSON object ({', '.join(strange)})"
        without = [label for label in plans if label not in stated]
        return f"its phases record no plan in {', '.join(without)}" if without else "its phases record different plans"
    beside = f"; {UNREAD_PLAN_NOTE}" if isinstance(decode_json_text(extract.protocol.plan), dict) else ""
    return f"its phases record no plan of an analysis{beside}"
