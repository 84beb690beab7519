"""`americano crate` and `verify FILE.zip`, and what a purge does about crates."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.defs.erase import find_items
from americano_pipelines.erasure.crates import KIND, Crates
from americano_pipelines.erasure.store import ErasureAction, Learner
from americano_pipelines_tests.conftest import Done
from americano_pipelines_tests.provenance.conftest import Lab, lab
from americano_pipelines_tests.provenance.crate.crates import NAMES, settings_of

__all__ = ["lab"]
Cli = Callable[..., Done]
OWNER = Learner("learner_1", {}, frozenset(), protocols=frozenset({"protocol_1"}))
OTHER = Learner("learner_0", {}, frozenset(), protocols=frozenset({"protocol_0"}))


@pytest.fixture
def of_lab(lab: Lab, cli: Cli) -> Callable[..., Done]:
    """The command line on the lab's data folder."""
    values = {"americano_data_dir": str(lab.settings.paths.root), **lab.database.variables(), **NAMES}

    def run(*arguments: str, **more: Any) -> Done:
        return cli(*arguments, **{**values, **more})

    return run


def test_a_crate_is_written_verified_and_refused(lab: Lab, of_lab: Cli, tmp_path: Path) -> None:
    recorded = lab.analyse()
    target = tmp_path / "a crate.zip"

    done = of_lab("crate", recorded.sha256[:12], "-o", str(target), "--json")

    assert (done.code, done.json["record"], done.json["with_days"]) == (0, recorded.sha256, True)
    assert done.json["sha256"] == sha256_hex(target.read_bytes())
    assert done.json["left_out"] == ["provenance/extract.json"], "it has the times of events"
    verified = of_lab("verify", str(target), "--json")
    assert (verified.code, verified.json["verified"]) == (0, True)
    shown = of_lab("verify", str(target))
    assert shown.out.strip().splitlines()[-1] == "verified, except for what is unknown"

    content = target.read_bytes()
    target.write_bytes(content[:-100])
    broken = of_lab("verify", str(target))
    assert (broken.code, "is no crate" in broken.err) == (1, True)
    assert of_lab("verify", str(tmp_path / "none.zip")).code == 1
    nameless = of_lab("crate", recorded.sha256, "-o", str(target), americano_crate_author="")
    assert (nameless.code, "AMERICANO_CRATE_AUTHOR:" in nameless.err) == (2, True)
    assert "personal data" in of_lab("crate", recorded.sha256, "-o", str(tmp_path / "b.zip")).out


def test_a_crate_without_data_has_no_card_and_one_with_a_doi_has_it(lab: Lab, of_lab: Cli, tmp_path: Path) -> None:
    recorded = lab.analyse("change_points")
    before = len(list(lab.settings.paths.crate_cards.glob("*.json")))
    target = tmp_path / "published.zip"

    done = of_lab("crate", recorded.sha256, "--without-data", "-o", str(target), "--doi", "10.5281/zenodo.1")

    assert done.code == 0
    assert "days.json" in done.out
    assert len(list(lab.settings.paths.crate_cards.glob("*.json"))) == before
    assert b"10.5281" in _member(target, "ro-crate-metadata.json")


def _member(crate: Path, name: str) -> bytes:
    import zipfile

    with zipfile.ZipFile(crate) as archive:
        return archive.read(name)


def test_a_purge_lists_and_removes_the_learners_crates(lab: Lab, of_lab: Cli, tmp_path: Path) -> None:
    for card in lab.settings.paths.crate_cards.glob("*.json"):
        card.unlink()
    recorded = lab.analyse("change_points")
    crate, moved = tmp_path / "here.zip", tmp_path / "moved.zip"
    assert of_lab("crate", recorded.sha256, "-o", str(crate)).code == 0
    store = Crates(settings_of(lab))

    assert store.find(OTHER) == []
    (item,) = store.find(OWNER)
    assert (item.kind, item.name, item.action) == (KIND, str(crate), ErasureAction.REMOVE)
    listed = find_items(settings_of(lab), "learner_1").items
    assert [item.name for item in listed if item.kind == KIND] == [str(crate)]

    crate.rename(moved)
    (item,) = store.find(OWNER)
    assert item.action is ErasureAction.CANNOT_REMOVE
    assert str(crate) in item.reason
    moved.rename(crate)
    crate.write_bytes(crate.read_bytes() + b"more")
    assert store.find(OWNER)[0].action is ErasureAction.CANNOT_REMOVE, "another file has its name"
    assert of_lab("crate", recorded.sha256, "-o", str(crate)).code == 0

    (removed,) = [item for item in store.find(OWNER) if item.action is ErasureAction.REMOVE]
    assert store.remove([removed]) == []
    assert not crate.exists()
    assert store.find(OWNER) == []


def test_a_card_that_cannot_be_read_is_a_problem(lab: Lab) -> None:
    folder = lab.settings.paths.crate_cards
    folder.mkdir(parents=True, exist_ok=True)
    card = folder / f"{'0' * 64}.json"
    card.write_text(json.dumps({"path": "x"}))
    try:
        (item,) = Crates(settings_of(lab)).find(OTHER)
    finally:
        card.unlink()
    assert item.action is ErasureAction.CANNOT_REMOVE


def test_a_manuscript_is_written_or_printed(lab: Lab, of_lab: Cli, tmp_path: Path) -> None:
    recorded, target = lab.analyse(), tmp_path / "paper.md"
    name = "SELECT \"protocolName\" FROM experiment_protocols WHERE id = 'protocol_1'"
    ((title,),) = lab.database.execute(name)

    printed = of_lab("manuscript", recorded.sha256[:12])
    written = of_lab("manuscript", recorded.sha256[:12], "-o", str(target))

    assert (printed.code, written.code) == (0, 0)
    assert printed.out == target.read_text()
    assert printed.out.startswith(f"# {title}\n")
    assert f"{printed.out.count('TO BE ADDED')} items are marked TO BE ADDED" in written.out
    assert of_lab("manuscript", "ffffffff").code == 1
