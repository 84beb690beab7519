"""`americano runs`: one line a run, filters, and ids that other commands take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.settings import Settings
from americano_pipelines_tests.cli.test_experiments import keep
from americano_pipelines_tests.conftest import Database, Done

Cli = Callable[..., Done]


@pytest.fixture
def recorded(
    prisma: Database, publish: Callable[..., None], settings_for: Callable[..., Settings], empty_store: Path
) -> dict[str, Any]:
    """Settings of a published file and of three records whose MLflow runs are gone."""
    prisma.execute("UPDATE experiment_protocols SET \"protocolName\" = 'A name that is long for one line, ' || id")
    values = prisma.variables()
    publish(**values)
    settings = settings_for(**values)
    (settings.paths.root / "mlflow").mkdir(parents=True)
    (settings.paths.root / "mlflow" / "mlflow.db").write_bytes(empty_store.read_bytes())
    keep(settings, "benefit", planned=True, ended="2025-05-02", observed=7.834, p=0.0123)
    keep(settings, "differs, lower under treatment", planned=False, ended="2025-05-03", observed=-1.0, p=0.5)
    keep(settings, "harm", planned=True, ended="2025-05-04", protocol="protocol_1", observed=-3.0, p=0.04)
    return values


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_a_run_is_one_line_with_its_p_and_whole_ids(
    recorded: dict[str, Any], cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    runs = cli("runs", "--json", **recorded).json

    lines = cli("runs", **recorded).out.splitlines()

    for run in runs:
        (line,) = [line for line in lines if run["record"][:8] in line]
        assert len(line) <= columns
        assert run["started"][5:16].replace("T", " ") in line
        assert (" .012 " in line) or (" .500 " in line) or (" .040 " in line)
    assert ("+7.83" in "".join(lines)) is (columns > 80)


def test_a_name_that_is_one_long_word_is_cut_by_its_characters(
    prisma: Database, publish: Callable[..., None], recorded: dict[str, Any], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    prisma.execute("UPDATE experiment_protocols SET \"protocolName\" = 'Selbstbeobachtungstagebuch' || id")
    publish(**recorded)
    monkeypatch.setenv("COLUMNS", "80")

    lines = cli("runs", **recorded).out.splitlines()

    (line,) = [line for line in lines if " .012 " in line]
    assert "Selbstbeob" in line
    assert len(line) <= 80


def test_a_comparison_names_protocols_and_breaks_no_word(recorded: dict[str, Any], cli: Cli) -> None:
    first, second = (run for run in cli("runs", "--json", "--planned", **recorded).json)

    shown = cli("compare", first["record"], second["record"], **recorded)

    assert shown.code == 0
    assert "test of A name that is long for one line, protocol_0, 2025-05-02 10:00" in " ".join(shown.out.split())
    assert max(map(len, shown.out.splitlines())) <= 80
    assert {first["record"][:8], second["record"][:8], "benefit", "harm"} <= set(shown.out.split())


def test_planned_runs_those_of_a_protocol_and_the_newest(recorded: dict[str, Any], cli: Cli) -> None:
    def verdicts(*arguments: str) -> list[str]:
        return [run["verdict"] for run in cli("runs", "--json", *arguments, **recorded).json]

    assert sorted(verdicts()) == ["benefit", "differs, lower under treatment", "harm"]
    assert sorted(verdicts("--planned")) == ["benefit", "harm"]
    assert verdicts("--planned", "--protocol", "line, protocol_1") == ["harm"]
    assert len(verdicts("--limit", "2")) == 2
    assert cli("runs", "--all", "--limit", "2", **recorded).code == 2
    assert "newest 2" in cli("runs", "--limit", "2", **recorded).out
    assert "newest" not in cli("runs", "--limit", "3", **recorded).out


def test_a_planned_run_is_marked_where_there_is_little_room(recorded: dict[str, Any], cli: Cli) -> None:
    lines = cli("runs", **recorded).out.splitlines()

    assert [line.split()[-2] for line in lines if " .012 " in line] == ["yes"]
    assert [line.split()[-2] for line in lines if " .500 " in line] == ["no"]


def test_every_id_of_an_analysis_that_a_command_prints_names_it(prisma: Database, cli: Cli) -> None:
    values = prisma.variables()
    assert cli("sync", **values).code == 0
    (launched,) = cli("analyse", "protocol_1", "--only", "change_points", "--json", **values).json
    shown = cli("runs", **values).out
    listed = cli("runs", "--json", **values).json[0]
    ids = [launched["sha256"], launched["mlflow_run_id"], listed["record"], listed["mlflow_run_id"]]

    assert launched["sha256"][:8] in shown.split()
    for name in ids:
        for length in (8, 12, None):
            assert (
                cli("compare", name[:length], launched["sha256"], "--json", **values).json["first"]
                == (launched["sha256"])
            )
