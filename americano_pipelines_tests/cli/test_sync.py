"""`americano sync`: what it prints, how it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from americano_pipelines_tests.conftest import Database, Done, environment
from americano_pipelines_tests.defs.conftest import events_query, write_parquet
from americano_pipelines_tests.defs.test_run_processes import HANGING_SYNC

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Cli = Callable[..., Done]
FIELDS = {"mode", "snapshot_id", "path", "tables", "skipped", "seconds", "peak_memory_mb", "success", "error"}


def test_json_is_all_there_is_on_standard_output(prisma: Database, americano: Command) -> None:
    done = americano("sync", "--json", **prisma.variables(log_level="DEBUG"))

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary.keys() >= FIELDS
    assert summary["mode"] == "postgres"
    assert summary["path"].endswith(f"duckdb/snapshots/{summary['snapshot_id']}/americano.duckdb")
    assert Path(summary["path"]).is_file()
    counts = {name: (table["rows"], table["source_rows"]) for name, table in summary["tables"].items()}
    assert counts == {
        "behavioral_events": (4000, 4000),
        "experiment_protocols": (2, 2),
        "phase_assignments": (8, 8),
        "analysis_runs": (2, 2),
    }
    assert summary["skipped"] == {}
    assert {"export behavioral_events", "load behavioral_events", "publish"} <= summary["seconds"].keys()
    assert 50 < summary["peak_memory_mb"] < 1024
    assert "nightly_sync" in done.stderr, "at LOG_LEVEL=DEBUG the log is there too, on standard error"


def test_changed_unchanged_and_full(prisma: Database, cli: Cli) -> None:
    values = prisma.variables()
    first = cli("sync", "--json", **values).json
    again = cli("sync", "--json", **values).json
    full = cli("sync", "--full", "--json", **values).json

    assert first["changed"]
    assert all(table["changed"] for table in first["tables"].values())
    assert not again["changed"]
    assert not any(table["changed"] for table in again["tables"].values())
    assert again["path"] == first["path"]
    assert full["changed"]
    assert full["path"] != first["path"]
    assert not any(table["changed"] for table in full["tables"].values()), "a new file of the same rows"
    assert "export behavioral_events" in full["seconds"]


def test_the_real_export_of_the_issue(cli: Cli, shared: Path) -> None:
    values = {"behavioral_events_parquet": shared / "data" / "moodle_behavioral_events.parquet"}
    done = cli("sync", "--json", **values)

    assert done.code == 0
    assert done.json["mode"] == "parquet"
    assert done.json["tables"]["behavioral_events"]["rows"] == 95_626
    assert done.json["skipped"].keys() == {"experiment_protocols", "phase_assignments", "analysis_runs"}
    assert all("no Parquet file at" in reason for reason in done.json["skipped"].values())
    disorder = """SELECT count(*) FROM (SELECT place < lag(place) OVER (ORDER BY rowid) AS earlier FROM
        (SELECT rowid, (date_trunc('month', event_time), learner_id, event_time) AS place FROM {})) WHERE earlier"""
    with duckdb.connect(done.json["path"], read_only=True) as connection:
        assert connection.execute(disorder.format("analytics.behavioral_events")).fetchone() == (0,)
    with duckdb.connect() as connection:
        source = f"(SELECT *, file_row_number AS rowid FROM read_parquet('{values['behavioral_events_parquet']}'))"
        assert connection.execute(disorder.format(source)).fetchone() != (0,), "the file itself is in no order"

    shown = cli("report", **values)
    assert shown.code == 0
    assert "Events per day (" in shown.out
    assert "Events per week (" in shown.out
    assert "Events by phase: skipped, behavioral_events has no phase column" in shown.out
    assert "Events per protocol: skipped," in shown.out


def test_a_failed_sync_ends_with_one_and_says_why(prisma: Database, cli: Cli) -> None:
    values = prisma.variables(pg_password="wrong'pass\\word")  # noqa: S106 - made up

    as_json, shown = cli("sync", "--json", **values), cli("sync", **values)

    assert as_json.code == shown.code == 1
    assert not as_json.json["success"]
    assert "password authentication failed" in as_json.json["error"]
    assert as_json.json["error_kind"] == "SourceError"
    assert as_json.json["path"] is None
    assert "failed: americano_sync@127.0.0.1" in shown.err
    assert "wrong'pass" not in as_json.out + as_json.err + shown.out + shown.err


def test_a_failed_check_leaves_the_previous_file_and_ends_with_one(
    cli: Cli, publish: Callable[..., None], tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "events.parquet", events_query(20))
    publish(behavioral_events_parquet=str(file))
    before = (tmp_path / "data" / "duckdb" / "americano.duckdb").resolve()
    write_parquet(file, f"{events_query(20)} UNION ALL {events_query(2)}")

    done = cli("sync", "--json", behavioral_events_parquet=file)

    assert done.code == 1
    assert "behavioral_events, id_unique: 2 ids repeated" in done.json["error"]
    assert (done.json["path"], done.json["changed"]) == (str(before), False)


@pytest.mark.parametrize(
    "values",
    [
        {"pg_port": "many"},
        {"log_level": "LOUD"},
        {"duckdb_db_path": "analytics.duckdb"},
        {"duckdb_use_postgres_scanner": "true"},
        {"americano_sync_cron": "99 99 * * *"},
        {"americano_columns": '{"behavioral_events.nothing": "x"}'},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_wrong_setting_ends_with_two_and_names_the_variable(cli: Cli, values: dict[str, str], tmp_path: Path) -> None:
    done = cli("sync", "--json", **values)

    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith(f"configuration: {next(iter(values)).upper()}: ")
    assert not (tmp_path / "data" / "duckdb").exists()


def test_a_wrong_setting_that_only_the_source_shows_ends_with_two(cli: Cli, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "events.parquet", events_query(5))

    done = cli("sync", behavioral_events_parquet=file, americano_columns={"behavioral_events.time": "nope"})

    assert done.code == 2
    assert "AMERICANO_COLUMNS: behavioral_events.time is set to 'nope'" in done.err


@pytest.mark.parametrize("arguments", [["sync", "--nope"], ["nope"], ["report", "too", "many"], ["demo", "nope"]])
def test_wrong_use_ends_with_two(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)

    assert done.code == 2
    assert "Usage: " in done.err


def test_a_data_folder_that_cannot_be_made_is_told_without_a_traceback(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    done = cli("sync", americano_data_dir=tmp_path / "file" / "data")

    assert done.code == 2
    assert done.err.startswith("configuration: AMERICANO_DATA_DIR: ")
    assert str(tmp_path / "file") in done.err


def test_a_glob_in_a_reason_is_not_taken_for_markup(cli: Cli, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "events.parquet", events_query(5))

    done = cli("sync", behavioral_events_parquet=file, analysis_runs_parquet=tmp_path / "[a-z]*[/b].parquet")

    assert done.code == 0
    assert f"no Parquet file at {tmp_path}/[a-z]*[/b].parquet" in done.out
    assert "skipped analytics.analysis_runs" in done.out
    assert "skipped research.analysis_runs" in done.out
    assert "published: snapshot" in done.out
    assert "\x1b" not in done.out
    assert done.err == "", "no progress where nobody watches"


def test_interrupting_publishes_nothing_and_ends_with_one(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "events.parquet", events_query(5))
    with subprocess.Popen(
        [sys.executable, "-c", HANGING_SYNC, "sync"],
        env=environment(tmp_path / "data", behavioral_events_parquet=file),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = threading.Timer(60, process.kill)
        deadline.start()
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        deadline.cancel()

    assert process.returncode == 1, err
    assert "Traceback" not in out + err
    assert not (tmp_path / "data" / "duckdb" / "americano.duckdb").exists()
    assert list((tmp_path / "data").rglob("*.duckdb")) == []
    assert (tmp_path / "data" / "duckdb").is_dir()
