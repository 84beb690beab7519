"""The extract: exactly the protocol's learner, exactly the window, and the same text for the same rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.analysis.extract import Extract, read_extract
from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshots import open_published
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.support import sync

WINDOW = "\"timestamp\" >= '2025-01-10' AND \"timestamp\" < '2025-03-10'"


def extract(settings: Settings, protocol_id: str = "protocol_1", outcome: str | None = None) -> Extract:
    document = snapshots.read_record(settings)
    assert document is not None
    with open_published(settings) as connection:
        return read_extract(connection, settings, document, protocol_id, outcome)


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings]) -> Settings:
    synced_settings = settings_for(**prisma.variables())
    sync(synced_settings)
    return synced_settings


def test_it_holds_the_learners_events_in_the_protocols_windows_and_no_others(
    settings: Settings, prisma: Database
) -> None:
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


def test_the_learner_is_in_it_by_a_pseudonym_that_needs_the_folders_key(
    settings: Settings, settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    text = extract(settings).canonical().decode()

    assert "learner_1" not in text
    assert pseudonym(settings, "learner_1") in text
    assert pseudonym(settings, "learner_1") != pseudonym(settings, "learner_2")
    other = settings_for(americano_data_dir=tmp_path / "other")
    assert pseudonym(other, "learner_1") != pseudonym(settings, "learner_1")
    assert (settings.data_dir / "pseudonym.key").stat().st_mode & 0o777 == 0o600


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
