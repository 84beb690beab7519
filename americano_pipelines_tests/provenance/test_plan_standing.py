"""A plan that was first seen after the end is not called planned, and why is said exactly."""

import json
from datetime import UTC, datetime

import pytest

from americano_pipelines.analysis.preregistration import PlanCompliance
from americano_pipelines.provenance.plan_standing import with_sighting
from americano_pipelines.warehouse.plan_history import PlanSighting
from americano_pipelines_tests.provenance.conftest import Lab, run_id
from americano_pipelines_tests.sync.support import sync

END_US = round(datetime(2025, 3, 7, tzinfo=UTC).timestamp() * 1_000_000)
PLANNED = PlanCompliance(planned=True, reasons=(), earlier_runs=0, unrecorded_runs=0, plan_over=True)


def sighting(seen: str, *, watched: str = "2025-01-01", updated: str | None = None) -> PlanSighting:
    return PlanSighting(
        plan_sha256="0" * 64,
        first_seen_snapshot="s",
        first_seen_at=f"{seen}T02:00:00+00:00",
        source_updated_at=None if updated is None else f"{updated}T00:00:00+00:00",
        watched_since=f"{watched}T02:00:00+00:00",
    )


def test_a_plan_that_was_seen_before_the_end_stays_planned() -> None:
    standing = with_sighting(PLANNED, sighting("2025-03-06"), END_US)

    assert (standing.planned, standing.reasons, standing.label) == (True, (), "planned")
    assert "its plan was first seen on 2025-03-06" in standing.sentence


SAYS = "the source says that it was last changed on"
AFTER = "its plan was first seen on 2025-03-08, after the end: "


@pytest.mark.parametrize(
    ("seen", "reason"),
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
            f"{AFTER}the project began after it, and the source does not say when it was last changed",
        ),
        (None, "when its plan was first seen is not known: the snapshot is from before plans were kept"),
    ],
)
def test_a_plan_that_was_first_seen_after_the_end_is_not_called_planned(seen: PlanSighting | None, reason: str) -> None:
    standing = with_sighting(PLANNED, seen, END_US)

    # The source's word counts where the project began after the end.
    label = "declared" if reason.endswith(", before the end") else "exploratory"
    assert (standing.planned, standing.label, standing.reasons) == (False, label, (reason,))
    assert standing.plan_seen == seen
    assert reason in standing.sentence


def test_what_is_exploratory_for_another_reason_is_not_declared() -> None:
    seen = sighting("2025-03-08", watched="2025-03-08", updated="2024-12-01")
    second = PLANNED.model_copy(update={"planned": False, "reasons": ("it is not the first of its kind",)})

    assert with_sighting(PLANNED, seen, END_US).label == "declared"
    assert with_sighting(second, seen, END_US).label == "exploratory"
    looked = sighting("2025-03-08", watched="2025-01-01", updated="2024-12-01")
    assert with_sighting(PLANNED, looked, END_US).label == "exploratory", "the project looked before, and saw another"


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
