"""A crate is valid, stands alone, and shows whatever is changed in it."""

import json
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from americano_pipelines.analysis.registry import KINDS, PROTOCOL_KINDS
from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.errors import AnalysisError, ConfigError, TamperedError
from americano_pipelines.provenance.crate.contents import collect_contents
from americano_pipelines.provenance.crate.crate_check import check_crate
from americano_pipelines.provenance.crate.ro_crate import crate_options
from americano_pipelines_tests.provenance.conftest import Lab, run_id
from americano_pipelines_tests.provenance.crate.crates import (
    bare_python,
    findings,
    forged,
    settings_of,
    unpacked,
    verified,
    written,
)

EPOCHS = {"training_demo": {"epochs": 3, "seed": 5}}
LEARNER = b"learner_1"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare_python(tmp_path_factory.mktemp("bare"))


def words(document: dict[str, list[list[str]]], status: str) -> str:
    return "\n".join(text for result, text in document["findings"] if result == status)


@pytest.mark.parametrize("with_days", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(name, marks=[] if name == "abab_randomization" else pytest.mark.slow)
        for name, kind in KINDS.items()
        if kind.scope != "group"
    ],
)
def test_every_analysis_gives_a_valid_crate(lab: Lab, tmp_path: Path, kind: str, *, with_days: bool) -> None:
    recorded = lab.perform(KINDS[kind], **EPOCHS.get(kind, {})).recorded

    crate = written(lab, recorded, tmp_path, with_days=with_days)

    assert findings(crate, tmp_path / "cache") == []


@pytest.mark.slow
def test_the_validator_would_find_what_is_missing(lab: Lab, tmp_path: Path) -> None:
    folder = unpacked(written(lab, lab.analyse(), tmp_path), tmp_path / "crate")
    metadata = folder / "ro-crate-metadata.json"
    document = json.loads(metadata.read_bytes())
    for entity in document["@graph"]:
        if entity["@id"] == "./":
            del entity["license"]
        if entity["@type"] == "CreateAction":
            del entity["agent"]
    metadata.write_text(json.dumps(document))

    severities = {severity for severity, _ in findings(folder, tmp_path / "cache")}

    assert severities == {"REQUIRED", "RECOMMENDED"}


@pytest.mark.parametrize("kind", PROTOCOL_KINDS)
def test_a_crate_verifies_with_numpy_alone_where_the_project_is_not(
    lab: Lab, tmp_path: Path, python: Path, kind: str
) -> None:
    recorded = lab.analyse(kind)
    folder = unpacked(written(lab, recorded, tmp_path), tmp_path / "elsewhere" / "crate")
    for module in ("americano_pipelines", "scipy", "pydantic"):
        absent = subprocess.run(
            [python, "-c", f"import {module}"], cwd=tmp_path, env={}, check=False, capture_output=True
        )
        assert absent.returncode != 0, f"{module} must not be importable there"

    code, document = verified(python, folder, tmp_path)

    assert (code, document["record"], document["verified"]) == (0, recorded.sha256, True), document
    assert "by the modules: " in words(document, "ok")
    assert "files are those that SHA256SUMS lists" in words(document, "ok")
    assert document["contents"] == file_sha256(folder / "SHA256SUMS")
    assert (
        subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, check=False, capture_output=True).returncode == 0
    )
    if kind == "abab_randomization":
        assert "(test)" in words(document, "ok") or "phases, test" in words(document, "ok")
        assert "by numpy alone: p = " in words(document, "ok")
        assert "the verdict follows from the numbers: " in words(document, "ok")
        assert "the sentence gives the numbers of the test" in words(document, "ok")
        assert "by numpy alone: differences, NAP and PND of 3 pairs come out again" in words(document, "ok")
        assert "not computed again by the modules: appraisal" in words(document, "unknown")
    else:
        assert "which is not installed" in words(document, "unknown")
    unknown = words(document, "unknown")
    assert "whether the days and the plan are the source's" in unknown
    assert "cannot be done again as a whole here: No module named 'pydantic'" in unknown
    assert "the plan and the phases have the recorded hashes" in words(document, "ok")
    assert "when this was made" in unknown


def packed(folder: Path, target: Path) -> Path:
    return Path(shutil.make_archive(str(target), "zip", folder))


def change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def test_whatever_is_changed_in_a_crate_is_found(lab: Lab, tmp_path: Path, python: Path) -> None:
    recorded = lab.analyse()
    crate = written(lab, recorded, tmp_path)

    def edited(name: str) -> Path:
        return unpacked(crate, tmp_path / name)

    def faults_of(folder: Path) -> str:
        code, document = verified(python, folder, tmp_path)
        assert code == 1, document
        return words(document, "FAULT")

    folder = edited("report")
    change(folder / "report.html", b"<", b"<!-- --><")
    assert "report.html is not the recorded file" in faults_of(folder)

    folder = edited("days")
    days = json.loads((folder / "days.json").read_bytes())
    days["values"][0] += 10
    (folder / "days.json").write_text(json.dumps(days))
    assert "days.json is not the recorded file" in faults_of(folder)

    folder = edited("modules")
    change(folder / "modules/americano_pipelines/statistics/randomization_test.py", b"as_extreme", b"as_extreme ")
    assert "the modules are not those" in faults_of(folder)

    folder = edited("record reformatted")
    record = json.loads((folder / "record.json").read_bytes())
    (folder / "record.json").write_text(json.dumps(record, indent=1))
    assert "not in the form whose hash is recorded" in faults_of(folder)


def test_a_record_forged_with_all_its_hashes_does_not_repeat(lab: Lab, tmp_path: Path, python: Path) -> None:
    recorded = lab.analyse()
    crate = written(lab, recorded, tmp_path)
    folder = forged(unpacked(crate, tmp_path / "p"), lambda record: record["results"]["test"].update(p=0.0001))

    code, document = verified(python, folder, tmp_path)

    assert code == 1
    assert document["record"] != recorded.sha256, "whoever has the hash sees it too"
    assert "by the modules: test / p: recorded 0.0001" in words(document, "FAULT")
    assert "by numpy alone: p is" in words(document, "FAULT")

    folder = unpacked(crate, tmp_path / "modules")
    # It gives what was recorded, and says in place of the verifier that all is well.
    (folder / "modules/americano_pipelines/statistics/recompute.py").write_text(
        "import os, sys\n"
        f"record = __import__('json').load(open({str(folder / 'record.json')!r}))\n"
        "def recompute(*_): return record['results'], []\n"
        "sys.stdout.write('verified')\n"
    )
    forged(folder, lambda record: record["results"]["test"].update(p=0.0001))

    code, document = verified(python, folder, tmp_path)

    assert code == 1
    assert "by the modules: " in words(document, "ok"), "they may say anything"
    assert "by numpy alone: p is" in words(document, "FAULT")
    assert "whether these modules are the project's" in words(document, "unknown")
    check = check_crate(settings_of(lab).paths, packed(folder, tmp_path / "forged"))
    assert not check.verified
    assert any("neither this release nor this archive has" in text for _, text in check.findings)


def test_nothing_of_a_crate_is_run_but_the_modules_that_were_hashed(lab: Lab, tmp_path: Path, python: Path) -> None:
    folder, trace = unpacked(written(lab, lab.analyse(), tmp_path), tmp_path / "crate"), tmp_path / "trace"
    program = f"open({str(trace)!r}, 'a').write('run')"
    for name in ("numpy.py", "json.py", "sitecustomize.py", "modules/numpy.py"):
        (folder / name).write_text(program)
    statistics = folder / "modules/americano_pipelines/statistics"
    (tmp_path / "program.py").write_text(program)
    for name in ("recompute", "__init__"):
        bytecode = statistics / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.pyc"
        # Python takes it for the module's, and never looks at the module.
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(tmp_path / "program.py"), str(bytecode), invalidation_mode=mode)
    (statistics / "more.py").symlink_to(tmp_path / "more.py")

    code, document = verified(python, folder, tmp_path)

    assert (code, trace.exists()) == (1, False)
    faults = words(document, "FAULT")
    for name in ("numpy.py", "sitecustomize.py", "modules/numpy.py", "__pycache__/recompute"):
        assert f"{name}" in faults
    assert "more.py is no file but a link" in faults
    assert "by the modules: " in words(document, "ok"), "they are run without all that"


def test_a_crate_without_days_names_no_learner_and_shows_no_day(lab: Lab, tmp_path: Path, python: Path) -> None:
    recorded = lab.analyse()
    folder = unpacked(written(lab, recorded, tmp_path, with_days=False), tmp_path / "crate")

    files = [path for path in folder.rglob("*") if path.is_file()]
    record = next(path for path in files if path.name == "record.json")
    assert record in files
    assert [path.name for path in files if LEARNER in path.read_bytes()] == []
    assert {path.suffix for path in files if "modules" not in path.parts} <= {
        "",
        ".json",
        ".py",
        ".md",
        ".lock",
        ".patch",
    }
    code, document = verified(python, folder, tmp_path)
    assert code == 0
    assert "the days are not in this crate" in words(document, "unknown")
    assert "days.json" in words(document, "unknown"), "their hash is on record"
    graph = json.loads((folder / "ro-crate-metadata.json").read_bytes())["@graph"]
    (withheld,) = [entity for entity in graph if entity["@id"] == "#days"]
    assert withheld["conditionsOfAccess"] == "Ask the author for the days."
    assert recorded.record.artifacts["days.json"].sha256 in withheld["identifier"]


@pytest.mark.slow
def test_this_project_verifies_a_crate_with_its_own_verifier(lab: Lab, tmp_path: Path) -> None:
    recorded = lab.analyse()
    crate = written(lab, recorded, tmp_path)

    check = check_crate(settings_of(lab).paths, crate)

    assert (check.verified, check.record_sha256) == (True, recorded.sha256)
    assert ("ok", "this archive has the record") in check.findings
    assert ("ok", "the recorded modules are those of this release") in check.findings
    assert any("done again as a whole gives the sentence, the verdict and" in text for _, text in check.findings)
    assert not any("not derived again" in text or "as they were drawn" in text for _, text in check.findings)
    folder = unpacked(crate, tmp_path / "crate")
    (folder / "verify.py").write_text("print('verified')")
    change(folder / "report.html", b"<", b"<!-- --><")
    forged_check = check_crate(settings_of(lab).paths, packed(folder, tmp_path / "forged"))
    assert not forged_check.verified
    assert any("another than this project's" in text for _, text in forged_check.findings)
    (tmp_path / "no.zip").write_text("no")
    with pytest.raises(AnalysisError, match="is no crate"):
        check_crate(settings_of(lab).paths, tmp_path / "no.zip")


def test_no_crate_is_made_of_what_was_changed_or_without_an_author(lab: Lab) -> None:
    recorded = lab.analyse()
    with pytest.raises(ConfigError, match="AMERICANO_CRATE_AUTHOR, AMERICANO_CRATE_AUTHOR_ORCID"):
        crate_options(lab.settings, None)
    lab.artifact(recorded, "results.json").write_text("{}")
    with pytest.raises(TamperedError, match=r"results\.json was changed"):
        collect_contents(settings_of(lab), recorded.sha256, with_days=True)
    lab.artifact(recorded, "results.json").unlink()
    with pytest.raises(AnalysisError, match=r"results\.json of record \w+ is gone"):
        collect_contents(settings_of(lab), recorded.sha256, with_days=True)
    lab.store.client.delete_run(run_id(recorded))
    with pytest.raises(AnalysisError, match=r"the MLflow run of record .* is gone"):
        collect_contents(settings_of(lab), recorded.sha256, with_days=True)
