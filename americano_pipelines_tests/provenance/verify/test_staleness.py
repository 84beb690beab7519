"""Whether code, environment and data are still those of then, and whether the analysis comes out again."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance import capture
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.provenance.verify.rerun import rerun
from americano_pipelines.provenance.verify.staleness import check_environment, present_data
from americano_pipelines.provenance.verify.target import Target
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.provenance.conftest import Lab, faults, finding, run_id
from americano_pipelines_tests.sync.support import sync


def by_name(findings: Any) -> dict[str, Finding]:
    return {item.what: item for item in findings}


def again(lab: Lab, record: Record) -> list[Finding]:
    """Do it again, whatever the record now says of it."""
    return list(rerun(lab.settings.paths, Target(record, record.sha256, "a test", None, ())))


def test_code_and_environment_that_are_others_are_named(record: Record) -> None:
    same = by_name(check_environment(record))
    # Not the commit and what is not committed: whoever works in this folder meanwhile may change them.
    of_the_machine = ("python", "platform", "requirements.lock", "package numpy", "package duckdb", "package mlflow")
    assert {same[name].status for name in of_the_machine} == {Status.SAME}
    assert same["dvc.lock"].status is Status.NOT_RECORDED

    modules = {**record.code.modules, "statistics/daily_values.py": "0" * 64, "research/gone.py": "1" * 64}
    packages = {**record.environment["packages"], "numpy": "1.0"}  # type: ignore[dict-item]
    other = record.model_copy(
        update={
            "code": record.code.model_copy(update={"commit": capture.UNKNOWN, "modules": modules}),
            "environment": {**record.environment, "packages": packages, "lock_sha256": "0" * 64},
        }
    )
    changed = {name: item for name, item in by_name(check_environment(other)).items() if item.status is Status.CHANGED}

    assert set(changed) == {"commit", "modules of the analyses", "package numpy", "requirements.lock"}
    assert changed["modules of the analyses"].detail == "research/gone.py, statistics/daily_values.py"
    assert changed["package numpy"].detail.startswith("was '1.0', is ")


def test_a_commit_that_vanished_is_told_from_one_that_newer_ones_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        command = ["git", "-C", str(tmp_path), *names, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(capture, "PROJECT_ROOT", tmp_path)
    git("init", "--quiet", "--initial-branch=main")
    git("commit", "--quiet", "--allow-empty", "-m", "first")
    first = git("rev-parse", "HEAD")
    git("commit", "--quiet", "--allow-empty", "-m", "second")
    second = git("rev-parse", "HEAD")
    git("commit", "--quiet", "--allow-empty", "--amend", "-m", "second, amended")

    assert capture.describe_commit(first) == (True, "1 commits were made since")
    kept, where = capture.describe_commit(second)
    assert (kept, "amended" in where) == (False, True), "git still has the object, but nothing leads to it"
    assert capture.describe_commit("c0ffee" + "0" * 34)[0] is False
    git("branch", "aside", second)
    assert capture.describe_commit(second) == (True, "it is on aside")
    assert capture.describe_commit("--all")[0] is False


def test_a_recorded_commit_that_vanished_is_unknown_code(record: Record) -> None:
    other = record.model_copy(update={"code": record.code.model_copy(update={"commit": "c0ffee" + "0" * 34})})

    commit = by_name(check_environment(other))["commit"]

    assert (commit.status, "does not have it" in commit.detail) == (Status.UNKNOWN, True)


def test_data_that_came_later_are_told_and_are_no_fault(lab: Lab) -> None:
    recorded = lab.analyse()
    assert finding(lab.verify(run_id(recorded)), "data").status is Status.SAME
    inside = "\"userId\" = 'learner_1' AND \"timestamp\" BETWEEN '2025-01-12' AND '2025-01-14'"

    lab.database.execute(f"DELETE FROM behavioral_events WHERE {inside}")
    lab.database.execute('UPDATE phase_assignments SET "randomizationSeed" = 8 WHERE "protocolId" = \'protocol_1\'')
    sync(lab.settings)
    verification = lab.verify(run_id(recorded), again=True)

    data = finding(verification, "data")
    assert data.status is Status.CHANGED
    assert "its phases changed" in data.detail
    assert "events fewer than the" in data.detail
    assert faults(verification) == {}
    assert data in verification.stale
    assert finding(verification, "abab_randomization on its extract").status is Status.REPEATED, "on the data of then"

    identity = recorded.record.identity.model_copy(update={"protocol_id": "protocol_9"})
    (gone,) = present_data(lab.settings, recorded.record.model_copy(update={"identity": identity}))
    assert (gone.status, "protocol 'protocol_9' is not in snapshot" in gone.detail) == (Status.CHANGED, True)


def test_before_a_file_is_published_nothing_can_be_told(lab: Lab, record: Record) -> None:
    link = snapshots.current(lab.settings.paths)
    assert link is not None
    lab.settings.paths.published.rename(lab.settings.paths.published.with_suffix(".aside"))
    try:
        (present,) = present_data(lab.settings, record)
    finally:
        lab.settings.paths.published.with_suffix(".aside").rename(lab.settings.paths.published)
    assert present.status is Status.UNKNOWN
    assert "nothing is published" in present.detail


def test_an_analysis_of_no_protocol_is_compared_by_its_data_versions(lab: Lab, record: Record) -> None:
    document = snapshots.read_record(lab.settings.paths)
    assert document is not None
    version = document.states["analytics.behavioral_events"]
    events = record.inputs[2].model_copy(update={"data_version": version})
    phases = record.inputs[1].model_copy(update={"data_version": "0" * 64})
    of_none = record.model_copy(
        update={
            "identity": record.identity.model_copy(update={"protocol_id": None, "analysis": "training_demo"}),
            "inputs": [events, phases],
        }
    )

    findings = by_name(present_data(lab.settings, of_none))

    assert findings["data of analytics/behavioral_events"].status is Status.SAME
    assert findings["data of research/phases"].status is Status.CHANGED
    (not_done,) = again(lab, of_none)
    assert not_done.status is Status.NOT_REPEATED


def test_results_that_do_not_come_out_again_are_named(lab: Lab, record: Record) -> None:
    test: Any = record.results["test"]
    other = record.model_copy(update={"results": {**record.results, "test": {**test, "p": test["p"] / 2}}})

    (difference,) = again(lab, other)

    assert (difference.what, difference.status) == ("test.p", Status.DIFFERS)
    (unknown,) = again(lab, record.model_copy(update={"config": {**record.config, "no such parameter": 1}}))
    assert unknown.status is Status.NOT_REPEATED
    assert "no such parameter" in unknown.detail


def test_what_has_no_record_is_told(lab: Lab, record: Record) -> None:
    parent = record.logged.tags["dagster_run_id"]
    outer = lab.store.client.search_runs([lab.store.experiment_id], f"tags.dagster_run_id = '{parent}'")
    unrecorded = next(run.info.run_id for run in outer if "mlflow.parentRunId" not in run.data.tags)

    with pytest.raises(AnalysisError, match=r"has no record: it is RUNNING.*`americano runs`"):
        lab.verify(unrecorded)
    for name in ("0" * 32, "deadbeef", "no such run"):
        with pytest.raises(AnalysisError, match="`americano runs` lists"):
            lab.verify(name)
