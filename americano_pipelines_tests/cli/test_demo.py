"""`americano demo ...`: the whole way through, and the pieces."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.cli import demo as demo_commands
from americano_pipelines.demo.data.analysis_rows import analysis_runs
from americano_pipelines.demo.data.demo_experiments import experiments
from americano_pipelines.demo.data.protocols import PROTOCOLS
from americano_pipelines.demo.server import DemoServer
from americano_pipelines.settings import Mode, Settings, load_settings
from americano_pipelines_tests.conftest import VARIABLES, Done
from americano_pipelines_tests.statistics.examples import TRUTHS

Capture = pytest.CaptureFixture[str]
Cli = Callable[..., Done]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def line_of(out: str, title: str) -> str:
    """The line of a table for a protocol, whose title may be folded."""
    return next(line for line in out.splitlines() if line.startswith(f" {title[:20]}")).rstrip()


def check_verdicts(verdicts: str) -> None:
    """Each verdict is listed next to the seeded truth, and agrees with it."""
    for protocol in PROTOCOLS:
        assert TRUTHS[protocol.name] in line_of(verdicts, protocol.title)
    for experiment in experiments():
        if not experiment.judged_as_group:
            line = line_of(verdicts, experiment.title)
            assert f" {experiment.truth_words} " in line
            assert f" {experiment.verdict} " in line
            # The project began after these experiments ended: that they were planned is the source's word.
            assert line.endswith("declared")
    for group in ("group study_techniques", "group note_taking"):
        assert "benefit" in line_of(verdicts, group)
        assert line_of(verdicts, group).endswith("declared")
    assert verdicts.count(" yes ") == 14
    assert "14 of 14 verdicts agree with the seeded truth" in " ".join(verdicts.split())


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_the_demo_from_nothing_to_a_published_warehouse_and_again(americano: Command, server_folder: Path) -> None:
    data_dir = server_folder / "demo run"
    server = DemoServer(data_dir)
    try:
        first = americano("demo", "run", timeout=600, americano_data_dir=data_dir)
        assert first.returncode == 0, first.stderr
        assert "seeded now" in first.stdout
        assert "published: snapshot" in first.stdout
        assert "from nothing: nothing was published before" in first.stdout
        assert "15 experiment_protocols" in first.stdout
        for pattern in ("Events by phase", "Events per day", "Events per week", "Events per protocol"):
            assert f"{pattern} (" in first.stdout
        assert "the same rows" in first.stdout
        verdicts = first.stdout.partition("Verdicts (")[2]
        check_verdicts(verdicts)
        assert "skipped" not in first.stdout
        assert "Warning" not in first.stderr
        assert "americano dev" in first.stdout
        assert "is stopped; `americano demo up` starts it" in first.stdout
        assert not server.is_running()
        link = data_dir / "duckdb" / "americano.duckdb"
        assert str(link) in first.stdout
        published = link.resolve()

        second = americano("demo", "run", "--keep", timeout=600, americano_data_dir=data_dir)
        assert second.returncode == 0, second.stderr
        assert "seeded before, unchanged" in second.stdout
        assert "the source has not changed since snapshot" in second.stdout
        # The first run synced again after its analyses, so that `research.verdicts` has them; nothing moved since.
        assert line_of(second.stdout, "analytics.analysis_runs").endswith(" unchanged")
        assert line_of(second.stdout, "analytics.behavioral_events").endswith(" unchanged")
        assert "(0 new analyses" in second.stdout
        again = second.stdout.partition("Verdicts (")[2]
        assert line_of(again, PROTOCOLS[0].title) == line_of(verdicts, PROTOCOLS[0].title)
        assert link.resolve() == published
        assert server.is_running()
        assert "runs on; `americano demo down` stops it" in second.stdout

        assert americano("demo", "down", americano_data_dir=data_dir).stdout == "stopped\n"
        assert not server.is_running()

        at_the_demo = {name.lower(): value for name, value in server.environment().items()}
        doctor = americano("doctor", americano_data_dir=data_dir, **at_the_demo)
        assert doctor.returncode == 0, doctor.stdout
        assert "the demo's Postgres was started" in doctor.stderr
        assert server.is_running()
    finally:
        server.down()


def test_down_without_a_server_says_so(cli: Cli) -> None:
    done = cli("demo", "down")

    assert (done.code, done.out) == (0, "was not running\n")


def test_env_prints_the_settings_and_nothing_else(cli: Cli, tmp_path: Path) -> None:
    done = cli("demo", "env")

    assert done.code == 0
    assert dict(line.split("=", 1) for line in done.out.splitlines()) == DemoServer(tmp_path / "data").environment()


def test_env_write_adds_them_once_and_overwrites_nobody(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_commands, "PROJECT_ROOT", tmp_path)
    dotenv = tmp_path / ".env"
    dotenv.write_text("LOG_LEVEL=INFO")

    assert cli("demo", "env", "--write").code == 0
    written = dotenv.read_text()
    assert written.startswith("LOG_LEVEL=INFO\nPG_HOST=")
    assert cli("demo", "env", "--write").code == 0
    assert dotenv.read_text() == written

    dotenv.write_text("DATABASE_URL=postgresql://me@production/app\n")
    refused = cli("demo", "env", "--write")
    assert refused.code == 2
    assert "names a Postgres already" in refused.err
    assert dotenv.read_text() == "DATABASE_URL=postgresql://me@production/app\n"


def test_only_the_first_run_writes_the_dotenv(
    settings_for: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(demo_commands, "PROJECT_ROOT", tmp_path)
    settings, dotenv = settings_for(), tmp_path / ".env"

    demo_commands.write_first_env(tmp_path / "elsewhere")
    assert not dotenv.exists()

    demo_commands.write_first_env(settings.paths.root)
    written = dict(line.split("=", 1) for line in dotenv.read_text().splitlines())
    assert written == DemoServer(tmp_path / "data").environment()
    assert dotenv.stat().st_mode & 0o077 == 0
    assert capsys.readouterr().out == f"{dotenv} points at the demo's Postgres\n"

    dotenv.write_text("LOG_LEVEL=INFO\n")
    demo_commands.write_first_env(settings.paths.root)
    assert dotenv.read_text() == "LOG_LEVEL=INFO\n"


def test_the_demo_requests_nothing_that_needs_an_extra() -> None:
    kinds = analysis_runs().columns.index("analysisType")

    assert "BAYESIAN_ITS" not in {row[kinds] for row in analysis_runs().rows}


def test_settings_at_a_demo_that_is_down_say_how_to_start_it(cli: Cli, tmp_path: Path) -> None:
    environment = {name.lower(): value for name, value in DemoServer(tmp_path / "data").environment().items()}

    done = cli("doctor", **environment)

    assert done.code == 1
    assert "`americano demo up` starts it" in done.out


def test_the_demos_settings_win_over_those_of_a_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        f"DATABASE_URL=postgresql://me@production/app\nAMERICANO_DATA_DIR={tmp_path / 'data'}\n"
        "PG_EVENTS_TABLE=elsewhere\nDUCKDB_USE_POSTGRES_SCANNER=true\n"
        'AMERICANO_COLUMNS={"behavioral_events.time": "occurredAt"}\nLOG_LEVEL=ERROR\n'
    )
    monkeypatch.setitem(Settings.model_config, "env_file", dotenv)
    for name in VARIABLES:
        monkeypatch.delenv(name)
    before = load_settings().postgres
    assert before is not None
    assert before.host == "production"

    try:
        settings = demo_commands.demo_settings()
    finally:
        for name in VARIABLES:  # it sets variables for what it starts
            os.environ.pop(name, None)

    assert settings.postgres is not None
    assert settings.postgres.host == DemoServer(tmp_path / "data").environment()["PG_HOST"]
    assert settings.mode is Mode.POSTGRES
    assert (settings.pg_events_table, settings.americano_columns) == (None, {})
    assert settings.log_level == "ERROR"


def test_a_folder_with_files_beside_a_demo_counts_as_configured(
    settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "data" / "postgres").mkdir(parents=True)
    assert demo_commands.is_unconfigured(settings_for())

    exports = tmp_path / "data" / "exports"
    exports.mkdir()
    (exports / "behavioral_events.parquet").touch()
    assert not demo_commands.is_unconfigured(settings_for())
