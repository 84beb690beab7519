"""Runs that must fail, how they say why, and what they leave untouched."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from americano_pipelines.defs import step_errors
from americano_pipelines.defs.run_tags import ERROR_KIND
from americano_pipelines.defs.sync import warehouse_assets
from americano_pipelines.errors import LockedSourceError, SourceError, TransientSourceError
from americano_pipelines.sources import postgres_catalog, snapshot_connections, steady_tables
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database, free_port
from americano_pipelines_tests.defs.conftest import (
    Runner,
    checks,
    events_query,
    failure,
    metadata,
    published,
    write_parquet,
)
from americano_pipelines_tests.sync.faults import wait_for

Make = Callable[..., Runner]
WRONG_PASSWORD = "wr0ng'pass\\word"  # noqa: S105 - made up


@pytest.fixture(autouse=True)
def _retries_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_errors, "RETRY_SECONDS", 0)


def retries(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.is_step_restarted for event in result.all_events)


@pytest.mark.parametrize(
    ("query", "check", "figures", "words"),
    [
        (
            f"{events_query(50)} UNION ALL {events_query(3)}",
            "id_unique",
            {"repeated": 3, "absent": 0},
            "3 ids repeated",
        ),
        (
            "SELECT 'e' || i AS id, CASE WHEN i > 1 THEN TIMESTAMP '2024-05-01' END AS ts FROM range(10) AS r(i)",
            "time_not_null",
            {"nulls": 2},
            "2 rows without a time",
        ),
    ],
)
def test_a_blocking_check_keeps_the_previous_file(
    runner: Make, tmp_path: Path, query: str, check: str, figures: dict[str, int], words: str
) -> None:
    file = write_parquet(tmp_path / "in" / "events.parquet", events_query(50))
    project = runner(behavioral_events_parquet=str(file))
    assert project.run().success
    before = project.settings.paths.published.resolve()
    write_parquet(file, query)

    result = project.run()

    assert not result.success
    assert retries(result) == 0
    assert f"behavioral_events, {check}: {words}" in failure(result)
    assert project.settings.paths.published.resolve() == before
    assert published(project.settings, "SELECT count(*) FROM analytics.behavioral_events") == [(50,)]
    assert [path.name for path in (before.parent.parent).iterdir() if not path.name.startswith(".")] == [
        before.parent.name
    ]
    evaluations = checks(result)
    assert len(evaluations) == 5, "every check of the table is in the event log, not only the failed one"
    failed = evaluations[f"behavioral_events/{check}"]
    assert not failed.passed
    assert failed.severity == dg.AssetCheckSeverity.ERROR
    assert {name: failed.metadata[name].value for name in figures} == figures
    assert evaluations["behavioral_events/reconciled"].passed
    assert not any(event.is_step_materialization for event in result.all_events)


def test_warning_checks_are_published_with_their_counts(prisma: Database, runner: Make) -> None:
    prisma.execute(
        """UPDATE behavioral_events SET "experimentPhase" = 'unheard of' WHERE "userId" = 'learner_5';
        UPDATE behavioral_events SET "timestamp" = '1970-01-01' WHERE "sessionPerformanceScore" = 3;
        UPDATE behavioral_events SET "timestamp" = '2999-01-01' WHERE "sessionPerformanceScore" = 6"""
    )
    old, new = prisma.execute(
        """SELECT count(*) FILTER (WHERE "timestamp" < '2000-01-01'), count(*) FILTER (WHERE "timestamp" > '2900-01-01')
        FROM behavioral_events"""
    )[0]

    result = runner(**prisma.variables()).run()

    assert result.success
    phases, times = (checks(result)[f"behavioral_events/{name}"] for name in ("phase_labels_known", "times_plausible"))
    assert not phases.passed
    assert not times.passed
    assert phases.severity == times.severity == dg.AssetCheckSeverity.WARN
    assert (phases.metadata["events"].value, phases.metadata["labels"].value) == (500, 1)
    assert (times.metadata["before_2000"].value, times.metadata["in_future"].value) == (old, new)
    assert old
    assert new


def test_a_contract_error_fails_at_once(prisma: Database, runner: Make) -> None:
    prisma.execute("ALTER TABLE phase_assignments ADD COLUMN price numeric(10, 2) DEFAULT 'NaN'")

    result = runner(**prisma.variables()).run()

    assert not result.success
    assert retries(result) == 0
    assert "public.phase_assignments: values that DuckDB cannot hold" in failure(result)


@pytest.mark.parametrize("step", ["parquet_exports", "warehouse"])
def test_a_transient_error_is_retried_with_a_bound(prisma: Database, runner: Make, step: str) -> None:
    scanner = step == "warehouse"
    project = runner(**prisma.variables(pg_port=free_port(), duckdb_use_postgres_scanner=scanner))

    result = project.run()

    assert not result.success
    assert retries(result) == step_errors.MAX_RETRIES
    assert "still failing after 2 retries" in failure(result)
    assert not project.settings.paths.published.exists()


def test_a_retry_that_finds_the_server_back_succeeds(
    prisma: Database, runner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from americano_pipelines.lake import export

    calls = []

    def once_broken(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            raise TransientSourceError("the server is restarting")
        return steady_tables.steady_tables(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(export, "steady_tables", once_broken)
    result = runner(**prisma.variables()).run()

    assert result.success
    assert retries(result) == 1
    assert metadata(result, "analytics/behavioral_events")["dagster/row_count"] == 4000


@pytest.fixture
def migration(prisma: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The connection of a migration that has begun."""
    monkeypatch.setattr(snapshot_connections, "LOCK_TIMEOUT_MS", 100)
    with closing(prisma.server.connect(prisma.name)) as link:
        link.autocommit = False
        link.cursor().execute("ALTER TABLE phase_assignments ADD note text DEFAULT 'n'")
        yield link


def commit_once_waited_for(database: Database, migration: Any) -> None:
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'phase_assignments'::regclass"
    wait_for(lambda: database.execute(waiting), "the sync to wait for the lock")
    migration.commit()


@pytest.mark.slow
@pytest.mark.parametrize("scanner", [False, True])
def test_a_migration_is_outlasted_with_more_attempts_and_growing_pauses(
    prisma: Database, migration: Any, runner: Make, monkeypatch: pytest.MonkeyPatch, *, scanner: bool
) -> None:
    pauses = step_errors.MIGRATION_RETRY_SECONDS
    assert list(pauses) == sorted(set(pauses))
    assert sum(pauses) > 300
    monkeypatch.setattr(step_errors, "MIGRATION_RETRY_SECONDS", [0] * len(pauses))
    failed: list[LockedSourceError] = []
    with_lock_holders = postgres_catalog.with_lock_holders
    end = threading.Thread(target=commit_once_waited_for, args=(prisma, migration))

    def count(*arguments: Any) -> LockedSourceError:
        failed.append(with_lock_holders(*arguments))
        if len(failed) == len(pauses) - 1:
            # The next attempt gets the lock, and then meets another table than it has a snapshot of.
            monkeypatch.setattr(snapshot_connections, "LOCK_TIMEOUT_MS", 60_000)
            end.start()
        return failed[-1]

    monkeypatch.setattr(postgres_catalog, "with_lock_holders", count)
    result = runner(**prisma.variables(duckdb_use_postgres_scanner=scanner)).run()
    end.join(timeout=60)

    assert result.success
    assert retries(result) == len(pauses)
    assert metadata(result, "analytics/phase_assignments")["dagster/row_count"] == 8


@pytest.mark.usefixtures("migration")
def test_a_lock_that_stays_fails_with_the_table_and_who_holds_it(
    prisma: Database, runner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_errors, "MIGRATION_RETRY_SECONDS", (0, 0, 0))

    result = runner(**prisma.variables()).run()

    assert not result.success
    assert retries(result) == 3
    assert "still failing after 3 retries" in failure(result)
    assert "table public.phase_assignments: another session locks it" in failure(result)
    assert "pg_terminate_backend(" in failure(result)


def test_a_snapshot_stays_until_its_findings_are_kept(
    tmp_path: Path, runner: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """What lies in the way was logged, and the snapshot was removed with the only evidence."""
    events = tmp_path / "events.parquet"
    new = runner(behavioral_events_parquet=str(events), americano_snapshots_kept=1)
    cards = new.settings.paths.expired_snapshots

    def sync(rows: int) -> list[str]:
        write_parquet(events, events_query(rows))
        assert new.run().success
        return [folder.name for folder in snapshots.snapshots(new.settings.paths)]

    (first,) = sync(10)
    assert not cards.exists(), "nothing expires"
    cards.parent.mkdir(parents=True)
    cards.touch()
    assert first in sync(20)
    assert f"snapshot {first} stays until its extracts can be compared with it" in capsys.readouterr().err
    cards.unlink()

    assert len(sync(30)) == 1
    assert len(list(cards.iterdir())) == 2, "a card for each that expired"


def test_no_password_reaches_any_record(prisma: Database, runner: Make) -> None:
    """Of a good run, one with a wrong password and one that is refused: not in any event, not in any file."""
    values = prisma.variables()
    good = runner(persistent=True, **values)
    assert good.run().success
    wrong = runner(persistent=True, **values | {"pg_password": WRONG_PASSWORD})
    assert "password authentication failed" in failure(refused := wrong.run())
    assert retries(refused) == 0
    gone = runner(persistent=True, **values | {"pg_port": free_port()})
    assert "still failing" in failure(gone.run())

    passwords = [str(values["pg_password"]), WRONG_PASSWORD]
    # As written, in JSON, and as libpq and SQL escape it; and the part of it without special characters.
    forms = {form for text in passwords for form in (text, text.replace("\\", "\\\\"), text.replace("'", "''"))}
    forms |= {passwords[0].split("'")[1].split("\\")[0], passwords[1].split("'")[0]}
    records = [path for path in good.settings.paths.root.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in records)
    leaks = [os.fspath(path) for path in records for form in forms if form.encode() in path.read_bytes()]
    assert leaks == []


def test_the_kind_of_error_is_in_the_failure(prisma: Database, runner: Make) -> None:
    prisma.execute(f"REVOKE SELECT ON analysis_runs FROM {prisma.variables()['pg_user']}")

    result = runner(**prisma.variables()).run()

    event = next(event for event in result.all_events if event.is_step_failure)
    failure_data = event.step_failure_data.user_failure_data
    assert failure_data is not None
    assert failure_data.metadata[ERROR_KIND].value == SourceError.__name__
    assert "GRANT SELECT" in failure(result)


def test_a_preview_that_fails_does_not_fail_the_run(
    runner: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise duckdb.ConversionException("no such text")

    monkeypatch.setattr(warehouse_assets, "preview", fail)
    file = write_parquet(tmp_path / "events.parquet", events_query(50))

    result = runner(behavioral_events_parquet=str(file)).run()

    assert result.success
    assert "not shown: " in metadata(result, "research/daily_events")["preview"]
