"""`americano analyse --requests`: what is not carried out is told too."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines_tests.conftest import Database, Done
from americano_pipelines_tests.prisma_database import link_url, row


def test_a_request_that_is_refused_or_has_to_wait_is_told(
    cli: Callable[..., Done], prisma: Database, caplog: pytest.LogCaptureFixture
) -> None:
    prisma.execute("UPDATE analysis_runs SET \"analysisType\" = 'GRANGER_CAUSALITY' WHERE id = 'run_0'")
    values = {"analysis_runs_database_url": link_url(prisma)}

    done = cli("analyse", "--requests", "--json", **values)

    assert done.code == 1
    (refused,) = json.loads(done.out)
    assert {name: refused[name] for name in ("success", "protocol_id", "analysis", "analysis_run_id")} == {
        "success": False, "protocol_id": "protocol_0", "analysis": "GRANGER_CAUSALITY", "analysis_run_id": "run_0"
    }  # fmt: skip
    assert "this project has no analysis GRANGER_CAUSALITY" in refused["sentence"]
    assert "run_1 waits until protocol protocol_1 is published" in caplog.text
    assert row(prisma)[0] == "FAILED"

    again = cli("analyse", "--requests", **values)
    assert (again.code, again.out) == (0, "nothing to analyse\n")


@pytest.mark.slow
def test_typed_texts_are_only_read_and_a_protocol_without_id_is_skipped(
    cli: Callable[..., Done], prisma: Database, tmp_path: Path
) -> None:
    prisma.execute("UPDATE experiment_protocols SET \"protocolName\" = E'\\x1b[2J\\x1b]52;c;aGk=\\x07 [red]name'")
    prisma.execute("UPDATE phase_assignments SET \"phaseLabel\" = '=1+' || right(id, 1) WHERE id LIKE '%0'")
    prisma.execute("UPDATE phase_assignments SET \"phaseLabel\" = '![x](http://127.0.0.1:9/)' WHERE id LIKE '%1'")
    prisma.execute("UPDATE experiment_protocols SET id = '' WHERE id = 'protocol_1'")
    values = prisma.variables()
    assert cli("sync", **values).code == 0

    done = cli("analyse", "--all", "--only", "change_points", **values)

    assert done.code == 1
    assert "\x1b" not in done.out + done.err
    assert "\\x1b[2J" in done.out
    assert "failed (empty id), change_points: the protocol's id is empty" in done.out
    assert "Dagster" in cli("analyse", "", **values).out
    cells = {row[1] for file in tmp_path.rglob("daily.csv") for row in csv.reader(file.open())}
    assert cells - {"phase", ""}
    assert not {cell for cell in cells if cell.startswith("=")}


@pytest.mark.slow
def test_parameters_of_the_shell_are_recorded_and_make_it_exploratory(
    cli: Callable[..., Done], prisma: Database, tmp_path: Path
) -> None:
    values = prisma.variables()
    assert cli("sync", **values).code == 0
    settings = (
        "--set",
        "alpha=0.01",
        "--set",
        "direction=increase",
        "--set",
        "ratio_scale=true",
        "--set",
        "min_size=5",
    )

    kinds = ("--only", "abab_randomization", "--only", "change_points")
    launched = cli("analyse", "Protocol 1", *kinds, *settings, "--json", **values)

    assert launched.code == 0, launched.out
    config = {}
    for run in launched.json:
        assert run["standing"] == "exploratory"
        record = tmp_path / "data" / "provenance" / f"{run['sha256']}.json"
        config |= json.loads(record.read_text())["config"]
    assert (config["alpha"], config["direction"], config["ratio_scale"], config["min_size"]) == (
        0.01, "increase", True, 5
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("p", "--set", "alhpa=1"), "--set: 'alhpa' is no parameter; there are:"),
        (("p", "--set", "seed=x"), "--set: seed of abab_randomization cannot be 'x'"),
        (("p", "--only", "change_points", "--set", "alpha=0.1"), "--set: 'alpha' is no parameter"),
        (("--requests", "--set", "alpha=0.1"), "leave --set out"),
        ((), "name protocols, or give --all or --requests"),
    ],
)
def test_a_wrong_parameter_ends_with_two_before_anything_runs(
    cli: Callable[..., Done], tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    done = cli("analyse", *arguments)

    assert done.code == 2
    assert problem in done.err
    assert not (tmp_path / "data" / "dagster_home").exists()


@pytest.mark.slow
def test_a_design_that_cannot_be_tested_is_no_failure(cli: Callable[..., Done], prisma: Database) -> None:
    prisma.execute("UPDATE experiment_protocols SET \"designType\" = 'MULTIPLE_BASELINE' WHERE id = 'protocol_1'")
    values = prisma.variables()
    assert cli("sync", **values).code == 0

    done = cli("analyse", "--all", "--only", "abab_randomization", "--json", **values)

    analyses = {analysis["protocol_id"]: analysis for analysis in json.loads(done.out)}
    assert done.code == 0
    assert all(analysis["success"] for analysis in analyses.values())
    refused = analyses["protocol_1"]
    assert refused["verdict"] == "no verdict"
    assert refused["sentence"].startswith("No verdict: a design of type MULTIPLE_BASELINE has no randomization test")
    prisma.execute("UPDATE experiment_protocols SET \"primaryOutcome\" = 'mood' WHERE id = 'protocol_0'")
    assert cli("sync", **values).code == 0
    assert cli("analyse", "--all", "--only", "abab_randomization", **values).code == 1, "a failure is one still"
