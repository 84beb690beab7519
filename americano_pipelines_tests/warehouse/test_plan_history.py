"""When each plan was first seen is carried from snapshot to snapshot."""

import json
from datetime import datetime
from typing import Any

import duckdb
import pytest

from americano_pipelines.common import sql
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.plan_history import PlanSighting, dropping_plans, former_members, read_sighting
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.support import sync


@pytest.fixture
def settings(prisma: Database, settings_for: Any) -> Settings:
    loaded: Settings = settings_for(**prisma.variables())
    return loaded


def sighting_of(settings: Settings, protocol_id: str = "protocol_1") -> PlanSighting:
    with snapshots.open_published(settings) as connection:
        document = snapshots.record_of(connection)
        assert document is not None
        sighting = read_sighting(connection, document, protocol_id)
    assert sighting is not None
    return sighting


def plan(database: Database, alpha: float, **more: Any) -> None:
    parameters = json.dumps({"analysis": {"type": "ABAB_RANDOMIZATION", "alpha": alpha}, **more})
    database.execute(
        'UPDATE phase_assignments SET "interventionParams" = %s WHERE "protocolId" = %s', (parameters, "protocol_1")
    )


def test_a_plan_keeps_its_first_snapshot_and_a_changed_one_begins_anew(prisma: Database, settings: Settings) -> None:
    plan(prisma, 0.05)
    first = sync(settings).document
    before = sighting_of(settings)
    assert (before.first_seen_snapshot, before.first_seen_at) == (first.snapshot_id, first.instant)
    assert before.watched_since == first.instant == first.plans_since

    prisma.execute('UPDATE experiment_protocols SET "updatedAt" = now() WHERE id = %s', ("protocol_1",))
    second = sync(settings)
    assert second.changed
    assert sighting_of(settings) == before, "the plan is the same"

    # Beside the plan, a phase's parameters may say which way is better, or when a day begins.
    hashes = {before.plan_sha256}
    for more in ({"lowerIsBetter": True}, {"timeZone": "Asia/Tokyo"}):
        plan(prisma, 0.05, **more)
        later = sync(settings).document
        assert sighting_of(settings).first_seen_snapshot == later.snapshot_id
        hashes.add(sighting_of(settings).plan_sha256)
    assert len(hashes) == 3

    plan(prisma, 0.01)
    third = sync(settings).document
    changed = sighting_of(settings)
    assert changed.first_seen_snapshot == third.snapshot_id
    assert changed.plan_sha256 != before.plan_sha256
    assert changed.watched_since == first.instant
    assert sighting_of(settings, "protocol_0").first_seen_snapshot == first.snapshot_id

    plan(prisma, 0.05)
    back = sync(settings, full=True).document
    returned = sighting_of(settings)
    assert returned == before.model_copy(
        update={
            "first_seen_snapshot": back.snapshot_id,
            "first_seen_at": back.instant,
            "source_updated_at": returned.source_updated_at,
            "returned": True,
        }
    ), "another replaced it in between"
    assert not changed.returned
    sync(settings, full=True)
    assert sighting_of(settings) == returned, "it was not replaced since"
    prisma.execute('UPDATE experiment_protocols SET "primaryOutcome" = %s WHERE id = %s', ("dayOfWeek", "protocol_1"))
    sync(settings)
    assert sighting_of(settings).plan_sha256 not in {before.plan_sha256, changed.plan_sha256}


def test_a_protocol_that_leaves_a_group_is_a_former_member(prisma: Database, settings: Settings) -> None:
    def members_left() -> dict[str, str]:
        with snapshots.open_published(settings) as connection:
            document = snapshots.record_of(connection)
            assert document is not None
            assert former_members(connection, document, "another") == {}
            return former_members(connection, document, "g")

    in_group = json.dumps({"analysis": json.dumps({"type": "ABAB_RANDOMIZATION", "group": " g "})})
    prisma.execute('UPDATE phase_assignments SET "interventionParams" = %s', (in_group,))
    sync(settings)
    assert members_left() == {}

    plan(prisma, 0.05)
    left = sync(settings).document
    assert members_left() == {"protocol_1": left.instant}
    plan(prisma, 0.01)
    sync(settings)
    assert members_left() == {"protocol_1": left.instant}, "when it left, not when it changed again"

    prisma.execute("DELETE FROM phase_assignments WHERE \"protocolId\" = 'protocol_0'")
    prisma.execute("DELETE FROM experiment_protocols WHERE id = 'protocol_0'")
    gone = sync(settings).document
    assert members_left() == {"protocol_0": gone.instant, "protocol_1": left.instant}

    prisma.execute(
        'UPDATE phase_assignments SET "interventionParams" = %s WHERE "protocolId" = %s', (in_group, "protocol_1")
    )
    sync(settings, full=True)
    assert members_left() == {"protocol_0": gone.instant}, "the other came back"


def test_what_the_source_says_of_its_last_change(prisma: Database, settings: Settings) -> None:
    prisma.execute('UPDATE experiment_protocols SET "updatedAt" = %s', ("2025-01-02 03:04:05",))
    prisma.execute('UPDATE phase_assignments SET "updatedAt" = %s', ("2025-01-01",))
    prisma.execute(
        'UPDATE phase_assignments SET "updatedAt" = %s WHERE "protocolId" = %s', ("2025-02-03", "protocol_1")
    )
    sync(settings)

    assert sighting_of(settings).source_updated_at == "2025-02-03T00:00:00+00:00", "the latest of protocol and phases"
    assert sighting_of(settings, "protocol_0").source_updated_at == "2025-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("said", "updated"),
    [
        ("NULL", None),
        ("'1970-01-01'", None),
        ("'infinity'", None),
        ("'-infinity'", None),
        ("'2025-03-01 00:00:01'", None),
        ("'2025-03-01'", "2025-03-01T00:00:00+00:00"),
        ("'2025-01-03'", "2025-01-03T00:00:00+00:00"),
    ],
)
def test_each_row_needs_a_plausible_time_of_its_last_change(said: str, updated: str | None) -> None:
    """The source was read on 2025-03-01."""
    statement = sql.render(sql.load("warehouse", "plan_updates"), table="rows", protocol="p", updated="changed")
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE rows (p VARCHAR, changed TIMESTAMP)")
        connection.execute(f"INSERT INTO rows VALUES ('a', '2025-01-02'), ('a', {said}), ('b', '2025-01-02')")
        times = dict(connection.execute(statement, {"instant": datetime(2025, 3, 1)}).fetchall())  # noqa: DTZ001 - UTC

    assert times == {"a": updated, "b": "2025-01-02T00:00:00+00:00"}


def test_a_missing_time_or_column_and_a_text_column_prove_nothing(prisma: Database, settings: Settings) -> None:
    prisma.execute('UPDATE experiment_protocols SET "updatedAt" = %s', ("2025-01-02",))
    prisma.execute('ALTER TABLE phase_assignments ALTER COLUMN "updatedAt" DROP NOT NULL')
    prisma.execute(
        'UPDATE phase_assignments SET "updatedAt" = NULL '
        "WHERE id = (SELECT min(id) FROM phase_assignments WHERE \"protocolId\" = 'protocol_1')"
    )
    plan(prisma, 0.03)
    sync(settings)
    assert sighting_of(settings).source_updated_at is None
    assert sighting_of(settings, "protocol_0").source_updated_at is not None

    plan(prisma, 0.01)
    prisma.execute("ALTER TABLE phase_assignments ALTER COLUMN \"updatedAt\" TYPE text USING '2025-01-02 00:00:00+14'")
    sync(settings)
    assert sighting_of(settings).source_updated_at is None

    prisma.execute('ALTER TABLE phase_assignments DROP COLUMN "updatedAt"')
    plan(prisma, 0.02)
    sync(settings)
    assert sighting_of(settings).source_updated_at is None


def protocols_in_history(settings: Settings) -> set[str]:
    with snapshots.open_published(settings) as connection:
        return {name for (name,) in connection.execute("SELECT DISTINCT protocol_id FROM meta.plans").fetchall()}


def test_a_sync_without_protocols_forgets_no_first_sight(prisma: Database, settings: Settings) -> None:
    sync(settings)
    before = sighting_of(settings)
    prisma.execute(
        "CREATE TABLE kept AS TABLE experiment_protocols; CREATE TABLE kept_phases AS TABLE phase_assignments"
    )
    prisma.execute("DELETE FROM analysis_runs; DELETE FROM phase_assignments; DELETE FROM experiment_protocols")
    sync(settings)
    assert protocols_in_history(settings) == {"protocol_0", "protocol_1"}
    with snapshots.open_published(settings) as connection:
        assert connection.execute("SELECT bool_or(is_current) FROM meta.plans").fetchall() == [(False,)]

    prisma.execute("ALTER TABLE experiment_protocols RENAME TO elsewhere")
    sync(settings, full=True)
    assert protocols_in_history(settings) == {"protocol_0", "protocol_1"}

    prisma.execute("ALTER TABLE elsewhere RENAME TO experiment_protocols")
    prisma.execute("INSERT INTO experiment_protocols TABLE kept; INSERT INTO phase_assignments TABLE kept_phases")
    sync(settings)
    assert sighting_of(settings) == before


def test_a_purge_drops_only_the_plans_of_protocols_that_are_gone(prisma: Database, settings: Settings) -> None:
    sync(settings)
    prisma.execute("DELETE FROM analysis_runs; DELETE FROM phase_assignments; DELETE FROM experiment_protocols")

    with dropping_plans(settings.paths.spill, others={"protocol_0"}):
        sync(settings, full=True)

    assert protocols_in_history(settings) == {"protocol_0"}
    assert not list(settings.paths.spill.glob(".tmp-purge-*"))


def test_the_history_of_a_file_that_somebody_wrote_to_is_not_believed(prisma: Database, settings: Settings) -> None:
    first = sync(settings).document
    plan(prisma, 0.01)
    sync(settings)
    published = snapshots.current(settings.paths)
    assert published is not None
    published.chmod(0o600)
    with duckdb.connect(str(published)) as forged:
        forged.execute("UPDATE meta.plans SET first_seen_at = '2020-01-01T00:00:00+00:00'")

    plan(prisma, 0.02)
    sync(settings)

    assert sighting_of(settings, "protocol_0").first_seen_at == first.instant, (
        "from the earlier file, which is unmodified"
    )


def test_a_file_from_before_plans_were_kept_is_built_anew(settings: Settings) -> None:
    sync(settings)
    published = snapshots.current(settings.paths)
    assert published is not None
    card = published.parent / "snapshot.json"
    document = json.loads(card.read_bytes())
    del document["plans_since"]
    card.chmod(0o600)
    card.write_text(json.dumps(document))

    again = sync(settings)

    assert (again.changed, "when plans were first seen" in again.document.built) == (True, True)
    assert again.document.plans_since == again.document.instant
