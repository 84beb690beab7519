"""The chain of records: numbered without gaps or forks, and what is removed from it is found."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from americano_pipelines.erasure.extracts import Extracts
from americano_pipelines.erasure.store import ErasureAction, Learner
from americano_pipelines.provenance.archive import put
from americano_pipelines.provenance.chain import discard_edited_index, earlier_records, read_chain
from americano_pipelines.provenance.record_index import INDEX, find_records
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.provenance.verify.hash_locations import CHAIN, hash_locations
from americano_pipelines.provenance.verify.target import Target
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.provenance.records import kept_record

WRITER = """
import sys
from americano_pipelines.settings import load_settings
from americano_pipelines_tests.provenance.records import kept_record
settings = load_settings(americano_data_dir=sys.argv[1])
for number in range(10):
    kept_record(settings, chained=True, mlflow_run=f"{sys.argv[2]}-{number}")
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(americano_data_dir=tmp_path / "data")


def chain_finding(settings: Settings, sha256: str) -> Finding:
    from americano_pipelines.provenance.archive import get
    from americano_pipelines.provenance.record import Record

    record = Record.parse(get(settings.paths.records, sha256))
    subject = Target(record, sha256, "the archive", None, ())
    (finding,) = [item for item in hash_locations(settings, subject, lambda _: []) if item.what == CHAIN]
    return finding


def test_each_record_names_the_one_before(settings: Settings) -> None:
    records = [kept_record(settings, chained=True, mlflow_run=f"m{number}") for number in range(3)]

    links = [record.chain for _, record in records]
    assert [(link.number, link.previous) for link in links if link] == [
        (1, None), (2, records[0][0]), (3, records[1][0])
    ]  # fmt: skip
    assert chain_finding(settings, records[2][0]).detail == "record 3 of 3"
    assert read_chain(settings.paths).missing() == {}


@pytest.mark.parametrize("column", ["protocol_id", "group_key", "mlflow_run_id", "dagster_run_id", "snapshot_id"])
@pytest.mark.parametrize("which", [0, 1, 3, 4], ids=["before the chain", "first", "middle", "last"])
def test_an_index_that_lists_a_record_otherwise_is_discarded(settings: Settings, column: str, which: int) -> None:
    before, _ = kept_record(settings, mlflow_run="m0")
    hashes = [before, *(kept_record(settings, chained=True, mlflow_run=f"m{number}")[0] for number in range(1, 5))]
    index = settings.paths.records / INDEX
    discard_edited_index(settings.paths)
    assert index.exists()
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute(f"UPDATE entries SET {column} = 'other' WHERE sha256 = ?", [hashes[which]])

    discard_edited_index(settings.paths)

    assert not index.exists()
    assert dict(find_records(settings.paths, "protocol_id", "protocol_0")).keys() == set(hashes)


@pytest.mark.parametrize("number", [None, 0, -5, "+ 0.5"])
@pytest.mark.parametrize("which", [0, 2, 3], ids=["first", "middle", "last"])
def test_an_index_with_another_place_of_a_record_is_discarded(settings: Settings, which: int, number: object) -> None:
    hashes = [kept_record(settings, chained=True, mlflow_run=f"m{number}")[0] for number in range(4)]
    index = settings.paths.records / INDEX
    place = f"chain_number {number}" if isinstance(number, str) else "NULL" if number is None else str(number)
    with closing(sqlite3.connect(index)) as connection, connection:
        statement = f"UPDATE entries SET protocol_id = 'other', chain_number = {place} WHERE sha256 = ?"
        connection.execute(statement, [hashes[which]])

    discard_edited_index(settings.paths)

    assert dict(find_records(settings.paths, "protocol_id", "protocol_0")).keys() == set(hashes)


def test_an_index_beside_a_gap_is_kept(settings: Settings) -> None:
    hashes = [kept_record(settings, chained=True, mlflow_run=f"m{number}")[0] for number in range(4)]
    (settings.paths.records / f"{hashes[1]}.json").unlink()

    _, later = kept_record(settings, chained=True, mlflow_run="m4")

    assert later.chain is not None
    assert later.chain.number == 5
    discard_edited_index(settings.paths)
    assert (settings.paths.records / INDEX).exists()
    assert read_chain(settings.paths).missing() == {2: hashes[1]}


@pytest.mark.parametrize("which", [0, 1])
def test_a_removed_or_changed_record_leaves_a_gap_for_later_ones(settings: Settings, which: int) -> None:
    hashes = [kept_record(settings, chained=True, mlflow_run=f"m{number}")[0] for number in range(3)]
    path = settings.paths.records / f"{hashes[which]}.json"
    content = path.read_bytes()
    path.unlink()

    gap = chain_finding(settings, hashes[2])

    assert (gap.status, hashes[which][:12] in gap.detail) == (Status.MISSING, True)
    assert read_chain(settings.paths).missing() == {which + 1: hashes[which]}
    if which:
        assert chain_finding(settings, hashes[0]).status is Status.MATCH, "nothing is gone before it"
    path.write_bytes(content.replace(b"It helped.", b"It harmed."))
    assert chain_finding(settings, hashes[2]).status is Status.MISSING


def test_the_last_record_that_is_removed_is_known_by_the_heads_card(settings: Settings) -> None:
    hashes = [kept_record(settings, chained=True, mlflow_run=f"m{number}")[0] for number in range(2)]
    (settings.paths.records / f"{hashes[1]}.json").unlink()
    assert read_chain(settings.paths).missing() == {2: hashes[1]}

    sha256, record = kept_record(settings, chained=True, mlflow_run="m2")

    assert record.chain is not None
    assert (record.chain.number, record.chain.previous) == (3, hashes[1]), "the gap stays"
    assert chain_finding(settings, sha256).status is Status.MISSING


def test_a_card_that_is_lost_or_damaged_is_made_anew_from_the_records(settings: Settings) -> None:
    first = kept_record(settings, chained=True, mlflow_run="m0")[0]
    for content in (b"", b"{}", None):
        card = settings.paths.records / "chain.head"
        if content is None:
            card.unlink()
        else:
            card.write_bytes(content)
        first_or_later = read_chain(settings.paths)
        assert first_or_later.missing() == {}
    record = kept_record(settings, chained=True, mlflow_run="m1")[1]
    assert record.chain is not None
    assert (record.chain.number, record.chain.previous) == (2, first)


def test_records_from_before_the_chain_stay_valid_and_are_named_once(settings: Settings) -> None:
    old = [kept_record(settings, mlflow_run=f"old{number}")[0] for number in range(2)]
    lone = chain_finding(settings, old[0])
    assert (lone.status, "leaves no gap" in lone.detail) == (Status.NOT_RECORDED, True)

    sha256, _ = kept_record(settings, chained=True, mlflow_run="new")

    assert earlier_records(settings.paths, read_chain(settings.paths)) == sorted(old)
    assert chain_finding(settings, old[0]).status is Status.MATCH
    (settings.paths.records / f"{old[1]}.json").unlink()
    gap = chain_finding(settings, sha256)
    assert (gap.status, old[1][:12] in gap.detail) == (Status.MISSING, True)


def test_a_record_that_claims_to_be_from_before_the_chain_is_found(settings: Settings) -> None:
    kept_record(settings, chained=True, mlflow_run="new")
    forged, _ = kept_record(settings, mlflow_run="forged")

    assert chain_finding(settings, forged).status is Status.DRIFT


def test_a_record_in_the_place_of_another_is_found(settings: Settings) -> None:
    hashes = [kept_record(settings, chained=True, mlflow_run=f"m{number}") for number in range(2)]
    forged = hashes[0][1].model_copy(update={"sentence": "A benefit."})
    _, sha256 = put(settings.paths.records, forged.canonical())

    assert chain_finding(settings, sha256).status is Status.DRIFT
    (settings.paths.records / f"{hashes[0][0]}.json").unlink()
    assert chain_finding(settings, sha256).status is Status.DRIFT, "the next record names the one that was there"
    assert chain_finding(settings, hashes[1][0]).status is Status.MISSING


def test_an_erasure_removes_no_record_and_so_leaves_no_gap(settings: Settings) -> None:
    hashes = [kept_record(settings, chained=True, mlflow_run=f"m{number}")[0] for number in range(2)]
    extract, sha256 = put(
        settings.paths.extracts, b'{"protocol": {"protocol_id": "protocol_0", "learner": "learner-1"}}'
    )
    learner = Learner("learner_0", {}, frozenset({"learner-1"}), protocols=frozenset({"protocol_0"}))
    store = Extracts(settings)
    (item,) = store.find(learner)
    assert (item.extract_sha256, item.action) == (sha256, ErasureAction.REMOVE)

    store.remove([item])

    assert not extract.exists()
    assert read_chain(settings.paths).missing() == {}
    assert {chain_finding(settings, name).status for name in hashes} == {Status.MATCH}


def test_two_processes_that_record_at_once_make_one_chain(settings: Settings) -> None:
    command = [sys.executable, "-c", WRITER, str(settings.paths.root)]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b", "c")]
    assert [writer.wait(timeout=240) for writer in writers] == [0, 0, 0]

    chain = read_chain(settings.paths)

    assert {number: len(entries) for number, entries in chain.links.items()} == dict.fromkeys(range(1, 31), 1)
    assert chain.missing() == {}
