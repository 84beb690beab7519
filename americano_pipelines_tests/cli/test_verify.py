"""`americano verify`, `runs` and `compare`, on analyses that Dagster ran."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.cli.records import verdict_text
from americano_pipelines.provenance.run_listing import ListedRun
from americano_pipelines_tests.conftest import Database, Done, free_port

Cli = Callable[..., Done]
Publish = Callable[..., None]


def statuses(done: Done) -> dict[str, str]:
    return {finding["what"]: finding["status"] for finding in done.json["findings"]}


@pytest.mark.slow  # Dagster runs two analyses
def test_an_analysis_is_verified_listed_compared_and_tampering_found(
    prisma: Database, cli: Cli, publish: Publish, tmp_path: Path
) -> None:
    prisma.execute("UPDATE experiment_protocols SET \"endDate\" = '2025-03-07'")
    values: dict[str, Any] = prisma.variables()
    publish(**values)
    kinds = ("--only", "abab_randomization", "--only", "change_points")
    assert cli("analyse", "protocol_1", *kinds, "--json", **values).code == 0

    listed = cli("runs", "--json", **values).json
    assert {run["analysis"] for run in listed} == {"abab_randomization", "change_points"}
    abab, changes = sorted(listed, key=lambda each: each["analysis"])
    assert (abab["status"], abab["protocol"], abab["standing"]) == ("FINISHED", "Protocol 1", "exploratory")
    table = cli("runs", columns="80", **values).out
    lines = [line for line in table.splitlines() if "Protocol 1" in line]
    assert [line.split()[-1] for line in lines] == [run["record"][:8] for run in listed], "a line for each run"
    assert all(len(line) <= 80 for line in lines)

    clean = cli("verify", abab["mlflow_run_id"], "--rerun", "--json", **values)
    assert (clean.code, clean.json["verified"]) == (0, True), clean.json["sentence"]
    assert statuses(clean)["Dagster's metadata"] == "MATCH"
    assert statuses(clean)["abab_randomization on its extract"] == "REPEATED"
    shown = cli("verify", abab["record"][:8], **values)
    assert (shown.code, shown.out.strip().splitlines()[-1]) == (
        0, "verified: nothing that was recorded has changed"
    )  # fmt: skip

    compared = cli("compare", abab["record"], changes["record"][:10], "--json", **values).json
    assert {"part": "inputs", "name": "extract", "same": True}.items() <= {
        key: line[key] for line in compared["lines"] if line["name"] == "extract" for key in ("part", "name", "same")
    }.items()
    assert "the same: " in cli("compare", abab["record"], changes["record"], **values).out

    prisma.execute("DELETE FROM behavioral_events WHERE \"userId\" = 'learner_1' AND \"timestamp\" < '2025-01-20'")
    publish(**values)
    changed = cli("verify", abab["record"], "--json", **values)
    assert (changed.code, statuses(changed)["data"], changed.json["current"]) == (0, "CHANGED", False)
    assert cli("verify", abab["record"], "--strict", **values).code == 1

    with closing(sqlite3.connect(tmp_path / "data" / "mlflow" / "mlflow.db")) as database, database:
        database.execute("UPDATE metrics SET value = 0.001 WHERE key = 'p'")
    tampered = cli("verify", abab["record"], **values)
    assert tampered.code == 1
    assert tampered.out.strip().splitlines()[-1] == "DRIFT in metric p"
    assert cli("verify", changes["record"], **values).code == 0, "the other analysis has no p"


def test_what_is_not_there_is_told_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    done = cli("verify", "deadbeef")
    assert done.code == 1
    assert "`americano runs` lists all there are" in done.err
    assert not (tmp_path / "data" / "dagster_home").exists(), "looking makes no home"
    assert "no analysis was run yet" in cli("runs").out
    assert cli("runs", "--json").json == []
    assert cli("compare", "deadbeef", "deadbeef").code == 1


def test_an_mlflow_that_does_not_answer_is_an_error_and_no_drift(cli: Cli) -> None:
    for arguments in (("verify", "deadbeef"), ("runs",)):
        done = cli(*arguments, mlflow_tracking_uri=f"http://127.0.0.1:{free_port()}")
        assert done.code == 1
        assert "MLFLOW_TRACKING_URI" in done.err
        assert "DRIFT" not in done.out + done.err


def test_a_run_that_is_gone_or_failed_does_not_look_like_a_good_one() -> None:
    run = ListedRun(
        started="2026-01-01T00:00:00+00:00", analysis="abab_randomization", protocol_id="p", protocol="p",
        status="FINISHED", verdict="benefit", standing="planned", sentence="", mlflow_run_id="m", mlflow_url=None,
        analysis_run_id=None, dagster_run_id=None, record=None,
    )  # fmt: skip
    shown = {status: verdict_text(replace(run, status=status)) for status in ("FINISHED", "FAILED", "gone", "RUNNING")}

    assert shown == {
        "FINISHED": "benefit", "FAILED": "benefit (failed)", "gone": "benefit (gone)", "RUNNING": "benefit (running)"
    }  # fmt: skip
    assert verdict_text(replace(run, status="FAILED", verdict=None)) == "(failed)"
    assert verdict_text(replace(run, verdict=None)) == "described"
