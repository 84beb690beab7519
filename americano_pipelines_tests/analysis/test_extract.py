"""The extract: exactly the protocol's learner, exactly the window, and the same text for the same rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.extract_reading import read_extract
from americano_pipelines.analysis.extract_statements import events_statement, protocol_statement
from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshots import open_published
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.support import sync

WINDOW = "\"timestamp\" >= '2025-01-10' AND \"timestamp\" < '2025-03-10'"


def extract(settings: Settings, protocol_id: str = "protocol_1", outcome: str | None = None) -> Extract:
    document = snapshots.read_record(settings.paths)
    assert document is not None
    with open_published(settings) as connection:
        return read_extract(connection, settings, document, protocol_id, outcome)


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings]) -> Settings:
    synced_settings = settings_for(**prisma.variables())
    sync(synced_settings)
    return synced_settings


def test_it_holds_the_learners_events_of_the_protocols_windows_only(settings: Settings, prisma: Database) -> None:
    expected = prisma.execute(
        'SELECT (extract(epoch FROM "timestamp") * 1000000)::bigint, "sessionPerformanceScore"::float8, '
        '"experimentPhase" '
        f'FROM behavioral_events WHERE "userId" = \'learner_1\' AND {WINDOW} ORDER BY "timestamp", id'
    )

    learner_extract = extract(settings)

    assert len(expected) > 50
    assert list(zip(learner_extract.times_us, learner_extract.values, learner_extract.labels, strict=True)) == expected
    assert None in learner_extract.values
    assert learner_extract.outcome == "sessionPerformanceScore"
    assert [phase.label for phase in learner_extract.phases] == [
        "baseline_1",
        "intervention_A_1",
        "baseline_2",
        "intervention_A_2",
    ]
    assert [phase.ends_us is None for phase in learner_extract.phases] == [False, False, False, True]
    assert learner_extract.phases[0].parameters == {"randomization": {"minDays": 7, "maxDays": 21}}
    assert learner_extract.phases[0].seed == 7
    assert (learner_extract.protocol.design, learner_extract.protocol.deviations) == ("ABAB", [])


@pytest.mark.parametrize(
    ("of_type", "learner", "filtered"),
    [("text", "learner_1", "userId='learner_1'"), ("bigint", "1", "userId=1"), ("uuid", f"{1:032x}", "userId=")],
)
def test_the_learner_is_a_filter_of_the_scan_whatever_the_type_of_the_id(
    settings: Settings, prisma: Database, of_type: str, learner: str, filtered: str
) -> None:
    expected = extract(settings)
    number = "split_part(\"userId\", '_', 2)"
    by_type = {"text": '"userId"', "bigint": f"{number}::bigint", "uuid": f"lpad({number}, 32, '0')::uuid"}
    policies = {"protocols": "experiment_protocols", "phases": "phase_assignments", "analysis_runs": "analysis_runs"}
    prisma.execute("; ".join(f"DROP POLICY own_{name} ON {table}" for name, table in policies.items()))
    for table in ("behavioral_events", "experiment_protocols"):
        prisma.execute(f'ALTER TABLE {table} ALTER COLUMN "userId" TYPE {of_type} USING {by_type[of_type]}')
    sync(settings)

    changed = extract(settings)

    assert (changed.times_us, changed.values, changed.labels) == (expected.times_us, expected.values, expected.labels)
    document = snapshots.read_record(settings.paths)
    assert document is not None
    statement = events_statement(document, changed.outcome)
    with open_published(settings) as connection:
        bound = [learner, changed.times_us[0], changed.times_us[-1], "protocol_1"]
        plan = connection.execute(f"EXPLAIN {statement}", bound).fetchall()[0][1]
    assert filtered in plan


def test_the_learner_is_in_it_by_a_pseudonym_that_needs_the_folders_key(
    settings: Settings, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    text = extract(settings).canonical().decode()

    assert "learner_1" not in text
    assert pseudonym(settings, "learner_1") in text
    assert pseudonym(settings, "learner_1") != pseudonym(settings, "learner_2")
    other = settings_for(americano_data_dir=tmp_path / "other")
    assert pseudonym(other, "learner_1") != pseudonym(settings, "learner_1")
    assert (settings.paths.root / "pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_the_same_rows_have_the_same_text_and_one_other_value_another(settings: Settings, prisma: Database) -> None:
    first = extract(settings)
    sync(settings, full=True)
    assert extract(settings).canonical() == first.canonical(), "another snapshot of the same rows"
    assert Extract.parse(first.canonical()) == first
    assert json.loads(first.canonical())["outcome"] == "sessionPerformanceScore"

    prisma.execute(
        'UPDATE behavioral_events SET "sessionPerformanceScore" = 100 - coalesce("sessionPerformanceScore", 0) '
        f"WHERE id = (SELECT min(id) FROM behavioral_events WHERE \"userId\" = 'learner_1' AND {WINDOW})"
    )
    sync(settings)
    assert extract(settings).sha256 != first.sha256


@pytest.mark.parametrize(
    ("protocol", "outcome", "message"),
    [
        ("protocol_9", None, "protocol 'protocol_9' is not in snapshot"),
        ("protocol_1", "mood", r"no column of that name that holds numbers \(it has .*sessionPerformanceScore"),
        ("protocol_1", "eventType", "holds numbers"),
        ("protocol_1", 'x" FROM y; --', "holds numbers"),
    ],
)
def test_what_cannot_be_extracted_is_told(settings: Settings, protocol: str, outcome: str | None, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        extract(settings, protocol, outcome)


def test_a_protocol_without_phases_or_outcome_is_told(settings: Settings, prisma: Database) -> None:
    prisma.execute("DELETE FROM phase_assignments WHERE \"protocolId\" = 'protocol_0'")
    sync(settings)

    with pytest.raises(AnalysisError, match="has no phases"):
        extract(settings, "protocol_0")


def test_a_text_of_before_keeps_its_hash() -> None:
    file = Path(__file__).parents[1] / "provenance" / "format_1" / "extract.json"
    text = file.read_bytes()

    before = Extract.parse(text)

    assert before.canonical() == text.strip()
    assert (before.time_zone, before.protocol.improvement) == (None, None)
    record = json.loads((file.parent / "abab_randomization.json").read_text())
    assert (before.sha256, before.protocol_sha256) == (record["extract_sha256"], record["protocol_sha256"])


def test_the_source_may_state_the_time_zone_and_which_way_is_better(settings: Settings, prisma: Database) -> None:
    plain = extract(settings)
    assert (plain.time_zone, plain.time_zone_from) == (None, None)
    assert "time_zone" not in plain.canonical().decode()

    prisma.execute(
        'UPDATE phase_assignments SET "interventionParams" = "interventionParams" || \'{"timeZone": "Asia/Tokyo"}\' '
        "WHERE \"protocolId\" = 'protocol_1'"
    )
    sync(settings)
    of_phases = extract(settings)
    assert (of_phases.time_zone, of_phases.time_zone_from) == ("Asia/Tokyo", "recorded with the phases")

    prisma.execute('ALTER TABLE experiment_protocols ADD COLUMN "timeZone" text, ADD COLUMN "improvement" text')
    prisma.execute("UPDATE experiment_protocols SET \"timeZone\" = 'Europe/Berlin', improvement = 'lower'")
    sync(settings)
    stated = extract(settings)
    assert (stated.time_zone, stated.time_zone_from) == ("Europe/Berlin", "stated by the protocol")
    assert stated.protocol.improvement == "lower"
    assert Extract.parse(stated.canonical()) == stated

    prisma.execute("UPDATE experiment_protocols SET \"timeZone\" = 'Mars/Phobos'")
    sync(settings)
    with pytest.raises(AnalysisError, match="'Mars/Phobos' is not a known time zone"):
        extract(settings)


def test_the_setting_gives_the_time_zone_where_the_source_names_none(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    elsewhere = settings_for(**prisma.variables(), americano_time_zone="Europe/Berlin")
    sync(elsewhere)

    setting = extract(elsewhere)

    assert (setting.time_zone, setting.time_zone_from) == ("Europe/Berlin", "the setting AMERICANO_TIME_ZONE")


def test_a_snapshot_of_before_lacks_the_columns_and_is_read(settings: Settings) -> None:
    document = snapshots.read_record(settings.paths)
    assert document is not None
    model = document.models["protocols"]
    columns = {name: kind for name, kind in model.columns.items() if name not in {"improvement", "time_zone"}}
    assert len(columns) == len(model.columns) - 2
    before = document.model_copy(
        update={"models": {**document.models, "protocols": model.model_copy(update={"columns": columns})}}
    )

    with open_published(settings) as connection:
        connection.execute(protocol_statement(before), ["protocol_1"])
        assert [description[0] for description in connection.description][-2:] == ["improvement", "time_zone"]
    assert "CAST(NULL AS VARCHAR) AS improvement" in protocol_statement(before)
