"""A record outlives the next feature: it is repeated by its own modules, and beside them by the current code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.provenance.module_bundle import bundle_of, kept_modules, present_modules
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.recorder import Recorded
from americano_pipelines.provenance.verify.findings import Status
from americano_pipelines.provenance.verify.rerun import rerun
from americano_pipelines.provenance.verify.target import Target
from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines_tests.provenance.conftest import Lab, altered, faults, finding, run_id

REPEATED = "change_points on its extract"
TODAY = "today's code on the same extract"
VERIFY = """
import json, sys
from americano_pipelines.provenance.verify.verification import verify
from americano_pipelines.settings import load_settings
settings = load_settings(americano_data_dir=sys.argv[1])
print(json.dumps(verify(settings, sys.argv[2], lambda record: [record.sha256], again=True).as_dict()))
"""


def tomorrow(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """A copy of the project in which some texts of modules are others."""
    shutil.copytree(PROJECT_ROOT / "americano_pipelines", folder / "americano_pipelines")
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copyfile(PROJECT_ROOT / name, folder / name)
    for path, old, new in edits:
        module = folder / "americano_pipelines" / path
        text = module.read_text()
        assert old in text
        module.write_text(text.replace(old, new))
    return folder


def verified_by(project: Path, lab: Lab, recorded: Recorded) -> dict[str, dict[str, Any]]:
    """Findings of another copy of the project, by what they are of."""
    done = subprocess.run(
        [sys.executable, "-c", VERIFY, str(lab.settings.paths.root), recorded.sha256],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {item["what"]: item for item in json.loads(done.stdout)["findings"]}


def test_a_record_older_than_a_field_is_repeated_by_its_own_modules(lab: Lab, tmp_path: Path) -> None:
    recorded = lab.analyse("change_points")
    project = tomorrow(
        tmp_path / "project",
        ("analysis/interrupted_time_series.py", '"change points": jsonable', '"added": 1, "change points": jsonable'),
        ("analysis/parameters.py", 'CHANGE_POINTS_VERSION = "2"', 'CHANGE_POINTS_VERSION = "99"'),
    )

    findings = verified_by(project, lab, recorded)

    assert findings[REPEATED]["status"] == "REPEATED"
    assert findings[TODAY]["status"] == "CHANGED"
    assert "version 99 of the analysis" in findings[TODAY]["detail"]
    assert "added was not there" in findings[TODAY]["detail"]
    assert (findings["analysis version"]["status"], "'99'" in findings["analysis version"]["detail"]) == (
        "CHANGED",
        True,
    )
    assert findings["modules of the analyses"]["status"] == "CHANGED"
    assert findings["modules that it ran with"]["status"] == "MATCH"


@pytest.mark.slow
def test_changed_numbers_differ_by_the_records_own_modules_too(lab: Lab, tmp_path: Path) -> None:
    project = tomorrow(
        tmp_path / "project", ("errors.py", "Any other exception is a defect", "Any other exception is a bug")
    )
    recorded = lab.analyse("change_points")
    forged = recorded.record.model_copy(
        update={"results": {**recorded.record.results, "change points": {"penalty": 1.0}}}
    )
    content = recorded.path.read_bytes()
    from americano_pipelines.provenance.archive import put

    path, sha256 = put(lab.settings.paths.records, forged.canonical())
    recorded.path.unlink()
    try:
        findings = verified_by(project, lab, Recorded(forged, sha256, path))
    finally:
        path.unlink()
        recorded.path.write_bytes(content)
    differing = {what for what, item in findings.items() if item["status"] == "DIFFERS"}
    assert any(what.startswith("change points") for what in differing), findings


def again(lab: Lab, record: Record) -> dict[str, Status]:
    target = Target(record, record.sha256, "a test", None, ())
    return {item.what: item.status for item in rerun(lab.settings.paths, target)}


def test_a_record_without_kept_modules_is_repeated_by_todays(lab: Lab) -> None:
    record = lab.analyse("change_points").record
    fewer = {name: value for name, value in record.results.items() if name != "counts"}
    older = record.model_copy(update={"module_bundle_sha256": None, "results": fewer})
    assert again(lab, older) == {"counts": Status.DIFFERS}, "the code is the same, so the field was removed"

    code = record.code.model_copy(update={"modules": {**record.code.modules, "statistics/old.py": "0" * 64}})
    assert again(lab, older.model_copy(update={"code": code})) == {REPEATED: Status.REPEATED}
    other = {**fewer, "change points": {"penalty": 1.0}}
    changed = again(lab, older.model_copy(update={"code": code, "results": other}))
    assert Status.DIFFERS in changed.values()


def test_modules_that_were_changed_or_are_gone(lab: Lab) -> None:
    recorded = lab.analyse("change_points")
    sha256 = recorded.record.module_bundle_sha256
    assert sha256 is not None
    path = lab.settings.paths.module_bundles / f"{sha256}.json"
    what = "modules that it ran with"
    assert finding(lab.verify(run_id(recorded)), what).status is Status.MATCH
    with altered(path, b"{}"):
        assert faults(lab.verify(run_id(recorded))) == {what: Status.DRIFT}
    with altered(path, None):
        assert faults(lab.verify(run_id(recorded))) == {what: Status.MISSING}


def test_modules_are_kept_once_and_hold_what_is_recorded_of_each(lab: Lab) -> None:
    hashes = {lab.analyse("change_points").record.module_bundle_sha256 for _ in range(2)}
    (sha256,) = hashes
    assert sha256 is not None
    kept = kept_modules(lab.settings.paths, sha256)
    assert kept == present_modules()
    assert bundle_of(kept) == (lab.settings.paths.module_bundles / f"{sha256}.json").read_bytes()
    assert "analysis/repeat.py" in kept
