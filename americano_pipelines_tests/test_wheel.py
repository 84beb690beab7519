"""The built wheel, installed into an environment of its own and used in an empty folder, without the repository."""

import json
import os
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines_tests.conftest import VARIABLES, Database, free_port
from americano_pipelines_tests.defs.conftest import events_query, write_parquet
from americano_pipelines_tests.waiting import wait_until

pytestmark = pytest.mark.slow
EVENTS = 1234


@dataclass(frozen=True)
class Installed:
    """The environment, and the folder to work in."""

    programs: Path
    folder: Path

    def environment(self, **values: Any) -> dict[str, str]:
        """Settings from the environment only; `.env` and the tests' own are out of reach."""
        others = {name: text for name, text in os.environ.items() if name not in VARIABLES and name != "PYTHONPATH"}
        return others | {name.upper(): str(value) for name, value in values.items()}

    def run(self, program: str, *arguments: str, code: int = 0, **values: Any) -> str:
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.folder, env=self.environment(**values), capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it; the packages it needs come from this environment, by a path."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=PROJECT_ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=60)
    programs = folder / "env" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True, capture_output=True, timeout=120)
    (site_packages,) = (folder / "env").glob("lib/python*/site-packages")
    # A folder that is named in such a file has its own such files left alone: the editable project is not among them.
    (site_packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    # As pip would write it beside the interpreter.
    daemon = Path(sys.executable).with_name("dagster-daemon").read_text().partition("\n")[2]
    (programs / "dagster-daemon").write_text(f"#!{programs / 'python'}\n{daemon}")
    (programs / "dagster-daemon").chmod(0o755)
    return programs


@pytest.fixture
def installed(programs: Path, tmp_path: Path) -> Installed:
    (tmp_path / "empty").mkdir()
    return Installed(programs, tmp_path / "empty")


def count(installed: Installed, table: str = "analytics.behavioral_events") -> int:
    with duckdb.connect(installed.folder / "data" / "duckdb" / "americano.duckdb", read_only=True) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_the_package_is_the_wheels(installed: Installed) -> None:
    place = installed.run("python", "-c", "import americano_pipelines; print(americano_pipelines.__file__)")

    assert Path(place.strip()).is_relative_to(installed.programs.parent)
    assert installed.run("americano", "--version").strip().endswith(version("americano-pipelines"))
    assert list(installed.folder.iterdir()) == []


def test_parquet_files_are_synced(installed: Installed) -> None:
    write_parquet(installed.folder / "events.parquet", events_query(EVENTS))

    done = json.loads(installed.run("americano", "sync", "--json", behavioral_events_parquet="events.parquet"))

    assert done["success"] is True
    assert count(installed) == EVENTS
    template = PROJECT_ROOT / "dagster_home" / "dagster.yaml"
    assert (installed.folder / "data" / "dagster_home" / "dagster.yaml").read_bytes() == template.read_bytes()


def test_postgres_is_synced_and_an_analysis_recorded(installed: Installed, prisma: Database) -> None:
    # The repository of another project: its commit is not that of the analysis.
    subprocess.run(["git", "init", "--quiet", installed.folder], check=True)
    git = ["git", "-C", installed.folder, "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "another project"], check=True)
    (installed.folder / "requirements.lock").write_text("another==1\n")

    installed.run("americano", "sync", **prisma.variables())
    assert count(installed) == prisma.execute("SELECT count(*) FROM behavioral_events")[0][0]

    analyses = json.loads(
        installed.run("americano", "analyse", "protocol_0", "--only", "change_points", "--json", **prisma.variables())
    )
    (analysis,) = analyses if isinstance(analyses, list) else analyses["analyses"]
    record = json.loads((installed.folder / "data" / "provenance" / f"{analysis['sha256']}.json").read_bytes())
    assert (record["code"]["commit"], record["code"]["dirty"]) == ("unknown", None)
    assert record["not_captured"]["commit"] == "the package was installed without its repository"
    assert record["environment"]["lock_sha256"] is None
    own_modules = {path.name for path in (PROJECT_ROOT / "americano_pipelines" / "statistics").glob("*.py")}
    assert {Path(name).name for name in record["code"]["modules"]} >= own_modules


@dataclass(frozen=True)
class Running:
    process: psutil.Process
    port: int

    def ask(self, query: str) -> Any:
        """Ask the web server's GraphQL."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own server
            return json.load(answer)["data"]

    def locations(self) -> list[tuple[str, str]]:
        query = (
            "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"
        )
        with suppress(OSError):
            entries = self.ask(query)["workspaceOrError"]["locationEntries"]
            return [(entry["name"], (entry["locationOrLoadError"] or {}).get("__typename")) for entry in entries]
        return []


@pytest.fixture
def running(installed: Installed) -> Iterator[Running]:
    """`americano dev`, which must find its definitions, its home and the settings' relative paths."""
    write_parquet(installed.folder / "events.parquet", events_query(EVENTS))
    port = free_port()
    with (installed.folder.parent / "log").open("w") as log:
        process = subprocess.Popen(
            [installed.programs / "americano", "dev", "--port", str(port)],
            cwd=installed.folder, env=installed.environment(behavioral_events_parquet="events.parquet"),
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    server = psutil.Process(process.pid)
    try:
        yield Running(server, port)
    finally:
        family = [server, *server.children(recursive=True)]
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
        for left in family:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait(timeout=10)


def test_the_ui_loads_the_definitions_and_runs_the_job(installed: Installed, running: Running) -> None:
    expected = [("americano_pipelines", "RepositoryLocation")]
    wait_until(lambda: running.locations() == expected, f"the code location: {running.locations()}", seconds=180)

    started = running.ask(
        'mutation { launchPipelineExecution(executionParams: {mode: "default", selector: {'
        'pipelineName: "nightly_sync", repositoryName: "__repository__", '
        'repositoryLocationName: "americano_pipelines"}}) '
        "{ __typename ... on LaunchRunSuccess { run { runId } } } }"
    )["launchPipelineExecution"]
    assert started["__typename"] == "LaunchRunSuccess", started
    run_id = started["run"]["runId"]

    def status() -> str:
        return str(
            running.ask(f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status }} }} }}')["runOrError"]["status"]
        )

    wait_until(lambda: status() in {"SUCCESS", "FAILURE"}, "the end of the run", seconds=180)
    assert status() == "SUCCESS"
    assert count(installed) == EVENTS
