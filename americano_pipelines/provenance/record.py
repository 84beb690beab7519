"""The provenance record of one analysis, and its canonical text.

MLflow's copy can be edited, so all other locations keep the hash of this text.
"""

from typing import Literal

from pydantic import Field, JsonValue, ValidationError

from americano_pipelines.analysis.group_extract import group_title
from americano_pipelines.analysis.plan_compliance import PlanCompliance
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.errors import AnalysisError
from americano_pipelines.mlflow_store.artifacts import Artifact


class Identity(FrozenModel):
    """Which analysis this is, of which protocol or group, what launched it and when it ran (ISO 8601, UTC).

    The record of an analysis of a protocol or of all learners has no `group`.
    """

    analysis: str
    analysis_version: str
    analysis_run_id: str | None
    protocol_id: str | None
    actor: str
    started_at: str
    ended_at: str
    group: str | None = None

    @property
    def partition(self) -> str | None:
        """The protocol's id or the group's key, None for an analysis of all learners."""
        return self.protocol_id or self.group

    @property
    def subject(self) -> str | None:
        """What it is of, for people who know protocols by id; None for an analysis of all learners."""
        if self.group is not None:
            return group_title(self.group)
        return None if self.protocol_id is None else f"protocol {self.protocol_id}"


class Logged(FrozenModel):
    """What was written to the MLflow run, where it stays editable; without the tag that has this record's own hash.

    Attributes:
        params: name to text.
        metrics: name to (step, value) in the order they were logged; no points where the number is undefined, which
            older records leave out.
        tags: name to text, with the tags in which MLflow keeps the run's name and its parent run; older records lack
            these two, and the tags `protocol`, `verdict` and `standing`.
    """

    params: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]]
    tags: dict[str, str]


class CodePart(FrozenModel):
    """The code of an analysis: see `provenance/capture.py`."""

    commit: str
    dirty: bool | None
    repository: str
    diff_sha256: str
    modules_sha256: str
    modules: dict[str, str]


class Input(FrozenModel):
    """An input: an asset of a published snapshot, and what was read from it.

    Attributes:
        asset: the asset's key.
        data_version: its data version in that snapshot.
        snapshot_id: the snapshot.
        snapshot_sha256: hash of the snapshot's file.
        instant: the instant of the source that the asset holds; for external files the instant up to which they
            are known.
        schema_sha256: hash of the table's columns.
        rows: rows read.
        time_range: first and last time of the rows, ISO 8601, None without any.
        query: the statement, with pseudonyms for what was bound.
        exclusions: how many days and events were read and left out, by reason.
    """

    asset: str
    data_version: str
    snapshot_id: str
    snapshot_sha256: str
    instant: str
    schema_sha256: str
    rows: int
    time_range: tuple[str, str] | None
    query: str
    exclusions: dict[str, int]


class ExpiryHead(FrozenModel):
    """The last card of the snapshots that had expired, see `provenance/snapshot_expiry.py`."""

    number: int = Field(ge=1)
    sha256: str


class ChainLink(FrozenModel):
    """The place of a record among all records of its archive, see `provenance/chain.py`.

    Attributes:
        number: from 1 on.
        previous: hash of the record before it, None for the first.
        earlier: of the first, hashes of all records from before records were chained; else empty.
        expiry: the last card of an expired snapshot, None before there was one. Older records lack it.
        listing: hash over which analysis of what each record before it is, so that an edited index of the records
            shows. Older records lack it.
    """

    number: int = Field(ge=1)
    previous: str | None
    earlier: list[str]
    expiry: ExpiryHead | None = None
    listing: str | None = None


class Record(FrozenModel):
    """The provenance record of one analysis.

    Attributes:
        version: version of this format. Records of version 1 have no `chain` and no `module_bundle_sha256`; they
            stay valid, and are written as they were.
        identity: which analysis.
        code: the code that ran.
        inputs: the assets that it read.
        extract_sha256: hash of the exact input, see `analysis/extract.py`.
        protocol_sha256: hash of the protocol as it was, None for an analysis of all learners.
        phases_sha256: hash of its phases as they were, None for an analysis of all learners.
        dvc_lock_sha256: hash of dvc.lock, None without that file.
        environment: Python, platform, packages, hash of the lock file.
        config: the resolved parameters.
        seed: seed of the analysis's own random numbers, None when it draws none.
        generator: their generator.
        upstream: asset key to its code and data version, as Dagster has them.
        orchestrator: Dagster run, asset key, partition.
        tracking: MLflow's address without secrets, experiment, run.
        standing: whether it is the planned analysis, None for one that no protocol plans.
        sentence: the result, for people.
        verdict: the verdict's state, None for an analysis that judges nothing.
        results: the whole result.
        logged: what was written to the MLflow run.
        artifacts: path among the MLflow run's artifacts to hash and size; without this record itself.
        not_captured: what could not be captured, with the reason.
        chain: its place among the records.
        module_bundle_sha256: hash of the kept modules that it ran with, see `provenance/module_bundle.py`.
    """

    version: Literal[1, 2] = 2
    identity: Identity
    code: CodePart
    inputs: list[Input]
    extract_sha256: str
    protocol_sha256: str | None
    phases_sha256: str | None
    dvc_lock_sha256: str | None
    environment: dict[str, JsonValue]
    config: dict[str, JsonValue]
    seed: int | None
    generator: str | None
    upstream: dict[str, dict[str, str | None]]
    orchestrator: dict[str, str | None]
    tracking: dict[str, str | None]
    standing: PlanCompliance | None
    sentence: str
    verdict: str | None
    results: dict[str, JsonValue]
    logged: Logged
    artifacts: dict[str, Artifact]
    not_captured: dict[str, str]
    chain: ChainLink | None = None
    module_bundle_sha256: str | None = None

    def canonical(self) -> bytes:
        """The record's canonical text, without fields that its release did not know.

        Raises:
            AnalysisError: it holds NaN or an infinity.
        """
        return canonical_json({"version": self.version, **self.model_dump(mode="json", exclude_unset=True)})

    @classmethod
    def parse(cls, text: bytes) -> "Record":
        """Parse a text.

        Raises:
            AnalysisError: the text is no record of this version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise AnalysisError(f"this is no provenance record of version 1 or 2: {where}: {first['msg']}") from None

    @property
    def sentence_with_compliance(self) -> str:
        """The result in words, and whether it is the planned analysis where a protocol plans one."""
        return f"{self.sentence} {self.standing.sentence}" if self.standing else self.sentence

    @property
    def description(self) -> str:
        """The result in words, as MLflow's page shows it; one that is not planned says what it is."""
        label = None if self.standing is None else self.standing.label
        return self.sentence if label in (None, "planned") else f"{self.sentence} This result is {label}."

    @property
    def sha256(self) -> str:
        """Hash of the canonical text; the record's file is named by it."""
        return sha256_hex(self.canonical())
