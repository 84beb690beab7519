"""Decide whether a run is planned or exploratory: compare it with the plan and with the runs before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from americano_pipelines.analysis.direction_words import direction_problem
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.parameters import AbabParameters, Parameters
from americano_pipelines.analysis.preregistration import missing_plan_reason, plan_of, planned_of, resolve
from americano_pipelines.analysis.registry import Kind
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.errors import AnalysisError
from americano_pipelines.warehouse.plan_history import PlanSighting

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
        reasons.append(missing_plan_reason(extract))
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


def _failed(number: int) -> str:
    if number == 1:
        return "1 further run failed before it was recorded"
    return f"{number} further runs failed before they were recorded"


def _times(number: int, subject: str) -> str:
    return {0: f"no analysis of this {subject} came", 1: f"1 analysis of this {subject} came"}.get(
        number, f"{number} analyses of this {subject} came"
    )
