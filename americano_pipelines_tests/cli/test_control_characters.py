"""Names of the app, of files and of settings in what every command prints: no control character of them is left."""

import re
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from americano_pipelines.cli.main import COMMANDS, group
from americano_pipelines.cli.records import _show_comparison, _show_runs
from americano_pipelines.provenance.comparison import ComparedValue
from americano_pipelines.provenance.run_listing import ListedRun
from americano_pipelines_tests.conftest import Database, Done
from americano_pipelines_tests.prisma_database import link_url
from americano_pipelines_tests.provenance.crate.crates import NAMES

NASTY = "\x1b[31m\x07\u202e[/b]"
SHOWN = "\\x1b[31m\\x07\\u202e[/b]"
Cli = Callable[..., Done]

# These print only names of the demo and of the benchmark, or run until they are ended.
WITHOUT_NAMES = {"mlflow", "demo", "bench", "dev"}


def escaped(done: Done) -> str:
    """Everything that a command wrote, of which nothing acts on a terminal."""
    text = done.out + done.err
    assert {character for character in text if not character.isprintable()} <= {"\n"}, repr(text)
    return text


@pytest.fixture
def nasty(prisma: Database) -> Database:
    """The app's tables with such characters in every name and label that people or the app choose."""
    prisma.execute('UPDATE experiment_protocols SET id = %s || id, "protocolName" = %s || id', (NASTY, NASTY))
    prisma.execute('UPDATE experiment_protocols SET "userId" = %s || "userId"', (NASTY,))
    prisma.execute("UPDATE experiment_protocols SET \"primaryOutcome\" = %s WHERE id LIKE '%%1'", (NASTY,))
    prisma.execute('UPDATE behavioral_events SET "userId" = %s || "userId", id = %s || id', (NASTY, NASTY))
    prisma.execute('UPDATE behavioral_events SET "experimentPhase" = %s || "experimentPhase"', (NASTY,))
    prisma.execute('UPDATE phase_assignments SET id = %s || id, "phaseLabel" = %s || "phaseLabel"', (NASTY, NASTY))
    prisma.execute('UPDATE analysis_runs SET id = %s || id, "runName" = %s', (NASTY, NASTY))
    column, label = NASTY.replace('"', ""), NASTY.replace("'", "")
    prisma.execute(f'ALTER TABLE behavioral_events ADD COLUMN "{column}" numeric(10, 2)')
    prisma.execute(f"ALTER TYPE \"EventType\" ADD VALUE '{label}'")
    prisma.execute('UPDATE behavioral_events SET "eventType" = %s WHERE "timeOfDay" = 3', (label,))
    return prisma


def _use_record(run: Callable[..., str], record: str, folder: Path) -> None:
    """The commands that take a record."""
    run("verify", record, code=None)
    run("verify", record, "--rerun", code=None)
    run("link", record, code=None)
    target = f"{folder}/{NASTY.replace('/', '')}.zip"
    run("crate", NASTY, "-o", target, code=1, **NAMES)
    run("crate", record, "-o", target, code=0, **NAMES | {"americano_crate_author": NASTY})
    run("crate", record, "-o", target, "--without-data", "--json", code=0, **NAMES)
    run("verify", target, code=0)
    run("manuscript", record)


@pytest.mark.slow  # every command, some with Dagster runs
@pytest.mark.timeout(600)
def test_no_command_lets_a_control_character_through(  # noqa: PLR0915 - one statement a command
    nasty: Database, cli: Cli, tmp_path: Path
) -> None:
    values = nasty.variables(
        analysis_runs_database_url=link_url(nasty),
        mlflow_experiment_name=f"x{NASTY}",
    )
    learner, protocol = f"{NASTY}learner_0", f"{NASTY}protocol_0"
    shown: dict[str, str] = {}

    def run(command: str, *arguments: str, code: int | None = 0, **changed: Any) -> str:
        done = cli(command, *arguments, **values | changed)
        text = escaped(done)
        assert code is None or done.code == code, text
        shown[command] = shown.get(command, "") + text
        return text

    run("sync")
    run("analyse", "--all", "--only", "change_points", code=None)
    run("analyse", protocol, "--only", "change_points", "--json")
    run("analyse", "--requests", code=None)
    run("analyse", f"{NASTY}none", code=1)
    run("runs", columns="250")
    run("runs")
    run("runs", "--json")
    records = sorted(path.stem for path in (tmp_path / "data" / "provenance").glob("*.json"))
    assert len(records) >= 2
    run("compare", *records[:2])
    run("compare", *records[:2], "--json")
    run("compare", NASTY, "other", code=1)
    _use_record(run, records[0], tmp_path)
    run("verify", NASTY, code=1)
    run("link", NASTY, code=1)
    run("report")
    run("report", "--protocol", protocol)
    run("protocols")
    run("protocols", "--json")
    run("verdicts")
    run("verdicts", "--json")
    run("status")
    run("plan", "check", protocol, code=1)
    run("plan", "check", protocol, "--json", code=1)
    run("export", f"{NASTY}none", "--to", f"{tmp_path}/x.csv", code=1)
    run("doctor", code=None)
    run("doctor", code=None, americano_columns={"behavioral_events.time": NASTY})
    run("doctor", code=None, pg_host="", behavioral_events_parquet=f"{tmp_path}/{NASTY}.parquet")
    nasty.execute('UPDATE behavioral_events SET "timeOfDay" = 5 WHERE "timeOfDay" = 4')
    run("verify-sync", code=1)
    run("verify-sync", "--deep", code=1)
    run("purge", "--learner", learner, "--dry-run", code=None)
    nasty.execute("ALTER TABLE behavioral_events ALTER \"eventData\" TYPE text USING 'x'")
    nasty.execute('DELETE FROM behavioral_events WHERE "userId" = %s', (learner,))
    run("purge", "--learner", learner, code=None)
    column = NASTY.replace('"', "")
    nasty.execute(f"UPDATE behavioral_events SET \"{column}\" = 'NaN'")
    assert SHOWN in run("sync", code=1), "the column of which a value cannot be read"
    run("sync", code=1, log_level="DEBUG")
    run("analyse", protocol, "--only", "change_points", code=None, log_level="DEBUG")
    run("sync", NASTY, code=2)
    run("sync", code=2, pg_events_table=f'"{NASTY}')
    run("sync", code=1, pg_events_table=f'"{NASTY}"')
    with closing(sqlite3.connect(tmp_path / "data" / "mlflow" / "mlflow.db")) as store, store:
        store.execute("UPDATE experiments SET artifact_location = ?", (f"file:///{NASTY}/mlflow/artifacts",))
    run("relocate", "--dry-run")
    run("api", "key", "create", NASTY, "--scope", "learner", "--learner", NASTY)
    run("api", "key", "list", columns="250")
    run("api", "key", "list", "--json")
    run("api", "key", "revoke", NASTY, code=2)
    run("api", code=2, americano_tenants=NASTY)

    assert shown.keys() == set(COMMANDS) - WITHOUT_NAMES
    # Markdown has a backslash before each punctuation.
    shown["manuscript"] = re.sub(r"\\(.)", r"\1", shown["manuscript"])
    for command, text in shown.items():
        assert SHOWN[:8] in text, f"{command} shows no such name: it is not tried here"


@pytest.mark.parametrize("columns", ["80", "250"])
def test_tables_of_runs_and_of_a_comparison_show_them(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    _show_comparison([NASTY, "b"], [ComparedValue("parameters", f"{NASTY}label", (f"{NASTY}x", {NASTY: 1}))])
    _show_runs([listed_run()], {})

    out = capsys.readouterr().out
    assert {character for character in out if not character.isprintable()} == {"\n"}
    assert SHOWN in out


def test_what_is_logged_shows_them(
    nasty: Database, americano: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    done = americano("analyse", "--requests", analysis_runs_database_url=link_url(nasty))

    assert f"{SHOWN}run_0 waits until protocol {SHOWN}protocol_0 is published" in done.stderr
    assert {character for character in done.stdout + done.stderr if not character.isprintable()} == {"\n"}


def listed_run() -> ListedRun:
    """A run that is all names."""
    others = {"status": "FINISHED", "verdict": NASTY, "standing": None, "record": None, "mlflow_url": NASTY}
    names = ("analysis", "protocol_id", "protocol", "sentence", "mlflow_run_id", "analysis_run_id", "dagster_run_id")
    return ListedRun(started="2025-01-01T00:00:00", **others, **dict.fromkeys(names, NASTY))


def test_every_command_is_tried() -> None:
    with click.Context(group) as context:
        assert set(group.list_commands(context)) == set(COMMANDS)
