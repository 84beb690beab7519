"""The provenance record of one analysis, and its one canonical text.

MLflow's copy can be edited, so the hash of this text is what the other locations are compared with.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import JsonValue, ValidationError

from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.errors import AnalysisError
from americano_pipelines.mlflow_store.artifacts import Artifact


class Identity(FrozenModel):
    """Which analysis this is, of which protocol, who asked for it and when it ran (ISO 8601, UTC)."""

    analysis: str
    analysis_version: str
    analysis_run_id: str | None
    protocol_id: str | None
    actor: str
    started_at: str
    ended_at: str


class CompliancePart(FrozenModel):
    """Whether it is the planned analysis: see `analysis/preregistration.py`.

    Attributes:
        planned: it is.
        reasons: what makes it exploratory.
        earlier_runs: analyses of the protocol that gave a result before.
        unrecorded_runs: analyses of it that ended without a record before.
        plan_over: whether the plan was over at the instant of the data.
    """

    planned: bool
    reasons: list[str]
    earlier_runs: int
    unrecorded_runs: int
    plan_over: bool


class Logged(FrozenModel):
    """What was written to the MLflow run, where it stays editable; the tag with this record's own hash left out.

    Attributes:
        params: name to text.
        metrics: name to (step, value) in the order they were logged; none where the number is undefined, which older
            records leave out.
        tags: name to text, with those in which MLflow keeps the run's name and the run it is nested in; older records
            have only our own.
    """

    params: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]]
    tags: dict[str, str]


class CodePart(FrozenModel):
    """The code: see `capture.py`."""

    commit: str
    dirty: bool | None
    repository: str
    diff_sha256: str
    modules_sha256: str
    modules: dict[str, str]


class Input(FrozenModel):
    """One input: an asset of a published snapshot, and what was taken from it.

    Attributes:
        asset: its key.
        data_version: its data version in that snapshot.
        snapshot_id: the snapshot.
        snapshot_sha256: hash of its file.
        instant: the instant of the source it holds; of files made by others, the one to which they are known.
        schema_sha256: hash of the table's columns.
        rows: rows taken.
        time_range: first and last time among them, ISO 8601, None when there are none.
        query: the statement, with pseudonyms for what was bound.
        exclusions: what was left out, by reason, with counts.
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


def canonical(value: Any) -> bytes:  # noqa: ANN401 - anything that JSON holds
    """The one text of a JSON value: sorted keys, no spaces, floats as Python writes them, no NaN.

    Raises:
        AnalysisError: it holds NaN or an infinity, which JSON has no words for; an undefined number is null.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise AnalysisError(f"a result cannot be recorded: {error}") from None
    return text.encode()


def sha256_of(value: Any) -> str:  # noqa: ANN401 - anything that JSON holds
    """Hash of a JSON value's canonical text, as 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


class Record(FrozenModel):
    """Everything there is to say about one analysis.

    Attributes:
        version: of this format.
        identity: which analysis.
        code: what ran.
        inputs: what it read.
        extract_sha256: hash of the exact input, see `analysis/extract.py`.
        protocol_sha256: hash of the protocol as it was, None when the analysis is of none.
        phases_sha256: hash of its phases as they were, likewise.
        dvc_lock_sha256: hash of dvc.lock, None when there is none.
        environment: Python, platform, packages, hash of the lock file.
        config: the resolved configuration.
        seed: seed of the analysis's own random numbers, None when it draws none.
        generator: their generator.
        upstream: asset key to its code and data version, as Dagster has them.
        orchestrator: Dagster run, asset key, partition.
        tracking: MLflow's address without secrets, experiment, run.
        standing: whether it is the planned analysis, None for one that no protocol plans.
        sentence: what came out, for people.
        verdict: the verdict's state, None for an analysis that judges nothing.
        results: all of it.
        logged: what was written to the MLflow run.
        artifacts: path among the MLflow run's artifacts to hash and size; this record itself left out.
        not_captured: what could not be found out, with the reason.
    """

    version: Literal[1] = 1
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
    standing: CompliancePart | None
    sentence: str
    verdict: str | None
    results: dict[str, JsonValue]
    logged: Logged
    artifacts: dict[str, Artifact]
    not_captured: dict[str, str]

    def canonical(self) -> bytes:
        """The record's one text."""
        return canonical(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, text: bytes) -> "Record":
        """The record of a text.

        Raises:
            AnalysisError: it is none of this version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise AnalysisError(f"this is no provenance record of version 1: {where}: {first['msg']}") from None

    @property
    def sha256(self) -> str:
        """Hash of that text: the record's name."""
        return hashlib.sha256(self.canonical()).hexdigest()
