"""An extract is read again from its snapshot: made-up input is found, also after the snapshot expired."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.provenance.chain import append
from americano_pipelines.provenance.record import ChainLink, Record
from americano_pipelines.provenance.recorder import Recorded
from americano_pipelines.provenance.snapshot_expiry import add_card, read_expiry
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.provenance.verify.snapshot_comparison import FINDING_NAME
from americano_pipelines.provenance.verify.source_data import compare_extract, keep_findings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.provenance.conftest import Lab, altered, faults, finding, run_id
from americano_pipelines_tests.sync.support import sync

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
    folder = lab.settings.paths.snapshots
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


def test_a_record_of_no_or_several_snapshots_is_refused(lab: Lab) -> None:
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


def snapshot_folder(lab: Lab, recorded: Recorded) -> Path:
    return lab.settings.paths.snapshots / recorded.record.inputs[0].snapshot_id


@pytest.mark.slow
def test_the_finding_is_kept_before_the_snapshot_expires(lab: Lab) -> None:
    clean, forged, late = lab.analyse(), made_up(lab), lab.analyse("change_points")
    folder, checks = snapshot_folder(lab, clean), lab.settings.paths.extract_checks

    written = keep_findings(lab.settings, folder)

    assert written == len(list(checks.glob("*.json"))) >= 3
    assert keep_findings(lab.settings, folder) == 0, "written once"
    assert sorted(path.name for path in lab.settings.paths.expired_snapshots.iterdir()) == ["1.json"]
    later = lab.analyse("change_points").record
    assert later.chain is not None
    assert later.chain.expiry == read_expiry(lab.settings.paths).end, "a later record names the last card"
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
        add_card(lab.settings.paths, recorded.record.inputs[0].snapshot_id, {})
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


@pytest.fixture(scope="module")
def expiring(lab: Lab) -> Recorded:
    """The one record, made up, of a snapshot that has no card yet."""
    sync(lab.settings, full=True)
    return made_up(lab)


def of_extract(lab: Lab, sha256: str, record: Record) -> Finding:
    (compared,) = compare_extract(lab.settings, sha256, record)
    return compared


def test_a_snapshot_that_cannot_be_read_at_the_moment_gets_no_finding(lab: Lab, expiring: Recorded) -> None:
    """It was UNKNOWN for ever, so made-up input had only to be held open while its snapshot expired."""
    folder = snapshot_folder(lab, expiring)
    path = folder / snapshots.file_name(lab.settings.paths)
    hold = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        assert of_extract(lab, expiring.sha256, expiring.record).status is Status.UNKNOWN
        with pytest.raises(duckdb.IOException, match="lock"):
            keep_findings(lab.settings, folder)
        reader.communicate()

    assert not (lab.settings.paths.extract_checks / f"{expiring.sha256}.json").exists()
    assert read_expiry(lab.settings.paths).last_of(folder.name) is None


def test_a_finding_that_was_written_and_not_named_is_no_false_fault(lab: Lab, expiring: Recorded) -> None:
    """A sync was killed, or its disk was full, between the finding and the card."""
    expired, folder = lab.settings.paths.expired_snapshots, snapshot_folder(lab, expiring)
    path = lab.settings.paths.extract_checks / f"{expiring.sha256}.json"
    cards = expired.rename(expired.with_name(".cards"))
    expired.touch()
    try:
        with pytest.raises(FileExistsError):
            keep_findings(lab.settings, folder)
    finally:
        expired.unlink()
        cards.rename(expired)
    # The release of that time compared less, or somebody changed it.
    path.write_bytes(path.read_bytes().replace(b'"DRIFT"', b'"MATCH"'))
    with without_snapshot(lab, expiring):
        assert of_extract(lab, expiring.sha256, expiring.record).status is Status.MISSING
        purged = lab.settings.paths.purged_snapshots / f"{folder.name}.json"
        purged.parent.mkdir(exist_ok=True)
        card = {"snapshot_id": folder.name, "reason": "theirs", "purged_at": "2099-01-01T00:00:00Z"}
        purged.write_text(json.dumps(card))
        assert of_extract(lab, expiring.sha256, expiring.record).status is Status.NOT_RECORDED
        purged.unlink()

    assert keep_findings(lab.settings, folder) == 1

    with without_snapshot(lab, expiring):
        kept = of_extract(lab, expiring.sha256, expiring.record)
    assert (kept.status, "the snapshot gives another values" in kept.detail) == (Status.DRIFT, True)


def test_a_record_is_compared_or_names_the_card_whenever_it_ends(lab: Lab, expiring: Recorded) -> None:
    """A record that had ended before the card, and was kept after it, was said to lack its finding."""
    folder = snapshot_folder(lab, expiring)
    keep_findings(lab.settings, folder)
    expiry: list[Future[int]] = []

    def build(link: ChainLink, *, while_it_expires: bool) -> Record:
        if while_it_expires:
            expiry.append(pool.submit(keep_findings, lab.settings, folder))
            with pytest.raises(TimeoutError):
                expiry[0].result(timeout=0.5)
        tracking = expiring.record.tracking | {"run_id": "of nobody"}
        return expiring.record.model_copy(update={"chain": link, "tracking": tracking})

    with ThreadPoolExecutor(1) as pool:
        during, _, during_sha256 = append(lab.settings.paths, partial(build, while_it_expires=True), 0o600)
        assert expiry[0].result(timeout=30) == 1, "it waited for the record"
    after, _, after_sha256 = append(lab.settings.paths, partial(build, while_it_expires=False), 0o600)

    with without_snapshot(lab, expiring):
        assert of_extract(lab, during_sha256, during).status is Status.DRIFT, "it was compared"
        late = of_extract(lab, after_sha256, after)
    assert (late.status, late.detail) == (
        Status.NOT_RECORDED,
        "recorded while its snapshot expired, so it was not compared",
    )
