"""The parts of a provenance record: identity, standing, what was logged, code, inputs, artifacts.

Here belong their shapes. The whole, and its one text, is `record.py`.
"""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Anything in a record: it does not change, and has no fields but these."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Identity(Part):
    """Which analysis this is, of which protocol, who asked for it and when it ran (ISO 8601, UTC)."""

    analysis: str
    analysis_version: str
    analysis_run_id: str | None
    protocol_id: str | None
    actor: str
    started_at: str
    ended_at: str


class StandingPart(Part):
    """Whether it is the planned analysis: see `analysis/standing.py`.

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


class Logged(Part):
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


class CodePart(Part):
    """The code: see `tracking/code.py`."""

    commit: str
    dirty: bool | None
    repository: str
    diff_sha256: str
    modules_sha256: str
    modules: dict[str, str]


class Input(Part):
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


class Artifact(Part):
    """A file that an analysis made."""

    sha256: str
    bytes: int
