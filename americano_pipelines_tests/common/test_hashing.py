"""Hashes and canonical texts; the hashes of records and fingerprints are fixed, since recorded ones name them."""

import hashlib
from pathlib import Path

import pytest

from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.analysis.training.data import TrainingData
from americano_pipelines.common.hashing import canonical_json, file_sha256, sha256_hex
from americano_pipelines.errors import AnalysisError
from americano_pipelines.sources.change_detection import State, state_sha256
from americano_pipelines.sources.column_roles import Column, SourceTable
from americano_pipelines.sources.contracts import EVENTS

NAN = float("nan")


def test_a_file_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than a chunk
    (tmp_path / "file").write_bytes(content)

    assert file_sha256(tmp_path / "file") == sha256_hex(content) == hashlib.sha256(content).hexdigest()


def test_key_order_does_not_matter_and_values_do() -> None:
    assert canonical_json({"b": [1, None], "a": 0.1}) == b'{"a":0.1,"b":[1,null]}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})
    assert canonical_json({"a": 1}) != canonical_json({"a": 1.0000000000000002})


def test_each_flag_changes_one_thing() -> None:
    assert canonical_json({"a": ["ß", 1]}) == '{"a":["ß",1]}'.encode()
    assert canonical_json({"a": ["ß", 1]}, ascii_only=True) == b'{"a":["\\u00df",1]}'
    assert canonical_json({"a": ["ß", 1]}, spaced=True) == '{"a": ["ß", 1]}'.encode()
    assert canonical_json([NAN], allow_nan=True) == b"[NaN]"


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_an_undefined_number_is_refused(value: float) -> None:
    with pytest.raises(AnalysisError, match="cannot be recorded"):
        canonical_json({"p": value})


def test_hashes_that_name_recorded_values_stay_the_same() -> None:
    protocol = Protocol(
        protocol_id="p",
        learner="learner-ü",
        name=None,
        design="ABAB",
        primary_outcome="score",
        starts_us=1,
        ends_us=None,
        plan=None,
        deviations=None,
    )
    phase = Phase(
        phase_id="f",
        label="ä",
        type="baseline",
        starts_us=1,
        ends_us=2,
        planned_days=1,
        parameters={"a": 0.1},
        seed=None,
    )
    extract = Extract(
        outcome="score",
        protocol=protocol,
        phases=[phase],
        times_us=[1, 2, 3],
        values=[0.1, NAN, None],
        labels=["x", None, "y"],
    )
    training = TrainingData(
        outcome="pünkte",
        features=["a"],
        left_out={"b": "ß"},
        available=3,
        learners=["learner-1"],
        times_us=[1, 2],
        scores=[1.5, 2.0],
        rows=[[0.1], [None]],
    )
    columns = (Column("id", "text", "VARCHAR"), Column("straße", "numeric", "DOUBLE", nullable=False, detail="x"))
    table = SourceTable(EVENTS, "public.events", columns, {"id": "id"})
    states = {"2025-02": State(3, "77"), "2025-01": State(1, "-5")}

    assert extract.sha256 == "a7b19cb37ac70d6392f79ba31d10c9b7a79e27c87ddf5ca3c3fbca2e68868cee"
    assert training.sha256 == "4850fc622ccfd7b39aeb99811fd96d721f3f81c76f6fae888ab9e98b408b8a63"
    assert (
        sha256_hex(canonical_json({"b": [1, None, 0.1], "ä": "ß"}))
        == "4b28d0eef7a4bcf2855c2b46fb46e81903b41f91cb0ed480b127a1c72e36ee37"
    )
    assert table.schema_sha256 == "5b46420e8889424f1f7107448b000af19364ce93d97438b0679d8b85ba9147a5"
    assert state_sha256("i", "s", states) == "b5f4d8b8832d69e579c50bedf251af09e4ace83a8f9b35b28ff54987dd8bfa1b"
