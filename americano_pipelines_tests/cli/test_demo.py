"""`americano demo ...`: the whole way through, and the pieces."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.cli import demo as demo_commands
from americano_pipelines.demo.server import DemoServer
from americano_pipelines_tests.cli.conftest import Done

Cli = Callable[..., Done]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.timeout(240)
def test_the_demo_from_nothing_to_a_published_warehouse_and_again(americano: Command, server_folder: Path) -> None:
    data_dir = server_folder / "demo run"
    server = DemoServer(data_dir)
    try:
        first = americano("demo", "run", timeout=180, americano_data_dir=data_dir)
        assert first.returncode == 0, first.stderr
        assert "seeded now" in first.stdout
        assert "published: snapshot" in first.stdout
        assert "8 experiment_protocols" in first.stdout
        for pattern in ("Events by phase", "Events per day", "Events per week", "Events per protocol"):
            assert f"{pattern} (" in first.stdout
        assert "the same rows" in first.stdout
        assert "make dev" in first.stdout
        assert "is stopped; `americano demo up` starts it" in first.stdout
        assert not server.is_running()
        link = data_dir / "duckdb" / "americano.duckdb"
        assert str(link) in first.stdout
        published = link.resolve()

        second = americano("demo", "run", "--keep", americano_data_dir=data_dir)
        assert second.returncode == 0, second.stderr
        assert "seeded before, unchanged" in second.stdout
        assert "unchanged, no new file" in second.stdout
        assert link.resolve() == published
        assert server.is_running()
        assert "runs on; `americano demo down` stops it" in second.stdout

        assert americano("demo", "down", americano_data_dir=data_dir).stdout == "stopped\n"
        assert not server.is_running()
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


def test_settings_at_a_demo_that_is_down_say_how_to_start_it(cli: Cli, tmp_path: Path) -> None:
    environment = {name.lower(): value for name, value in DemoServer(tmp_path / "data").environment().items()}

    done = cli("doctor", **environment)

    assert done.code == 1
    assert "`americano demo up` starts it" in done.out
