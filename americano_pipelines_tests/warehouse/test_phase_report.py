"""The report's four patterns, and how a reader opens the published file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.phase_report import Pattern, report
from americano_pipelines.warehouse.snapshots import open_published, preview
from americano_pipelines_tests.conftest import Database, free_port
from americano_pipelines_tests.warehouse.helpers import rows, synced, write_parquet

ROLLUPS = ["events_by_phase", "daily_events", "weekly_events", "events_by_protocol"]


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings]) -> Settings:
    """Published from the app's schema."""
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=True))
    synced(settings)
    return settings


def comparison(settings: Settings) -> Pattern:
    return report(settings, compare=True)[-1]


def test_each_pattern_gives_the_rollups_rows_and_two_times(settings: Settings) -> None:
    *patterns, compared = report(settings, compare=False)

    assert [pattern.name for pattern in patterns] == ROLLUPS
    for pattern in patterns:
        assert pattern.duckdb is not None
        assert pattern.skipped is None
        assert pattern.duckdb.rows == rows(settings, f"FROM research.{pattern.name}")
        assert pattern.duckdb.columns[1:] == ["events", "learners"]
        assert pattern.duckdb.first_ms > 0
        assert pattern.duckdb.median_ms > 0
    assert compared.skipped == "--compare-postgres or COMPARE_WITH_POSTGRES=true runs it"


def test_the_comparison_is_the_same_until_the_source_moves_on(settings: Settings, prisma: Database) -> None:
    same = comparison(settings)
    assert same.same is True
    assert same.duckdb is not None
    assert same.postgres is not None
    assert len(same.duckdb.rows) == 148
    assert same.postgres.rows == same.duckdb.rows
    prisma.execute("DELETE FROM behavioral_events WHERE id = (SELECT min(id) FROM behavioral_events)")

    assert comparison(settings).same is False


def test_the_older_naming_is_compared_too(older: Database, settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(**older.variables(duckdb_use_postgres_scanner=True))
    synced(settings)
    assert comparison(settings).same is True


def test_times_beyond_the_calendar_are_compared_too(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    for number, time in enumerate(["infinity", "-infinity", "0044-03-15 12:00 BC", "10000-01-01"]):
        prisma.execute(
            """INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp")
            VALUES (%s, 'x', 'CARD_REVIEWED', '{}', %s)""",
            (f"odd{number}", time),
        )
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=True))
    synced(settings)
    assert comparison(settings).same is True


def test_a_failed_comparison_is_skipped_with_a_reason_without_the_password(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    synced(settings_for(**prisma.variables(duckdb_use_postgres_scanner=True)))
    secret = prisma.server.password
    down = comparison(settings_for(**prisma.variables(pg_port=free_port())))
    wrong = comparison(settings_for(**prisma.variables(pg_password="not the password")))  # noqa: S106 - a wrong one
    elsewhere = comparison(settings_for(**prisma.variables(pg_events_table="nowhere")))
    unset = comparison(settings_for())

    assert "connection" in str(down.skipped).lower()
    assert "authentication failed" in str(wrong.skipped)
    assert "no table public.nowhere" in str(elsewhere.skipped)
    assert unset.skipped == "no Postgres is configured; set DATABASE_URL or PG_HOST"
    for pattern in (down, wrong, elsewhere):
        assert pattern.duckdb is pattern.postgres is pattern.same is None
        assert secret not in str(pattern)
        assert "not the password" not in str(pattern)


def test_a_pattern_whose_columns_are_missing_says_which(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    events = write_parquet(tmp_path / "e.parquet", "SELECT 1 AS id, 'u' AS user_id, TIMESTAMP '2025-01-01' AS ts")
    settings = settings_for(behavioral_events_parquet=str(events))
    synced(settings)

    patterns = {pattern.name: pattern for pattern in report(settings, compare=False)}

    assert patterns["daily_events"].duckdb is not None
    assert str(patterns["events_by_phase"].skipped).startswith("behavioral_events has no phase column (none of phase,")
    assert patterns["events_by_protocol"].skipped == (
        "research.protocol_events is missing: there is no experiment_protocols"
    )


def test_before_anything_is_published_the_reader_says_what_to_do(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    with pytest.raises(WarehouseUnavailableError, match=r"nothing is published at .*; run `americano sync` first"):
        report(settings, compare=False)
    settings.paths.published.parent.mkdir(parents=True)
    settings.paths.published.symlink_to("snapshots/gone/americano.duckdb")
    with pytest.raises(WarehouseUnavailableError, match="nothing is published"), open_published(settings):
        pass


def test_a_preview_shows_the_first_rows_under_their_columns(settings: Settings) -> None:
    with open_published(settings) as connection:
        columns, shown = preview(connection, "research.phases")
        assert columns[:3] == ["phase_id", "protocol_id", "learner_id"]
        assert len(shown) == 5
        assert preview(connection, "(SELECT $1 AS x)", [7]) == (["x"], [(7,)])
