"""`americano report`: the four patterns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines_tests.conftest import Database, Done, free_port
from americano_pipelines_tests.defs.conftest import events_query, write_parquet

Cli = Callable[..., Done]
Publish = Callable[..., None]
PATTERNS = ["events_by_phase", "daily_events", "weekly_events", "events_by_protocol", "duckdb_against_postgres"]


def by_name(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.err
    return {pattern["name"]: pattern for pattern in done.json}


def test_all_patterns_with_times_and_rows(prisma: Database, cli: Cli, publish: Publish) -> None:
    values = prisma.variables()
    publish(**values)

    patterns = by_name(cli("report", "--compare-postgres", "--json", **values))

    assert list(patterns) == PATTERNS
    assert all(pattern["skipped"] is None for pattern in patterns.values())
    assert all(pattern["duckdb"]["median_ms"] > 0 < pattern["duckdb"]["first_ms"] for pattern in patterns.values())
    days = prisma.execute('SELECT count(DISTINCT "timestamp"::date), count(*) FROM behavioral_events')[0]
    daily = patterns["daily_events"]["duckdb"]
    assert daily["columns"] == ["day", "events", "learners"]
    assert (len(daily["rows"]), sum(row[1] for row in daily["rows"])) == days
    assert dict(row[:2] for row in patterns["events_by_phase"]["duckdb"]["rows"]).keys() == {"baseline_1", None}
    assert patterns["duckdb_against_postgres"]["same"] is True
    assert (
        patterns["duckdb_against_postgres"]["postgres"]["rows"] == patterns["duckdb_against_postgres"]["duckdb"]["rows"]
    )

    shown = cli("report", **values)
    assert shown.code == 0
    assert "Events by phase (" in shown.out
    assert f"last 10 of {days[0]} rows" in shown.out
    assert "skipped, --compare-postgres or COMPARE_WITH_POSTGRES=true runs it" in shown.out
    prisma.execute("DELETE FROM behavioral_events WHERE \"userId\" = 'learner_1'")
    compared = cli("report", **values, compare_with_postgres="true")
    assert "DIFFERENT rows: Postgres has moved on since the snapshot" in compared.out


def test_the_comparison_asks_the_events_table_of_the_settings(older: Database, cli: Cli, publish: Publish) -> None:
    older.execute('ALTER TABLE "BehavioralEvent" RENAME TO "Our Events"')
    values = older.variables(pg_events_table="public.Our Events", compare_with_postgres="true")
    publish(**values)

    comparison = by_name(cli("report", "--json", **values))["duckdb_against_postgres"]

    assert (comparison["skipped"], comparison["same"]) == (None, True)


def test_a_comparison_that_fails_says_why_and_ends_with_one(prisma: Database, cli: Cli, publish: Publish) -> None:
    values = prisma.variables()
    publish(**values)
    wrong = {"pg_password": "wr0ng'\\"}

    done = cli("report", "--compare-postgres", "--json", **values | wrong)

    assert done.code == 1, "it was asked for and there is no answer; the other patterns are shown all the same"
    comparison = {pattern["name"]: pattern for pattern in done.json}["duckdb_against_postgres"]
    assert [pattern["skipped"] for pattern in done.json[:4]] == [None] * 4
    assert "password authentication failed" in comparison["skipped"]
    assert "wr0ng" not in done.out + done.err
    alone = cli("report", "--compare-postgres")
    assert alone.code == 1
    assert "skipped, no Postgres is configured" in alone.out
    assert cli("report", compare_with_postgres="true").code == 0, "a standing wish is no command"


def test_labels_are_data_and_no_markup(cli: Cli, publish: Publish, tmp_path: Path) -> None:
    columns = ", ['[/b]', '[bold]x[/bold]', 'a|b'][1 + i % 3] AS phase, i % 2 AS experiment_id"
    file = write_parquet(tmp_path / "events.parquet", events_query(30, columns))
    publish(behavioral_events_parquet=str(file))

    done = cli("report", behavioral_events_parquet=file)

    assert done.code == 0
    assert "[/b]" in done.out
    assert "[bold]x[/bold]" in done.out


def test_before_the_first_sync_it_says_what_to_do(cli: Cli) -> None:
    done = cli("report")

    assert done.code == 1
    assert "run `americano sync` first" in done.err


@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_a_pattern_without_its_columns_is_skipped_with_the_reason(
    cli: Cli, publish: Publish, tmp_path: Path, flag: tuple[str]
) -> None:
    file = write_parquet(tmp_path / "events.parquet", "SELECT 1 AS id, TIMESTAMP '2024-05-01' AS ts")
    publish(behavioral_events_parquet=str(file))

    done = cli("report", *flag, behavioral_events_parquet=file)

    assert done.code == 0
    assert "behavioral_events has no learner column (none of learner_id, user_id" in done.out


def test_a_postgres_that_is_down_ends_only_the_named_comparison(prisma: Database, cli: Cli, publish: Publish) -> None:
    values = prisma.variables()
    publish(**values)
    down = {"pg_port": free_port()}

    assert cli("report", "--compare-postgres", **values | down).code == 1
    patterns = by_name(cli("report", "--json", **values | down, compare_with_postgres="true"))
    assert "the comparison failed" in patterns["duckdb_against_postgres"]["skipped"]
