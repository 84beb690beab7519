"""Write a recorded analysis into its row of the app, or create the row (`americano link`)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from americano_pipelines.app_database import lifecycle, statements
from americano_pipelines.app_database.connection import SUMMARY, with_retries
from americano_pipelines.app_database.lifecycle import app_timestamp
from americano_pipelines.app_database.matching import RowMatcher, row_matcher
from americano_pipelines.errors import AppRowError
from americano_pipelines.mlflow_store.artifacts import MlflowRun
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.provenance.archive import confirming_run, find_record, records
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import PostgresTarget, Settings


def complete(target: PostgresTarget, analysis_run_id: str, record: Record) -> list[str]:
    """Write a recorded analysis into its row.

    Returns:
        The columns that were written.

    Raises:
        RowOwnershipError: the row is gone, or another run's by now.
        AppRowError: it cannot be written; TransientAppRowError: the app's database cannot be reached.
    """
    dagster_run_id = str(record.orchestrator["dagster_run_id"])
    return with_retries(lambda: statements.complete(target, analysis_run_id, dagster_run_id, row_values(record)))


def row_values(record: Record) -> dict[str, Any]:
    """What stands in the row of a recorded analysis, by the app's column names."""
    identity, run_id = record.identity, record.tracking["run_id"]
    started, ended = (datetime.fromisoformat(at) for at in (identity.started_at, identity.ended_at))
    return {
        "status": "COMPLETED",
        "mlflowRunId": run_id,
        "mlflowExperimentId": record.tracking["experiment_id"],
        "mlflowRunUrl": record.tracking["url"],
        "provenanceGitCommit": record.code.commit,
        "codeCommitHash": record.code.commit,
        "dvcLockSha256": record.dvc_lock_sha256,
        "dataVersionHash": record.extract_sha256,
        "inputParams": record.config,
        "artifactPaths": [f"runs:/{run_id}/{path}" for path in sorted(record.artifacts)],
        SUMMARY: {
            "sentence": _sentence(record),
            "verdict": record.verdict,
            "standing": record.standing.model_dump(mode="json") if record.standing else None,
            "numbers": {name: points[-1][1] for name, points in record.logged.metrics.items() if points},
            "provenance_sha256": record.sha256,
            "snapshot_ids": sorted({source.snapshot_id for source in record.inputs}),
            "mlflow_run_id": run_id,
            "dagster_run_id": record.orchestrator["dagster_run_id"],
        },
        "startedAt": app_timestamp(identity.started_at),
        "completedAt": app_timestamp(identity.ended_at),
        "durationSeconds": round((ended - started).total_seconds()),
        "errorMessage": None,
    }


def _sentence(record: Record) -> str:
    """What came out; an exploratory result is never told without saying that it is one."""
    compliance = record.standing
    if compliance is None or compliance.planned:
        return record.sentence
    return f"{record.sentence} {compliance.sentence}"


@dataclass(frozen=True)
class LinkedRow:
    """A link that is there now.

    Attributes:
        analysis_run_id: the row.
        made: whether the analysis had none before.
        sha256: hash of the record.
        columns: what was written.
    """

    analysis_run_id: str
    made: bool
    sha256: str
    columns: tuple[str, ...]


def link_record(settings: Settings, target: PostgresTarget, name: str) -> LinkedRow:
    """Write a recorded analysis into its row; one that has none gets one, if the app has a word for it.

    Args:
        settings: whose archive and MLflow.
        target: the app's database.
        name: as `provenance.archive.find_record` takes it.

    Raises:
        AnalysisError: there is no such record; TamperedError: it was changed.
        TrackingError: MLflow does not answer.
        AppRowError: it was not recorded to its end, the row shows a later analysis, is another run's or asks for
            something else, or none can be made; TransientAppRowError: the app's database cannot be reached.
    """
    sha256, record = find_record(settings, name)
    run = confirming_run(open_store(settings), sha256, record)
    if run is None:
        raise AppRowError(
            f"record {sha256[:12]} is in the archive, but its MLflow run {record.tracking['run_id']} does not have its "
            "hash: the analysis died before it was recorded to its end, or the run was changed; `americano verify` says"
        )
    row_id = record.identity.analysis_run_id
    answer = row_matcher(record.identity.protocol_id, record.identity.analysis, record.config)
    created = row_id is None
    if row_id is None:
        row_id = _create(target, record, answer, run)
    else:
        _check_last(settings, row_id, record)
        _check_fits(target, row_id, answer)
    return LinkedRow(row_id, created, sha256, tuple(complete(target, row_id, record)))


def _check_last(settings: Settings, row_id: str, record: Record) -> None:
    for sha256, other in records(settings):
        if other.identity.analysis_run_id == row_id and other.identity.ended_at > record.identity.ended_at:
            raise AppRowError(
                f"row {row_id} was carried out again after this, at {other.identity.ended_at} (record {sha256[:12]}); "
                "link that one"
            )


def _check_fits(target: PostgresTarget, row_id: str, answer: RowMatcher) -> None:
    row = with_retries(lambda: statements.read_row(target, row_id))
    if row is not None:
        answer.check(row_id, row["protocolId"], row["analysisType"])


def _create(target: PostgresTarget, record: Record, answer: RowMatcher, run: MlflowRun) -> str:
    if answer.app_type is None or answer.protocol_id is None:
        raise AppRowError(
            f"the app has no word for this analysis ({record.identity.analysis}), so no row can be made for it; it "
            "stays recorded in MLflow and in the archive"
        )
    by = record.orchestrator
    return lifecycle.create(
        target,
        str(by["dagster_run_id"]),
        str(by["asset_key"]),
        answer.protocol_id,
        answer.app_type,
        str(run.run.info.run_name),
        dict(record.config),
    )
