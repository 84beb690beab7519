"""Read the preregistered plan of a protocol and decide whether a run is planned or exploratory."""

# The phases record the plan beside the randomization scheme, in `interventionParams.analysis`, such as `{"type":
# "ABAB_RANDOMIZATION", "direction": "increase", "alpha": 0.05}`. `analysisPlan` is the same for people.

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

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
from americano_pipelines.analysis.parameters import AbabParameters, Parameters
from americano_pipelines.analysis.registry import COMBINED, KINDS, Kind
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import decode_json_text
from americano_pipelines.errors import AnalysisError
from americano_pipelines.warehouse.plan_history import PlanSighting

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


Standing = Literal["planned", "declared", "exploratory"]
"""What a run is to the plan of its protocol."""


class PlanCompliance(FrozenModel):
    """Whether a run is the planned analysis; part of its record.

    Attributes:
        planned: whether it has the primary outcome and the plan's parameters and is the first such run after the end.
        reasons: what makes it exploratory or declared; empty when it is planned.
        earlier_runs: analyses of this protocol of any kind that gave a result before this one.
        unrecorded_runs: analyses of this protocol that ended without a record before this one.
        plan_over: whether the plan was over at the instant of the data.
        plan_seen: since when the plan was seen; None in older records, and for a run that no plan covers.
        declared: whether it would be planned if the source's word counted: the project began after the end, and the
            source says that it did not change the plan since. Then `reasons` says so, and nothing else.
        subject: whether it is of a protocol or of a group of protocols; records of a protocol lack it.
    """

    planned: bool
    reasons: tuple[str, ...]
    earlier_runs: int
    unrecorded_runs: int
    plan_over: bool
    plan_seen: PlanSighting | None = None
    declared: bool = False
    subject: Literal["protocol", "group"] = "protocol"

    @property
    def label(self) -> Standing:
        """`planned`, `declared` or `exploratory`."""
        return "planned" if self.planned else "declared" if self.declared else "exploratory"

    @property
    def sentence(self) -> str:
        """The compliance in a sentence."""
        more = f", {_failed(self.unrecorded_runs)}" if self.unrecorded_runs else ""
        history = f"{_times(self.earlier_runs, self.subject)} before it{more}"
        if self.planned:
            shown = f"; {history}" if self.earlier_runs or self.unrecorded_runs else ""
            plan = self.plan_seen
            shown += f"; its plan was {plan.event} on {plan.first_seen_at[:10]}" if plan else ""
            return f"This is the planned analysis, the first after the end{shown}."
        word = "Declared, not shown to be planned" if self.declared else "Exploratory"
        return f"{word} ({'; '.join(self.reasons)}); {history}."


@dataclass(frozen=True)
class PriorRun:
    """An earlier analysis of the same protocol that gave a result.

    Attributes:
        analysis: its kind.
        outcome: its outcome.
        data_instant_us: the instant of its data, microseconds since 1970 UTC; None when it is no longer known.
        complete: whether it had all its input; a combined analysis lacks the tests that were not made before it.
    """

    analysis: str
    outcome: str
    data_instant_us: int | None
    complete: bool = True


@dataclass(frozen=True)
class PriorRuns:
    """The analyses of a protocol before a run.

    Attributes:
        recorded: those that gave a result.
        unrecorded: how many ended without a record.
        changed_records: how many files of the archive were changed; each may be the record of an earlier run.
        vanished: records that were there and are gone, in words; each may be of an earlier run.
    """

    recorded: tuple[PriorRun, ...] = ()
    unrecorded: int = 0
    changed_records: int = 0
    vanished: tuple[str, ...] = ()


def assess_compliance(
    kind: Kind,
    parameters: Parameters,
    extract: Extract,
    *,
    as_of_us: int,
    ends_us: int,
    prior_runs: PriorRuns,
    data_end_us: int | None = None,
) -> PlanCompliance:
    """Compare a run with the plan; another number of draws only estimates the same p more exactly.

    Args:
        kind: the analysis.
        parameters: its resolved parameters.
        extract: the input, with the plan.
        as_of_us: the instant of the data, microseconds since 1970 UTC.
        ends_us: when the plan is over, microseconds since 1970 UTC.
        data_end_us: when the last phase ends, if that is earlier; None where it is not.
        prior_runs: the analyses of the protocol before this run.
    """
    reasons, plan_over = [], as_of_us >= ends_us
    planned = planned_of(kind, extract)
    if planned is None:
        reasons.append(_other_plan(extract))
    else:
        try:
            of_plan = resolve(kind, {}, extract)
            reasons += [
                f"{name} is {value!r}, {getattr(of_plan, name)!r} was planned"
                for name, value in parameters.model_dump(exclude={"draws"}).items()
                if value != getattr(of_plan, name)
            ]
        except AnalysisError as error:
            reasons.append(f"the plan itself is not valid: {error}")
    plan = plan_of(extract) or {}
    if planned is not None and (problem := direction_problem(plan)):
        reasons.append(f"in its plan {problem}")
    if planned is not None and plan.get("outcome", extract.outcome) != extract.outcome:
        reasons.append(f"the outcome is {extract.outcome}, {plan['outcome']!r} was planned")
    if isinstance(parameters, AbabParameters) and (parameters.min_days, parameters.max_days) != (None, None):
        reasons.append("bounds of the phases were given, not recorded as what was drawn from")
    primary = extract.protocol.primary_outcome
    if extract.outcome != primary:
        reasons.append(f"the outcome is {extract.outcome}, the primary one is {primary or 'not stated'}")
    if not plan_over:
        reasons.append(f"the plan is not over before {datetime.fromtimestamp(ends_us / 1e6, UTC):%Y-%m-%d}")
    elif any(
        # Against the present end: a run on the same data counts, although the plan may have been longer at its time.
        (prior.data_instant_us is None or prior.data_instant_us >= min(ends_us, data_end_us or ends_us))
        and (prior.analysis, prior.outcome, prior.complete) == (kind.name, extract.outcome, True)
        for prior in prior_runs.recorded
    ):
        reasons.append("it is not the first of its kind after the end")
    if number := prior_runs.changed_records:
        changed = "1 record in the archive was" if number == 1 else f"{number} records in the archive were"
        reasons.append(f"{changed} changed, and may be of {'an earlier run' if number == 1 else 'earlier runs'}")
    reasons += [f"{record}, and may be of an earlier run" for record in prior_runs.vanished]
    return PlanCompliance(
        planned=not reasons,
        reasons=tuple(reasons),
        earlier_runs=len(prior_runs.recorded),
        unrecorded_runs=prior_runs.unrecorded,
        plan_over=plan_over,
    )


def merge_compliance(titles: Sequence[str], members: Sequence[PlanCompliance]) -> PlanCompliance:
    """The compliance of a run of a group: it is planned where it is so for each of its protocols.

    Args:
        titles: the protocols, for people.
        members: the compliance of the run with the plan of each.
    """
    common = [reason for reason in members[0].reasons if all(reason in member.reasons for member in members)]
    own = [
        f"{title}: {reason}"
        for title, member in zip(titles, members, strict=True)
        for reason in member.reasons
        if reason not in common
    ]
    sightings = [member.plan_seen for member in members if member.plan_seen is not None]
    return members[0].model_copy(
        update={
            "planned": all(member.planned for member in members),
            "declared": not all(member.planned for member in members)
            and all(member.planned or member.declared for member in members),
            "reasons": (*common, *own),
            "plan_over": all(member.plan_over for member in members),
            # The plan that was seen last says how old the plan of the group is.
            "subject": "group",
            "plan_seen": max(
                sightings, key=lambda sighting: datetime.fromisoformat(sighting.first_seen_at), default=None
            ),
        }
    )


def _other_plan(extract: Extract) -> str:
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


def _failed(number: int) -> str:
    if number == 1:
        return "1 further run failed before it was recorded"
    return f"{number} further runs failed before they were recorded"


def _times(number: int, subject: str) -> str:
    return {0: f"no analysis of this {subject} came", 1: f"1 analysis of this {subject} came"}.get(
        number, f"{number} analyses of this {subject} came"
    )
