"""An extract is read again from its snapshot: made-up input is found, also after the snapshot expired."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.provenance.recorder import Recorded
from americano_pipelines.provenance.snapshot_expiry import add_card, read_expiry
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.provenance.verify.source_data import FINDING_NAME, compare_extract, keep_findings
from americano_pipelines.settings import load_settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.provenance.conftest import Lab, altered, faults, finding, run_id

EXPIRED = f"{FINDING_NAME}, before it expired"


def made_up(lab: Lab, kind: str = "abab_randomization") -> Recorded:
    """A complete record of an analysis whose input was changed before anything was computed or hashed."""

    def read(*arguments: Any) -> Extract:
        extract = KINDS[kind].read_extract(*arguments)
        assert isinstance(extract, Extract)
        values = [value and value + 25 if index % 2 else value for index, value in enumerate(extract.values)]
        return extract.model_copy(update={"values": values})

    return lab.perform(replace(KINDS[kind], read_extract=read)).recorded


@contextmanager
def without_snapshot(lab: Lab, recorded: Recorded) -> Iterator[None]:
    folder = snapshots.snapshots_dir(lab.settings.paths)
    place = folder / recorded.record.inputs[0].snapshot_id
    place.rename(folder / ".aside")
    try:
        yield
    finally:
        (folder / ".aside").rename(place)


def read_again(lab: Lab, recorded: Recorded, what: str = FINDING_NAME) -> Finding:
    return finding(lab.verify(run_id(recorded)), what)


def test_every_kind_of_extract_is_read_again(lab: Lab) -> None:
    for kind in ("abab_randomization", "change_points"):
        assert read_again(lab, lab.analyse(kind)).status is Status.MATCH
    training = lab.perform(KINDS["training_demo"], epochs=2, seed=1).recorded
    assert read_again(lab, training).status is Status.MATCH


def test_made_up_input_with_all_its_hashes_right_is_found(lab: Lab) -> None:
    recorded = made_up(lab)

    verification = lab.verify(run_id(recorded), again=True)

    assert faults(verification) == {FINDING_NAME: Status.DRIFT}
    assert finding(verification, FINDING_NAME).detail == "the snapshot gives another values"
    assert finding(verification, "abab_randomization on its extract").status is Status.REPEATED, "the rest agrees"


def test_made_up_input_is_found_without_the_key_of_the_pseudonyms(lab: Lab) -> None:
    recorded = made_up(lab)
    with altered(lab.settings.paths.pseudonym_key, None):
        assert faults(lab.verify(run_id(recorded))) == {FINDING_NAME: Status.DRIFT}


def test_a_record_that_names_no_snapshot_or_several_is_no_record_of_an_analysis(lab: Lab) -> None:
    recorded = lab.analyse()
    inputs = recorded.record.inputs
    decoy = inputs[0].model_copy(update={"snapshot_id": "20200101T000000Z-00000000"})
    for others in ([], [decoy, *inputs[1:]]):
        forged = recorded.record.model_copy(update={"inputs": others})
        (problem,) = compare_extract(lab.settings, forged.sha256, forged)
        assert problem.status is Status.DRIFT


def test_what_this_release_adds_to_an_extract_is_no_fault(lab: Lab) -> None:
    """An older release recorded less of a protocol."""

    def read(*arguments: Any) -> Any:
        extract = KINDS["change_points"].read_extract(*arguments)
        older = extract.protocol.model_copy(update={"learner": "learner-" + "0" * 20})
        return extract.model_copy(update={"protocol": older})

    recorded = lab.perform(replace(KINDS["change_points"], read_extract=read)).recorded

    assert (read_again(lab, recorded).status, "another key" in read_again(lab, recorded).detail) == (Status.MATCH, True)


@pytest.mark.slow
def test_the_finding_is_kept_before_the_snapshot_expires(lab: Lab) -> None:
    clean, forged, late = lab.analyse(), made_up(lab), lab.analyse("change_points")
    keeps_one = load_settings(
        americano_data_dir=lab.settings.data_dir, americano_snapshots_kept=1, **lab.database.variables()
    )
    assert keep_findings(lab.settings) == 0, "nothing expires"
    checks = lab.settings.paths.extract_checks
    assert not checks.exists()

    written = keep_findings(keeps_one)

    assert written == len(list(checks.glob("*.json"))) >= 3
    assert keep_findings(keeps_one) == 0, "written once"
    later = lab.analyse("change_points").record
    assert later.chain is not None
    assert later.chain.expiry == read_expiry(lab.settings).end, "a later record names the last card"
    with without_snapshot(lab, clean):
        kept = read_again(lab, clean, EXPIRED)
        assert (kept.status, kept.detail.startswith("on 20")) == (Status.MATCH, True)
        assert faults(lab.verify(run_id(forged))) == {EXPIRED: Status.DRIFT}
        with altered(checks / f"{late.sha256}.json", None):
            gone = read_again(lab, late, EXPIRED)
            assert (gone.status, "card 1 names is too" in gone.detail) == (Status.MISSING, True)
        card = checks / f"{forged.sha256}.json"
        content = card.read_bytes()
        for text in (b"", content.replace(forged.sha256.encode(), clean.sha256.encode())):
            with altered(card, text):
                assert faults(lab.verify(run_id(forged))) == {EXPIRED: Status.DRIFT}
        with altered(card, content.replace(b'"DRIFT"', b'"MATCH"')):
            verified = lab.verify(run_id(forged))
            assert faults(verified) == {EXPIRED: Status.DRIFT}, "as made up as its extract"
            assert "was changed or added" in finding(verified, EXPIRED).detail
        expiry = lab.settings.paths.expired_snapshots / "1.json"
        for text in (None, expiry.read_bytes().replace(b'"checked_at"', b' "checked_at"')):
            with altered(expiry, text):
                assert "card 1 of the snapshots that expired" in read_again(lab, clean, EXPIRED).detail
                assert faults(lab.verify(run_id(clean))) == {EXPIRED: Status.DRIFT}


def test_a_snapshot_that_somebody_removes_is_not_one_that_expired(lab: Lab, tmp_path: Path) -> None:
    recorded, before = lab.analyse(), lab.settings.paths.extract_checks
    aside = tmp_path / "checks"
    if before.exists():
        before.rename(aside)
    snapshot = f"snapshot {recorded.record.inputs[0].snapshot_id}"
    with without_snapshot(lab, recorded):
        verification = lab.verify(run_id(recorded))
        add_card(lab.settings, recorded.record.inputs[0].snapshot_id, {})
        expired_meanwhile = lab.verify(run_id(recorded))
        card = {"snapshot_id": recorded.record.inputs[0].snapshot_id, "reason": "", "purged_at": "2099-01-01T00:00:00Z"}
        purged = lab.settings.paths.purged_snapshots / f"{card['snapshot_id']}.json"
        purged.parent.mkdir(exist_ok=True)
        purged.write_text(json.dumps(card))
        empty_card = lab.verify(run_id(recorded))
        purged.unlink()
    if aside.exists():
        shutil.rmtree(before, ignore_errors=True)
        aside.rename(before)

    assert faults(verification) == {EXPIRED: Status.MISSING}
    assert faults(empty_card) == {EXPIRED: Status.MISSING}, "a purge gives a reason"
    assert "no card says" in finding(verification, snapshot).detail
    assert finding(expired_meanwhile, snapshot).detail == ""
    assert finding(expired_meanwhile, EXPIRED).status is Status.MISSING


def test_what_expires_is_what_the_next_publication_removes(lab: Lab) -> None:
    assert snapshots.expiring(lab.settings) == []
    keeps_one = load_settings(
        americano_data_dir=lab.settings.data_dir, americano_snapshots_kept=1, **lab.database.variables()
    )
    assert snapshots.expiring(keeps_one) == snapshots.snapshots(lab.settings.paths)
