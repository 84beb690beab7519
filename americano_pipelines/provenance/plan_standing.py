"""Judge by when its plan was seen whether an analysis may be called planned.

A plan that is seen or taken up again after the end may depend on the result; where only the source dates it, the
analysis is `declared`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from americano_pipelines.analysis.plan_compliance import PlanCompliance
from americano_pipelines.warehouse.plan_history import PlanSighting


@dataclass(frozen=True)
class PriorSightings:
    """What earlier records hold of when plans were seen.

    Attributes:
        of_protocol: the sightings in the records of the protocol.
        watched_since: the earliest known instant at which the project read the source, ISO 8601; None without one.
    """

    of_protocol: tuple[PlanSighting, ...] = ()
    watched_since: str | None = None


def merge_sightings(
    sighting: PlanSighting | None, earlier: PriorSightings, snapshot_id: str, instant: str
) -> PlanSighting | None:
    """Since when the protocol has its present plan, by the published file and the records together.

    A published file that was built from nothing, because the one before was lost, saw every plan late; and one that was
    built from an older file may not have seen that another plan replaced the present one.

    Args:
        sighting: by the published file, None where it kept none.
        earlier: by the records.
        snapshot_id: the present snapshot.
        instant: the instant of the source in it, ISO 8601.
    """
    if sighting is None:
        return None
    others = [other for other in earlier.of_protocol if other.plan_sha256 != sighting.plan_sha256]
    same = [*(other for other in earlier.of_protocol if other.plan_sha256 == sighting.plan_sha256), sighting]
    replaced = max(map(_first_seen, others), default=None)
    unbroken = [other for other in same if replaced is None or _first_seen(other) > replaced]
    since = min(sighting.watched_since, earlier.watched_since or sighting.watched_since, key=datetime.fromisoformat)
    changes: dict[str, object] = {"watched_since": since}
    if len(unbroken) < len(same):
        changes["returned"] = True
    if not unbroken:
        changes |= {"first_seen_snapshot": snapshot_id, "first_seen_at": instant}
    return min(unbroken or [sighting], key=_first_seen).model_copy(update=changes)


def _first_seen(sighting: PlanSighting) -> datetime:
    return datetime.fromisoformat(sighting.first_seen_at)


def apply_plan_sighting(compliance: PlanCompliance, sighting: PlanSighting | None, ends_us: int) -> PlanCompliance:
    """The compliance of a run that a plan covers, with what is known of that plan's age.

    Args:
        compliance: of the run.
        sighting: when its plan was first seen, None where no snapshot kept that.
        ends_us: when all its data were in, microseconds since 1970 UTC.
    """
    end = datetime.fromtimestamp(ends_us / 1e6, UTC)
    reason = _reason(sighting, end)
    reasons = compliance.reasons if reason is None else (*compliance.reasons, reason)
    changes: dict[str, object] = {"plan_seen": sighting, "planned": not reasons, "reasons": reasons}
    if reasons == (reason,) and sighting is not None and _is_declared(sighting, end):
        changes["declared"] = True
    return compliance.model_copy(update=changes)


def apply_membership(
    compliance: PlanCompliance, former_members: Mapping[str, str], starts_us: int, kept_since: str | None
) -> PlanCompliance:
    """The compliance of a run of a group, with what is known of protocols that are no longer in it.

    A protocol that leaves a group after its first phase began may leave it for its data.

    Args:
        compliance: of the run.
        former_members: id of each protocol that left the group, to the instant at which that was first seen, ISO 8601.
        starts_us: when the first phase of the group began, microseconds since 1970 UTC.
        kept_since: since when the published file keeps the members of groups, ISO 8601, if the project read the source
            before that: an older file is lost. None where it is not.
    """
    start = datetime.fromtimestamp(starts_us / 1e6, UTC)
    instants = {protocol_id: datetime.fromisoformat(text) for protocol_id, text in former_members.items()}
    reasons = [
        f"the protocol {protocol_id} left the group, which was first seen on {instant:%Y-%m-%d}, after it began"
        for protocol_id, instant in instants.items()
        if instant >= start
    ]
    if kept_since is not None and datetime.fromisoformat(kept_since) >= start:
        day = f"{datetime.fromisoformat(kept_since):%Y-%m-%d}"
        reasons.append(f"which protocols the group had before {day} is not known: the published file of then is lost")
    if not reasons:
        return compliance
    changes = {"planned": False, "declared": False, "reasons": (*compliance.reasons, *reasons)}
    return compliance.model_copy(update=changes)


def _is_declared(sighting: PlanSighting, end: datetime) -> bool:
    """Whether only the source dates the plan before the end, because the end was before the first sync."""
    updated = sighting.source_updated_at
    in_first_sync = _first_seen(sighting) == datetime.fromisoformat(sighting.watched_since) and not sighting.returned
    return in_first_sync and updated is not None and datetime.fromisoformat(updated) < end


def _reason(sighting: PlanSighting | None, end: datetime) -> str | None:
    if sighting is None:
        return "when its plan was first seen is not known: the snapshot is from before plans were kept"
    first_seen, history_start = _first_seen(sighting), datetime.fromisoformat(sighting.watched_since)
    if first_seen < end:
        return None
    if sighting.returned:
        why = "another had replaced it"
    elif first_seen == history_start:
        why = "the project began after it"
    else:
        why = f"the project has looked since {history_start:%Y-%m-%d}"
    return f"its plan was {sighting.event} on {first_seen:%Y-%m-%d}, after the end: {why}{_of_source(sighting, end)}"


def _of_source(sighting: PlanSighting, end: datetime) -> str:
    if sighting.source_updated_at is None:
        return ", and the source does not say of the protocol and each phase when they were last changed"
    updated = datetime.fromisoformat(sighting.source_updated_at)
    when = "before the end" if updated < end else "after the end too"
    return f", and the source says that it was last changed on {updated:%Y-%m-%d}, {when}"
