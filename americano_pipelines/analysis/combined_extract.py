"""Describe and read the extract of a combined analysis: the plans of a group's protocols and their recorded tests."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import duckdb

from americano_pipelines.analysis.extract import TableRead
from americano_pipelines.analysis.group_extract import BaseGroupExtract, read_group
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.settings import Settings
from americano_pipelines.statistics.verdict import COMBINABLE_REASONS
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

TEST_KIND = "randomisation test"
# A changing criterion is tested by a distance, which has no side that is better.
CRITERION_KIND = "test of a changing criterion"

RecordsOf = Callable[[str], Sequence[tuple[str, Mapping[str, Any]]]]
"""The records of a protocol's tests by its id: hash, and the record as JSON with its standing's `label`."""


class RecordedTest(FrozenModel):
    """What a combined analysis takes from one record.

    Attributes:
        protocol_id: of which protocol.
        sha256: hash of the record.
        standing: `planned`, `declared` or `exploratory`.
        verdict: the verdict's state.
        why: its reason in a few words.
        kind: `TEST_KIND`, `CRITERION_KIND`, or that it was no randomization test.
        observed: the tested difference, in outcome units; None where nothing was tested.
        p: its p; likewise.
        p_higher: the one-sided p of an increase; likewise.
        p_lower: the one-sided p of a decrease; likewise.
        better: which way is better; None where that was not declared.
        effects: standardized differences, positive is better, of each pair of baseline and following treatment.
        errors: their standard errors.
        interventions: types of the treatment phases.
        shares_differ: whether the conditions lack values on unequal shares of their days.
    """

    protocol_id: str
    sha256: str
    standing: str
    verdict: str | None
    why: str
    kind: str
    observed: float | None
    p: float | None
    p_higher: float | None
    p_lower: float | None
    better: Literal["increase", "decrease"] | None
    effects: list[float]
    errors: list[float]
    interventions: list[str]
    shares_differ: bool

    def exclusion(self, include: Literal["planned", "declared"]) -> str | None:
        """Why it does not count, None where it counts.

        Args:
            include: `planned` tests alone, or `declared` ones too.
        """
        reasons = {
            f"it is {self.standing}, not planned": self.standing not in {"planned", include},
            "it tests a distance from criteria, of which no side is better": self.kind == CRITERION_KIND,
            "it made no randomization test": self.kind != TEST_KIND or self.p is None,
            "which way is better was not declared": self.better is None,
            # Whatever p is: leaving these out only where p rejects would choose by the result.
            "its conditions lack values on unequal shares of their days": self.shares_differ,
            f"it gave no verdict: {self.why}": self.verdict == "no verdict" and self.why not in COMBINABLE_REASONS,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


class CombinedExtract(BaseGroupExtract):
    """The exact input of a combined analysis: the protocols without events, and their recorded tests.

    Attributes:
        version: version of this format.
        tests: the records of their tests before this analysis, by protocol and time.
    """

    version: Literal[1] = 1
    tests: list[RecordedTest]

    def canonical(self) -> bytes:
        """The canonical text of these contents."""
        return canonical_json(self.model_dump())

    @classmethod
    def parse(cls, text: bytes) -> "CombinedExtract":
        """Parse a canonical text."""
        return cls.model_validate(json.loads(text))

    @property
    def outcomes(self) -> Sequence[float | None]:
        """None: the events are those of the records."""
        return ()

    def reads(self, document: SnapshotRecord) -> list[TableRead]:
        """The protocols and their phases."""
        return super().reads(document)[:2]

    def with_records(self, records_of: RecordsOf) -> "CombinedExtract":
        """The same with the tests of this outcome that records hold."""
        tests = [
            _test(extract.protocol.protocol_id, sha256, record)
            for extract in self.protocols
            for sha256, record in records_of(extract.protocol.protocol_id)
            if record["config"].get("outcome") in (None, extract.outcome)
        ]
        return self.model_copy(update={"tests": tests})

    def is_tested(self, protocol_id: str) -> bool:
        """Whether a test of a protocol is recorded, whatever its standing."""
        return any(test.protocol_id == protocol_id for test in self.tests)


def read_combined(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    document: SnapshotRecord,
    group: str,
    outcome: str | None,
) -> CombinedExtract:
    """Read the protocols of a group; arguments and errors as of `read_group`."""
    read = read_group(connection, settings, document, group, outcome, with_events=False)
    return CombinedExtract(
        group=read.group, outcome=read.outcome, learners=read.learners, protocols=read.protocols, tests=[]
    )


def _test(protocol_id: str, sha256: str, record: Mapping[str, Any]) -> RecordedTest:
    results = record["results"]
    test, effects = results.get("test") or {}, results.get("effects") or {}
    # Pairs of a baseline and the treatment after it share no day, so their errors are independent.
    standardized = [pair["smd_pooled"] for pair in effects.get("pairs", ()) if pair["into_treatment"]]
    complete = all(part is not None for part in standardized)
    return RecordedTest(
        protocol_id=protocol_id,
        sha256=sha256,
        standing=record["standing"]["label"],
        verdict=record["verdict"],
        why=str((results.get("verdict") or {}).get("why")),
        kind=CRITERION_KIND if "criteria lead to" in test else str(test.get("kind")),
        observed=test.get("observed"),
        p=test.get("p"),
        p_higher=test.get("p_higher"),
        p_lower=test.get("p_lower"),
        better=(results.get("declared improvement") or {}).get("better"),
        effects=[part["value"] for part in standardized] if complete else [],
        errors=[part["se"] for part in standardized] if complete else [],
        interventions=sorted({phase["type"] for phase in results["phases"] if phase["condition"] == "treatment"}),
        shares_differ=bool((results.get("missing days") or {}).get("shares differ")),
    )
