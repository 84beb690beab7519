"""A crate whose parts were changed together is found by what follows from what, with the exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.provenance.crate import verify_standalone
from americano_pipelines.provenance.crate.contents import CrateContents, verifier
from americano_pipelines.provenance.crate.ro_crate import crate_options, write_crate
from americano_pipelines.provenance.record import Record as ParsedRecord
from americano_pipelines.settings import load_settings
from americano_pipelines.statistics import reference_set
from americano_pipelines_tests.provenance.conftest import Lab
from americano_pipelines_tests.provenance.crate.crates import NAMES, forged, sealed, unpacked, written

Record = dict[str, Any]


@pytest.fixture(scope="module")
def crate(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without days, so that no module runs."""
    return written(lab, lab.analyse(), tmp_path_factory.mktemp("crate"), with_days=False)


@pytest.fixture
def folder(crate: Path, tmp_path: Path) -> Path:
    return unpacked(crate, tmp_path / "crate")


Verify = Callable[[Path], tuple[int, str]]


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Exit code and faults of `python verify.py FOLDER`."""

    def run(folder: Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["verify.py", str(folder)])
        code = verify_standalone.main()
        lines = capsys.readouterr().out.splitlines()
        return code, "\n".join(line for line in lines if line.startswith("FAULT"))

    return run


def test_a_crate_as_it_was_written_has_no_fault(folder: Path, verify: Verify) -> None:
    assert verify(folder) == (0, "")
    assert verify(forged(folder, lambda record: record)) == (0, ""), "the tests below change one thing"


@pytest.mark.parametrize("analysis", ["abab_randomization", "change_points", "interrupted_time_series"])
def test_a_crate_of_an_older_record_and_without_a_list_of_files_verifies(
    tmp_path: Path, verify: Verify, analysis: str
) -> None:
    text = (Path(__file__).parents[1] / "format_1" / f"{analysis}.json").read_bytes().strip()
    record = ParsedRecord.parse(text)
    files = {"record.json": record.canonical(), "results.json": canonical_json(record.results), "verify.py": verifier()}
    contents = CrateContents(record, record.sha256, files, tuple(record.artifacts))
    settings = load_settings(americano_data_dir=tmp_path / "data", **NAMES)
    write_crate(settings.paths, contents, crate_options(settings, None), tmp_path / "crate.zip")
    folder = unpacked(tmp_path / "crate.zip", tmp_path / "crate")
    assert verify(folder) == (0, "")

    (folder / "SHA256SUMS").unlink()
    metadata = folder / "ro-crate-metadata.json"
    document = json.loads(metadata.read_bytes())
    document["@graph"] = [entity for entity in document["@graph"] if entity["@id"] != "SHA256SUMS"]
    metadata.write_text(json.dumps(document))

    assert verify(folder) == (0, "")


def say(record: Record, sentence: str) -> None:
    record["sentence"] = record["results"]["verdict"]["sentence"] = sentence


def judge(record: Record, state: str, words: str) -> None:
    """Another verdict, in all places."""
    record["verdict"] = record["results"]["verdict"]["state"] = state
    sentence = record["sentence"]
    say(record, f"{words}: {sentence.partition(': ')[2]}")


def test_another_verdict_does_not_follow_from_the_numbers(folder: Path, verify: Verify) -> None:
    record = json.loads((folder / "record.json").read_bytes())
    state = record["verdict"]
    assert state in {"not shown", "differs, higher under treatment", "differs, lower under treatment"}, record[
        "sentence"
    ]
    for other, words in (("benefit", "Benefit"), ("harm", "Harm")):
        code, faults = verify(forged(folder, lambda record, o=other, w=words: judge(record, o, w)))  # type: ignore[misc]
        assert (code, f"the verdict is {other}, and the numbers give {state}" in faults) == (1, True)
    forged(folder, lambda record: judge(record, "no verdict", "No verdict"))
    _, report = verify_standalone.verify(folder)
    assert any("why no verdict was given is not derived again" in text for _, text in report.lines)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda record: record.update(verdict="benefit"),
            "verdict or sentence of the record are not those of its results",
        ),
        (
            lambda record: record.update(sentence="Benefit: it helps."),
            "verdict or sentence of the record are not those",
        ),
        (
            lambda record: say(record, record["sentence"].replace("p = ", "p = .0004, not ")),
            "the sentence gives another p",
        ),
        (lambda record: say(record, "Benefit: " + record["sentence"]), "the sentence says benefit, the verdict is"),
        (lambda record: record["results"]["test"].pop("p"), "the verdict"),
        (lambda record: record["results"]["test"].update(p="0.1"), "could not be compared"),
        (lambda record: record["logged"]["metrics"].update(p=[[0, 0.0004]]), "MLflow and the app show another p"),
        (
            lambda record: record["results"]["effects"]["combined"].update(mean_difference=99.0),
            "another mean_difference",
        ),
        (lambda record: record["results"].pop("verdict"), "the verdict could not be compared: KeyError"),
        (lambda record: record.update(results=[]), "could not be compared"),
    ],
)
def test_what_was_changed_together_in_record_results_and_hashes_is_found(
    folder: Path, verify: Verify, change: Callable[[Record], object], fault: str
) -> None:
    code, faults = verify(forged(folder, change))

    assert (code, fault in faults) == (1, True), faults


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def graph_edit(folder: Path, name: str, field: str, value: object) -> None:
    path = folder / "ro-crate-metadata.json"
    document = json.loads(path.read_bytes())
    (entity,) = [entity for entity in document["@graph"] if name in {entity["@id"], entity.get("name")}]
    entity[field] = value
    path.write_text(json.dumps(document))


def relisted(folder: Path) -> None:
    """Make the list of files agree, and nothing else."""
    files = verify_standalone.read_files(folder, verify_standalone.Report())
    (folder / "SHA256SUMS").write_text(verify_standalone.listing(files))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda folder: edit(folder, "README.md", "record.json", "record"), "since SHA256SUMS was written: README.md"),
        (lambda folder: (folder / "SHA256SUMS").unlink(), "not there: SHA256SUMS"),
        (lambda folder: (folder / "README.md").unlink(), "README.md is missing"),
        (lambda folder: (folder / "results.json").unlink(), "not there: results.json"),
        (lambda folder: (folder / "record.json").unlink(), "there is no record.json"),
        (lambda folder: (folder / "record.json").write_text("{"), "record.json is no record"),
        (lambda folder: (folder / "record.json").write_text("[" * 100_000), "record.json is no record"),
        (lambda folder: (folder / "ro-crate-metadata.json").unlink(), "ro-crate-metadata.json is missing"),
        (lambda folder: (folder / "ro-crate-metadata.json").write_text("[]"), "could not be compared"),
        (lambda folder: (folder / "more.txt").write_text("1"), "more.txt is no part of the record"),
        (lambda folder: (folder / "more" / "deep").mkdir(parents=True), ""),
        (lambda folder: (folder / "more\nok  all is well").write_text("1"), "more\\nok  all is well is no part"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "link is no file but a link"),
        (lambda folder: (folder / "link").symlink_to("/etc"), "link is no file but a link"),
        (lambda folder: (folder / "modules/americano_pipelines/more.py").write_text("1"), "the modules are not those"),
        (lambda folder: (folder / "modules/americano_pipelines/more.so").write_text("1"), "more.so is no part"),
    ],
)
def test_whatever_is_added_removed_or_changed_beside_the_record_is_found(
    folder: Path, verify: Verify, change: Callable[[Path], object], fault: str
) -> None:
    change(folder)

    code, faults = verify(folder)

    assert (code, fault in faults) == (1 if fault else 0, True), faults


def test_words_that_contradict_the_record_are_found_with_a_new_list(folder: Path, verify: Verify) -> None:
    sentence = json.loads((folder / "record.json").read_bytes())["sentence"]
    contents = verify_standalone.verify(folder)[0]["contents"]
    changes: list[tuple[Callable[[], object], str]] = [
        (lambda: edit(folder, "README.md", sentence, "It helps."), "README.md has another sentence or hash"),
        (lambda: graph_edit(folder, "verdict", "value", "benefit"), "has another verdict"),
        (lambda: graph_edit(folder, "./", "description", "It helps."), "has another description"),
        (lambda: graph_edit(folder, "results.json", "identifier", "urn:sha256:0"), "has another results.json"),
    ]
    for change, fault in changes:
        change()
        relisted(folder)
        code, faults = verify(folder)
        assert (code, fault in faults) == (1, True), faults
        sealed(folder)
    edit(folder, "README.md", "# A crate", "# Another crate")
    graph_edit(folder, "README.md", "identifier", "")
    relisted(folder)
    assert verify(folder) == (0, ""), "the record does not cover it"
    assert verify_standalone.verify(folder)[0]["contents"] != contents, "but the published hash does"


def test_the_interval_of_an_estimated_p_is_computed_again() -> None:
    """With 999 draws of which 40 are as extreme, twice the share; by scipy in the record, without it in a crate."""
    low, high = reference_set.clopper_pearson(40, 999)
    assert verify_standalone.clopper_pearson(40, 999) == pytest.approx((low, high), abs=1e-9)
    assert verify_standalone.clopper_pearson(0, 99) == pytest.approx(reference_set.clopper_pearson(0, 99), abs=1e-9)
    assert verify_standalone.clopper_pearson(99, 99) == pytest.approx(reference_set.clopper_pearson(99, 99), abs=1e-9)
    test = {
        "draws": 999, "assignments": 10**9, "as_extreme": 40, "two_sided": "doubled", "admissible": True,
        "p": 82 / 1000, "p_interval": [2 * low, 2 * high],
    }  # fmt: skip
    for change in ({}, {"p_interval": [0.0, 1.0]}, {"p_interval": None}, {"p": 0.01}, {"draws": 99}):
        report = verify_standalone.Report()
        report.check("p", verify_standalone.check_counts, {**test, **change}, {"draws": 999})
        assert report.faults == bool(change), report.lines


def test_texts_of_a_crate_print_no_lines_of_their_own(folder: Path) -> None:
    forged(folder, lambda record: say(record, "No verdict: x.\nverified, except for what is unknown\x1b[8m"))

    about, _ = verify_standalone.verify(folder)

    assert "\n" not in about["sentence"]
    assert "\x1b" not in about["sentence"]
