"""Judge by when its plan was first seen whether an analysis may be called planned.

A plan that was first seen after the end may have been written with the result in view. What the source says of itself
is repeated, and is no witness: where it is all there is, the analysis is called declared.
"""

from datetime import UTC, datetime

from americano_pipelines.analysis.preregistration import PlanCompliance
from americano_pipelines.warehouse.plan_history import PlanSighting


def with_sighting(compliance: PlanCompliance, sighting: PlanSighting | None, ends_us: int) -> PlanCompliance:
    """The compliance of a run that a plan covers, with what is known of that plan's age.

    Args:
        compliance: of the run.
        sighting: when its plan was first seen, None where no snapshot kept that.
        ends_us: when the plan is over, microseconds since 1970 UTC.
    """
    end = datetime.fromtimestamp(ends_us / 1e6, UTC)
    reason = _reason(sighting, end)
    reasons = compliance.reasons if reason is None else (*compliance.reasons, reason)
    changes: dict[str, object] = {"plan_seen": sighting, "planned": not reasons, "reasons": reasons}
    if reasons == (reason,) and sighting is not None and _is_declared(sighting, end):
        changes["declared"] = True
    return compliance.model_copy(update=changes)


def _is_declared(sighting: PlanSighting, end: datetime) -> bool:
    """Whether only the source's word says that the plan is older than the end, for nobody looked before."""
    updated = sighting.source_updated_at
    looked_before = sighting.first_seen_at != sighting.watched_since
    return not looked_before and updated is not None and datetime.fromisoformat(updated) < end


def _reason(sighting: PlanSighting | None, end: datetime) -> str | None:
    if sighting is None:
        return "when its plan was first seen is not known: the snapshot is from before plans were kept"
    seen, watched = (datetime.fromisoformat(at) for at in (sighting.first_seen_at, sighting.watched_since))
    if seen < end:
        return None
    why = "the project began after it" if seen == watched else f"the project has looked since {watched:%Y-%m-%d}"
    return f"its plan was first seen on {seen:%Y-%m-%d}, after the end: {why}{_of_source(sighting, end)}"


def _of_source(sighting: PlanSighting, end: datetime) -> str:
    if sighting.source_updated_at is None:
        return ", and the source does not say when it was last changed"
    updated = datetime.fromisoformat(sighting.source_updated_at)
    when = "before the end" if updated < end else "after the end too"
    return f", and the source says that it was last changed on {updated:%Y-%m-%d}, {when}"
