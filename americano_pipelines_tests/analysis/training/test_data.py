"""What the training demo learns from: nothing of the future is in a row, and cut rows are the oldest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.analysis.training.data import FEATURES, TrainingData, read_training_data
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshots import open_published
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.defs.conftest import events_query, write_parquet
from americano_pipelines_tests.sync.support import sync

DAY_US = 86_400_000_000


def read(settings: Settings, max_rows: int = 10_000) -> TrainingData:
    document = snapshots.read_record(settings.paths)
    assert document is not None
    with open_published(settings) as connection:
        return read_training_data(connection, settings, document, max_rows=max_rows)


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings]) -> Settings:
    synced_settings = settings_for(**prisma.variables())
    sync(synced_settings)
    return synced_settings


def test_features_are_what_was_known_before(settings: Settings, prisma: Database) -> None:
    data = read(settings)

    assert data.outcome == "sessionPerformanceScore"
    assert (data.features, data.left_out) == (list(FEATURES), {})
    events = prisma.execute(
        'SELECT "userId", (extract(epoch FROM "timestamp") * 1000000)::bigint, "sessionPerformanceScore", '
        'extract(hour FROM "timestamp")::float8, (extract(isodow FROM "timestamp") > 5)::int, '
        "coalesce(\"experimentPhase\" LIKE 'intervention%', false)::int "
        'FROM behavioral_events ORDER BY "timestamp", id'
    )
    scored = [event for event in events if event[2] is not None]
    assert data.available == len(scored) == len(data.rows)
    assert data.times_us == [event[1] for event in scored]
    assert data.scores == [event[2] for event in scored]
    for place in (0, 5, 300, len(scored) - 1):
        who, time, _, hour, weekend, intervention = scored[place]
        before = [(at, score) for learner, at, score, *_ in scored if learner == who and at < time]
        week = [score for at, score in before if at >= time - 7 * DAY_US]
        row = dict(zip(data.features, data.rows[place], strict=True))
        assert (row["hour_of_day"], row["is_weekend"], row["in_intervention"]) == (hour, weekend, intervention)
        first = min(at for learner, at, *_ in events if learner == who)
        assert row["days_since_first_event"] == pytest.approx((time - first) / DAY_US)
        assert row["mean_score_so_far"] == (pytest.approx(sum(s for _, s in before) / len(before)) if before else None)
        assert row["mean_score_last_7_days"] == (pytest.approx(sum(week) / len(week)) if week else None)
        assert (row["log_hours_since_last_score"] is None) == (not before)


def test_a_later_score_changes_no_earlier_row(settings: Settings, prisma: Database) -> None:
    before = read(settings)
    (changed,) = prisma.execute(
        'UPDATE behavioral_events SET "sessionPerformanceScore" = 100 - "sessionPerformanceScore" WHERE id = '
        '(SELECT id FROM behavioral_events WHERE "sessionPerformanceScore" < 40 ORDER BY "timestamp" OFFSET 200 '
        "LIMIT 1) "
        'RETURNING (extract(epoch FROM "timestamp") * 1000000)::bigint'
    )
    sync(settings)

    after = read(settings)
    place = before.times_us.index(changed[0])

    assert after.rows[: place + 1] == before.rows[: place + 1], "its own row neither"
    assert after.scores[place] != before.scores[place]
    assert after.rows != before.rows, "later rows do know of it"
    assert after.sha256 != before.sha256


def test_scores_of_one_instant_do_not_know_of_each_other(settings: Settings, prisma: Database) -> None:
    prisma.execute(
        'INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp", '
        "\"sessionPerformanceScore\") SELECT 'twin' || i, 'somebody', 'SESSION_ENDED', '{}', '2025-03-01', "
        "90 + i FROM generate_series(1, 2) AS i"
    )
    sync(settings)

    data = read(settings)
    twins = [dict(zip(data.features, row, strict=True)) for row, s in zip(data.rows, data.scores, strict=True)
             if s in {91, 92} and row[data.features.index("days_since_first_event")] == 0]  # fmt: skip

    assert len(twins) == 2
    assert all(twin["mean_score_so_far"] is None and twin["mean_score_last_7_days"] is None for twin in twins)


def test_the_same_rows_have_the_same_text_in_another_snapshot(settings: Settings) -> None:
    first = read(settings)
    sync(settings, full=True)

    assert read(settings).canonical() == first.canonical()
    assert TrainingData.parse(first.canonical()) == first


def test_beyond_the_most_rows_the_oldest_go_and_are_counted(settings: Settings) -> None:
    whole, cut = read(settings), read(settings, 100)

    assert (len(cut.rows), cut.available) == (100, whole.available)
    assert (cut.times_us, cut.rows) == (whole.times_us[-100:], whole.rows[-100:]), "history is older than the rows"


def test_the_older_naming_will_do(older: Database, settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(**older.variables())
    sync(settings)

    data = read(settings)

    assert data.outcome == "score"
    assert len(data.rows) == 1000
    assert read(settings).canonical() == data.canonical(), "although its scores are fractions"


def test_what_needs_a_missing_column_is_left_out(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    query = events_query(60, ", i % 11 AS score").replace("'l' || i % 5 AS learner_id,", "")
    settings = settings_for(behavioral_events_parquet=str(write_parquet(tmp_path / "events.parquet", query)))
    sync(settings)

    data = read(settings)

    assert data.features == ["hour_of_day", "is_weekend"]
    assert data.left_out["mean_score_so_far"] == "no column plays the role learner"
    assert data.left_out["in_intervention"] == "no column plays the role phase"


def test_without_scores_it_says_what_it_looked_for(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    query = events_query(60, ", 'high' AS score, i AS clicks")
    settings = settings_for(behavioral_events_parquet=str(write_parquet(tmp_path / "events.parquet", query)))
    sync(settings)

    with pytest.raises(AnalysisError, match=r"no column with scores.*session_performance_score.*there is clicks"):
        read(settings)
