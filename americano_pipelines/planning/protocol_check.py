"""Check whether what the app records of a protocol is complete, consistent and testable.

Treat phases that have not begun as complete.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil

from americano_pipelines.analysis.app_types import REQUESTABLE, planned_kind
from americano_pipelines.analysis.daily_series import Observations, observe
from americano_pipelines.analysis.declared_improvement import declared_improvement
from americano_pipelines.analysis.extract import Extract, events_instant
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.analysis.preregistration import plan_of, planned_of, resolve
from americano_pipelines.analysis.randomization_scheme import (
    RandomizationScheme,
    declared_contrasts,
    read_schemes,
    verdict_blockers,
)
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning.schedule_draw import smallest_p
from americano_pipelines.settings import Settings
from americano_pipelines.statistics.criterion_schedules import CriterionSchedule
from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.plan_history import PlanSighting, read_sighting
from americano_pipelines.warehouse.snapshots import open_published

_KIND = KINDS["abab_randomization"]


@dataclass(frozen=True)
class CheckedItem:
    """One thing that a protocol has to record.

    Attributes:
        what: its name, in a word or two.
        complete: whether it is there and right.
        text: what is recorded, or what is missing and what to do.
    """

    what: str
    complete: bool
    text: str


def check_protocol(settings: Settings, protocol_id: str) -> list[CheckedItem]:
    """Check a protocol of the published file.

    Args:
        settings: the data folder.
        protocol_id: the protocol.

    Returns:
        What was checked, in the order in which a researcher would complete it.

    Raises:
        AnalysisError: the protocol is not published, or has no phases or learner.
        WarehouseUnavailableError: nothing is published, or a process holds the file read-write.
    """
    with open_published(settings) as connection:
        document = snapshots.read_record(settings.paths)
        if document is None:
            raise AnalysisError("nothing is published: run `americano sync`")
        extract = _KIND.read_extract(connection, settings, document, protocol_id, None)
        sighting = read_sighting(connection, document, protocol_id)
    return list(check_extract(extract, sighting, round(events_instant(document).timestamp() * 1_000_000)))


def check_extract(extract: Extract, sighting: PlanSighting | None, as_of_us: int) -> Iterator[CheckedItem]:
    """Check the extract of a protocol.

    Args:
        extract: the protocol with its phases and the events so far.
        sighting: when its plan was first seen, None where no snapshot kept that.
        as_of_us: the instant of the data, microseconds since 1970 UTC.
    """
    try:
        observations = observe(extract)
    except AnalysisError as error:
        yield CheckedItem("phases", complete=False, text=str(error))
        return
    yield _planned_lengths(observations)
    parameters, item = _plan(extract)
    yield item
    scheme, *others = read_schemes(observations, parameters)
    over = as_of_us >= observations.planned_end_us
    if not over and scheme.schedule is not None:
        scheme = replace(scheme, problem=None)  # a phase to come has no values yet
    yield _randomization(observations, scheme, parameters)
    for other, contrast in zip(others, declared_contrasts(observations, parameters)[1:], strict=True):
        yield replace(_randomization(observations, other, parameters), what=f"contrast {contrast.name}")
    obstacles = verdict_blockers(observations, scheme, max(as_of_us, observations.planned_end_us))
    yield CheckedItem("design", not obstacles, "; ".join(obstacles) or f"{extract.protocol.design}, complete")
    declared = declared_improvement(extract, parameters.improvement, parameters.direction)
    better = f"{declared.better} is better" if declared.better else ""
    advice = "; add improvement to the plan, or the verdict says only that the outcome differs"
    yield CheckedItem("better", bool(better), better or f"{declared.undeclared}{advice}")
    yield _plan_age(sighting, observations.timeline.windows[-1].ends_us)
    yield _values(observations, over=over)


def _planned_lengths(observations: Observations) -> CheckedItem:
    if observations.planned is None:
        without = [window.label for window in observations.timeline.windows if window.planned_days is None]
        text = f"no planned length is recorded of {', '.join(without)}: set plannedDuration"
        return CheckedItem("phases", complete=False, text=text)
    phases = ", ".join(f"{label} {days}" for label, days in zip(observations.labels, observations.planned, strict=True))
    return CheckedItem("phases", complete=True, text=f"{sum(observations.planned)} days planned: {phases}")


def _plan(extract: Extract) -> tuple[AbabParameters, CheckedItem]:
    """The parameters that the randomization test would have, and whether they are planned."""
    plan, defaults = plan_of(extract), AbabParameters()
    if plan is None:
        text = "the phases record no plan, or different ones: set interventionParams.analysis, the same in each"
        return defaults, CheckedItem("plan", complete=False, text=text)
    if planned_of(_KIND, extract) is None:
        if (request := planned_kind(str(plan.get("type")))) and KINDS[request[0]].scope == "group":
            text = f"the planned analysis is the {KINDS[request[0]].title} of a group, which is not checked here"
            return defaults, CheckedItem("plan", complete=False, text=text)
        text = f"the planned analysis is {plan.get('type')!r}; a verdict needs ABAB_RANDOMIZATION"
        if plan.get("type") not in REQUESTABLE:
            text += f" (there are {', '.join(REQUESTABLE)})"
        return defaults, CheckedItem("plan", complete=False, text=text)
    try:
        parameters = resolve(_KIND, {}, extract)
    except AnalysisError as error:
        return defaults, CheckedItem("plan", complete=False, text=str(error))
    if not isinstance(parameters, AbabParameters):
        raise TypeError(f"the randomization test has parameters of {type(parameters).__name__}")
    sides = "two-sided" if parameters.direction == "either" else f"one-sided, {parameters.direction}"
    return parameters, CheckedItem("plan", complete=True, text=f"{_KIND.title}, {sides}, alpha {parameters.alpha:g}")


def _randomization(observations: Observations, scheme: RandomizationScheme, parameters: AbabParameters) -> CheckedItem:
    schedule = scheme.schedule
    if schedule is None or not scheme.recorded:
        reason = scheme.problem or "no drawing is recorded: set interventionParams.randomization of each phase"
        return CheckedItem("randomization", complete=False, text=reason)
    if not scheme.admissible:
        lengths = ", ".join(map(str, observations.lengths_as_drawn))
        return CheckedItem("randomization", complete=False, text=f"phases of {lengths} days could not have been drawn")
    two_sided = parameters.direction == "either" and not isinstance(schedule, CriterionSchedule)
    sides, smallest = 2 if two_sided else 1, smallest_p(schedule, two_sided=two_sided)
    text = f"{schedule.count:,} assignments, the smallest p is {smallest:.2g}"
    if rejects(smallest, parameters.alpha):
        return CheckedItem("randomization", complete=True, text=text)
    needed = ceil(sides / parameters.alpha - 1e-9)
    days = schedule.days_for(needed) if type(schedule) is PhaseSchedule and not schedule.starts else None
    remedy = f", with the same bounds in {days} days" if days else ""
    text += f", above the level of {parameters.alpha:g}: {needed} assignments are needed{remedy}"
    return CheckedItem("randomization", complete=False, text=text)


def _plan_age(sighting: PlanSighting | None, ends_us: int) -> CheckedItem:
    if sighting is None:
        return CheckedItem(
            "seen", complete=False, text="no sync has kept when the plan was first seen: run `americano sync`"
        )
    end = datetime.fromtimestamp(ends_us / 1e6, UTC)
    first_seen = datetime.fromisoformat(sighting.first_seen_at)
    text = f"the plan was {sighting.event} on {first_seen:%Y-%m-%d}, the experiment ends on {end:%Y-%m-%d}"
    return CheckedItem("seen", first_seen < end, text)


def _values(observations: Observations, *, over: bool) -> CheckedItem:
    counts, outcome = observations.counts(), observations.extract.outcome
    days = counts["days with a value"]
    text = f"{days} days with a value of {outcome} so far"
    return CheckedItem("outcome", bool(days) or not over, text)
