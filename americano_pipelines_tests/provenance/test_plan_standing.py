"""A plan that was first seen after the end is not called planned, and why is said exactly."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from americano_pipelines.analysis.plan_compliance import PlanCompliance
from americano_pipelines.provenance.plan_standing import (
    PriorSightings,
    apply_membership,
    apply_plan_sighting,
    merge_sightings,
)
from americano_pipelines.provenance.prior_runs import find_prior_sightings
from americano_pipelines.warehouse.plan_history import PlanSighting
from americano_pipelines_tests.provenance.conftest import Lab, run_id
from americano_pipelines_tests.sync.support import sync

END_US = round(datetime(2025, 3, 7, tzinfo=UTC).timestamp() * 1_000_000)
PLANNED = PlanCompliance(planned=True, reasons=(), earlier_runs=0, unrecorded_runs=0, plan_over=True)


def sighting(
    first_seen: str, *, watched: str = "2025-01-01", updated: str | None = None, plan: str = "0", returned: bool = False
) -> PlanSighting:
    return PlanSighting(
        plan_sha256=plan * 64,
        first_seen_snapshot="s",
        first_seen_at=f"{first_seen}T02:00:00+00:00",
        source_updated_at=None if updated is None else f"{updated}T00:00:00+00:00",
        watched_since=f"{watched}T02:00:00+00:00",
        returned=returned,
    )


def merged(plan_sighting: PlanSighting | None, earlier: PriorSightings) -> PlanSighting | None:
    return merge_sightings(plan_sighting, earlier, "now", "2025-04-01T02:00:00+00:00")


def test_a_plan_that_was_seen_before_the_end_stays_planned() -> None:
    standing = apply_plan_sighting(PLANNED, sighting("2025-03-06"), END_US)

    assert (standing.planned, standing.reasons, standing.label) == (True, (), "planned")
    assert "its plan was first seen on 2025-03-06" in standing.sentence


START_US = round(datetime(2025, 2, 7, tzinfo=UTC).timestamp() * 1_000_000)


def test_a_group_stays_planned_if_it_lost_a_protocol_before_its_start() -> None:
    before = apply_membership(PLANNED, {"p9": "2025-02-06T02:00:00+00:00"}, START_US, None)
    after = apply_membership(PLANNED, {"p9": "2025-02-08T02:00:00+00:00"}, START_US, None)

    assert before == PLANNED
    assert (after.label, after.reasons) == (
        "exploratory",
        ("the protocol p9 left the group, which was first seen on 2025-02-08, after it began",),
    )


def test_a_group_whose_members_of_then_are_lost_is_exploratory() -> None:
    assert apply_membership(PLANNED, {}, START_US, "2025-02-06T02:00:00+00:00") == PLANNED

    lost = apply_membership(PLANNED, {}, START_US, "2025-02-09T02:00:00+00:00")

    assert lost.label == "exploratory"
    why = "which protocols the group had before 2025-02-09 is not known: the published file of then is lost"
    assert lost.reasons == (why,)


SAYS = "the source says that it was last changed on"
NOT_SAID = "and the source does not say of the protocol and each phase when they were last changed"
AFTER = "its plan was first seen on 2025-03-08, after the end: "


@pytest.mark.parametrize(
    ("plan_sighting", "reason"),
    [
        (
            sighting("2025-03-08", updated="2025-03-07"),
            f"{AFTER}the project has looked since 2025-01-01, and {SAYS} 2025-03-07, after the end too",
        ),
        (
            sighting("2025-03-08", watched="2025-03-08", updated="2024-12-01"),
            f"{AFTER}the project began after it, and {SAYS} 2024-12-01, before the end",
        ),
        (
            sighting("2025-03-08", watched="2025-03-08"),
            f"{AFTER}the project began after it, {NOT_SAID}",
        ),
        (
            sighting("2025-03-08", updated="2025-03-07", returned=True),
            f"{AFTER}another had replaced it, and {SAYS} 2025-03-07, after the end too".replace(
                "first seen", "taken up again"
            ),
        ),
        (None, "when its plan was first seen is not known: the snapshot is from before plans were kept"),
    ],
)
def test_a_plan_that_was_first_seen_after_the_end_is_not_called_planned(
    plan_sighting: PlanSighting | None, reason: str
) -> None:
    standing = apply_plan_sighting(PLANNED, plan_sighting, END_US)

    # The source's word counts where the project began after the end.
    label = "declared" if reason.endswith(", before the end") else "exploratory"
    assert (standing.planned, standing.label, standing.reasons) == (False, label, (reason,))
    assert standing.plan_seen == plan_sighting
    assert reason in standing.sentence


def test_what_is_exploratory_for_another_reason_is_not_declared() -> None:
    plan_sighting = sighting("2025-03-08", watched="2025-03-08", updated="2024-12-01")
    second = PLANNED.model_copy(update={"planned": False, "reasons": ("it is not the first of its kind",)})

    assert apply_plan_sighting(PLANNED, plan_sighting, END_US).label == "declared"
    assert apply_plan_sighting(second, plan_sighting, END_US).label == "exploratory"
    looked = sighting("2025-03-08", watched="2025-01-01", updated="2024-12-01")
    assert apply_plan_sighting(PLANNED, looked, END_US).label == "exploratory", (
        "the project looked before, and saw another"
    )


def test_the_records_know_what_a_lost_published_file_no_longer_does() -> None:
    rebuilt = sighting("2025-03-08", watched="2025-03-08", updated="2024-12-01")
    before_the_end = sighting("2025-03-01", watched="2025-01-01", updated="2024-12-01")
    another = before_the_end.model_copy(update={"plan_sha256": "1" * 64})

    def label(*earlier: PlanSighting, since: str | None = None) -> str:
        return apply_plan_sighting(PLANNED, merged(rebuilt, PriorSightings(earlier, since)), END_US).label

    assert label() == "declared"
    assert label(before_the_end, since=before_the_end.watched_since) == "planned"
    assert label(another, since=another.watched_since) == "exploratory", "the project saw another plan before"
    assert label(since="2025-01-01T02:00:00Z") == "exploratory", "the project looked before, and did not see it"
    assert label(since="2025-03-08T03:00:00+01:00") == "declared", "the same instant"
    assert label(since="2025-03-09T02:00:00+00:00") == "declared"
    assert merged(None, PriorSightings((before_the_end,))) is None


@pytest.mark.parametrize(
    ("in_file", "earlier", "first_seen", "returned"),
    [
        ("2025-03-08", ["2025-03-01 0"], "2025-03-01", False),
        ("2025-03-08", ["2025-02-01 1", "2025-03-01 0"], "2025-03-01", False),
        ("2025-03-08", ["2025-02-01 0", "2025-03-01 1"], "2025-03-08", True),
        ("2025-03-08", ["2025-01-01 0", "2025-02-01 1", "2025-03-01 0"], "2025-03-01", True),
        # The file was built from one that is older than the replacement, so the return is known since now only.
        ("2025-02-01", ["2025-03-01 1"], "2025-04-01", True),
    ],
)
def test_a_plan_that_was_replaced_counts_from_its_return(
    in_file: str, earlier: list[str], first_seen: str, *, returned: bool
) -> None:
    """It was called planned since its first sight, although another had been in force, and the data were known."""
    records = tuple(sighting(*text.split()[:1], plan=text.split()[1]) for text in earlier)

    sighted = merged(sighting(in_file, watched="2025-01-01", updated="2024-12-01"), PriorSightings(records))

    assert sighted is not None
    assert (sighted.first_seen_at[:10], sighted.returned) == (first_seen, returned)
    standing = apply_plan_sighting(PLANNED, sighted, END_US)
    assert standing.label == ("planned" if first_seen < "2025-03-07" else "exploratory")
    assert f"its plan was {'taken up again' if returned else 'first seen'} on {first_seen}" in standing.sentence


def test_the_record_holds_when_its_plan_was_seen(lab: Lab) -> None:
    plan = json.dumps({"analysis": {"type": "CHANGE_POINT_DETECTION"}})
    lab.database.execute(
        'UPDATE phase_assignments SET "interventionParams" = %s, "updatedAt" = %s WHERE "protocolId" = %s',
        (plan, "2025-01-02", "protocol_1"),
    )
    sync(lab.settings)

    recorded = lab.analyse("change_points")

    standing = recorded.record.standing
    assert standing is not None
    assert standing.plan_seen is not None
    assert standing.plan_seen.first_seen_snapshot == recorded.record.inputs[0].snapshot_id
    assert any("after the end: the project has looked since" in reason for reason in standing.reasons)
    assert lab.verify(run_id(recorded)).faults == []


def test_a_file_built_from_nothing_makes_no_late_plan_declared(lab: Lab) -> None:
    """Without the records an analysis of a plan that was changed after the end was called declared."""
    lab.database.execute("UPDATE experiment_protocols SET \"updatedAt\" = '2025-01-02'")
    lab.database.execute("UPDATE phase_assignments SET \"updatedAt\" = '2025-01-02'")
    plan = json.dumps({"analysis": {"type": "CHANGE_POINT_DETECTION", "factor": 4}})
    lab.database.execute('UPDATE phase_assignments SET "interventionParams" = %s', (plan,))
    sync(lab.settings)
    first = lab.analyse("change_points").record.standing
    shutil.rmtree(lab.settings.paths.snapshots)
    lab.settings.paths.published.unlink()

    document = sync(lab.settings).document
    assert document.plans_since == document.instant
    late = lab.analyse("change_points").record.standing

    assert first is not None
    assert first.plan_seen is not None
    assert late is not None
    assert late.plan_seen is not None
    assert late.plan_seen.model_dump() == first.plan_seen.model_dump()
    assert "the project began after it" not in late.sentence


def test_a_record_of_any_protocol_says_since_when_the_project_looked(lab: Lab) -> None:
    recorded = lab.analyse("change_points")

    prior = find_prior_sightings(lab.settings.paths, "protocol_of_nobody")

    assert prior.of_protocol == ()
    assert prior.watched_since is not None
    assert datetime.fromisoformat(prior.watched_since) <= datetime.fromisoformat(recorded.record.inputs[0].instant)
