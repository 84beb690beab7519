"""Write a recorded analysis into its row of the app, or create the row (`americano link`)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from americano_pipelines.app_database import statements
from americano_pipelines.app_database.column_values import SUMMARY
from americano_pipelines.app_database.connection import retried
from americano_pipelines.app_database.matching import RowMatcher, row_matcher
from americano_pipelines.errors import AppRowError
from americano_pipelines.mlflow_store.artifacts import MlflowRun
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.provenance.archive import confirming_run
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import find_records
from americano_pipelines.provenance.record_lookup import find_record
from americano_pipelines.settings import DataFolder, PostgresTarget, Settings


def complete(target: PostgresTarget, analysis_run_id: str, record: Record) -> list[str]:
    """Write a recorded analysis into its row.

    Returns:
        The columns that were written.

    Raises:
        RowOwnershipError: the row does not exist, or does not belong to the record's Dagster run.
        AppRowError: Postgres refuses the values; TransientAppRowError: the app's database cannot be reached.
    """
    dagster_run_id = str(record.orchestrator["dagster_run_id"])
    return statements.complete(target, analysis_run_id, dagster_run_id, row_values(record))


def row_values(record: Record) -> dict[str, Any]:
    """The values of a recorded analysis for its row, by the app's column names."""
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
        "startedAt": _app_timestamp(started),
        "completedAt": _app_timestamp(ended),
        "durationSeconds": round((ended - started).total_seconds()),
        "errorMessage": None,
    }


def _app_timestamp(time: datetime) -> datetime:
    """Convert a time to the form of the app's columns: UTC without a time zone."""
    return time.astimezone(UTC).replace(tzinfo=None)


def _sentence(record: Record) -> str:
    """The result in a sentence; an exploratory one always says that it is exploratory."""
    compliance = record.standing
    return record.sentence if compliance is None or compliance.planned else record.sentence_with_compliance


@dataclass(frozen=True)
class LinkedRow:
    """A row that shows a recorded analysis.

    Attributes:
        analysis_run_id: the row.
        created: whether the row is new.
        sha256: hash of the record.
        columns: the columns that were written.
    """

    analysis_run_id: str
    created: bool
    sha256: str
    columns: tuple[str, ...]


def link_record(settings: Settings, target: PostgresTarget, name: str) -> LinkedRow:
    """Write a recorded analysis into its row; create a row where it has none and the app's enum has its type.

    Args:
        settings: the settings, for the archive and MLflow.
        target: the app's database.
        name: a name of the record, as `provenance.record_lookup.find_record` takes it.

    Raises:
        AnalysisError: no record has this name; TamperedError: the record was changed.
        TrackingError: MLflow does not answer.
        AppRowError: the record is incomplete; or the row shows a later analysis, belongs to another run or requests
            another analysis; or no row can be created. TransientAppRowError: the app's database cannot be reached.
    """
    sha256, record = find_record(settings.paths, name)
    run = confirming_run(open_store(settings), sha256, record)
    if run is None:
        raise AppRowError(
            f"record {sha256[:12]} is in the archive, but its MLflow run {record.tracking['run_id']} does not have its "
            "hash: the analysis ended before all was recorded, or the run was changed; `americano verify` says"
        )
    row_id = record.identity.analysis_run_id
    matcher = row_matcher(record.identity.protocol_id, record.identity.analysis, record.config)
    created = row_id is None
    if row_id is None:
        row_id = _create(target, record, matcher, run)
    else:
        _check_last(settings.paths, row_id, record)
        _check_request(target, row_id, matcher)
    return LinkedRow(row_id, created, sha256, tuple(complete(target, row_id, record)))


def _check_last(paths: DataFolder, row_id: str, record: Record) -> None:
    for sha256, other in find_records(paths, "analysis_run_id", row_id):
        if other.identity.ended_at > record.identity.ended_at:
            raise AppRowError(
                f"row {row_id} was carried out again after this, at {other.identity.ended_at} (record {sha256[:12]}); "
                "link that one"
            )


def _check_request(target: PostgresTarget, row_id: str, matcher: RowMatcher) -> None:
    row = retried(statements.read_row)(target, row_id)
    if row is not None:
        matcher.check(row_id, row["protocolId"], row["analysisType"])


def _create(target: PostgresTarget, record: Record, matcher: RowMatcher, run: MlflowRun) -> str:
    if matcher.app_type is None or matcher.protocol_id is None:
        raise AppRowError(
            f"the app's AnalysisType has no value for this analysis ({record.identity.analysis}), so no row can be "
            "created; the analysis stays recorded in MLflow and in the archive"
        )
    return statements.create(
        target,
        str(record.orchestrator["dagster_run_id"]),
        str(record.orchestrator["asset_key"]),
        matcher.protocol_id,
        matcher.app_type,
        str(run.run.info.run_name),
        record.config,
    )
