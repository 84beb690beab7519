"""The app's row of an analysis through its life: taken or made, completed from the record, or failed.

Here belongs which values stand in a row when. How they are written is `requests.py`, `link.py` and `failing.py`; that
a row is looked after although its process died is `defs/row_outcome.py`.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any

from americano_pipelines.analysis.standing import Standing
from americano_pipelines.errors import LinkError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.tracking import failing, link, requests
from americano_pipelines.tracking.answering import Answer
from americano_pipelines.tracking.app_connection import patiently
from americano_pipelines.tracking.app_table import SUMMARY
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.requests import Request

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_CUID_DIGITS = 24


def take(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, answer: Answer) -> Request:
    """Take a registered row for a Dagster run that is to answer it, or again for the same one.

    Returns:
        What the row asks for.

    Raises:
        LinkError: it is not pending, not there, or asks for something else, and is left as it is.
        TransientLinkError: the app's database cannot be reached.
    """
    if (taken := patiently(lambda: requests.claim(target, analysis_run_id, dagster_run_id, answer))) is not None:
        return taken
    found = patiently(lambda: link.read_row(target, analysis_run_id))
    if found is None:
        raise LinkError(f"the app has no analysis run {analysis_run_id!r}: there is nothing to link to")
    raise LinkError(
        f"analysis run {analysis_run_id!r} is {found['status']}, not PENDING: another worker has it, or it is done. "
        "Set it to PENDING to have it run again"
    )


def register(
    target: PostgresTarget, dagster_run_id: str, asset_key: str, protocol_id: str, app_type: str, run_name: str,
    parameters: dict[str, Any],
) -> str:  # fmt: skip
    """Make the row of an analysis that nobody had registered.

    Its id follows from the Dagster run, asset and protocol, in the app's form: trying again makes no second one.

    Returns:
        Its id.

    Raises:
        LinkError: the app requires a value that there is none of; TransientLinkError: it cannot be reached.
    """
    analysis_run_id = row_id(dagster_run_id, asset_key, protocol_id)
    values = {
        "protocolId": protocol_id,
        "runName": run_name,
        "analysisType": app_type,
        "codeCommitHash": "unknown",
        "dataVersionHash": "unknown",
        "inputParams": parameters,
        "artifactPaths": [],
        SUMMARY: {"dagster_run_id": dagster_run_id},
        "status": "RUNNING",
        "startedAt": _timestamp(datetime.now(UTC).isoformat()),
    }
    patiently(lambda: link.make(target, analysis_run_id, values))
    return analysis_run_id


def complete(target: PostgresTarget, analysis_run_id: str, record: Record) -> list[str]:
    """Write a recorded analysis into its row.

    Returns:
        The columns that were written.

    Raises:
        RowNotOursError: the row is gone, or another run's by now.
        LinkError: it cannot be written; TransientLinkError: the app's database cannot be reached.
    """
    dagster_run_id = str(record.orchestrator["dagster_run_id"])
    return patiently(lambda: link.write(target, analysis_run_id, dagster_run_id, row_values(record)))


def fail(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, reason: str) -> bool:
    """Say in its row that an analysis failed, and why.

    Returns:
        Whether the row was still this run's, and RUNNING.

    Raises:
        LinkError: the table cannot say whose the row is; TransientLinkError: it cannot be reached.
    """
    return patiently(lambda: failing.abandon(target, analysis_run_id, dagster_run_id, reason))


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
            "snapshot_ids": sorted({one.snapshot_id for one in record.inputs}),
            "mlflow_run_id": run_id,
            "dagster_run_id": record.orchestrator["dagster_run_id"],
        },
        "startedAt": _timestamp(identity.started_at),
        "completedAt": _timestamp(identity.ended_at),
        "durationSeconds": round((ended - started).total_seconds()),
        "errorMessage": None,
    }


def _sentence(record: Record) -> str:
    """What came out; an exploratory result is never told without saying that it is one."""
    stands = record.standing
    if stands is None or stands.planned:
        return record.sentence
    return f"{record.sentence} {Standing(**stands.model_dump(exclude={'plan_over'})).sentence}"


def row_id(dagster_run_id: str, asset_key: str, partition: str | None) -> str:
    """The id of the row of an analysis that nobody had registered, in the app's form: c and 24 of 0-9, a-z."""
    number = int(hashlib.sha256(f"{dagster_run_id} {asset_key} {partition}".encode()).hexdigest(), 16)
    digits = ""
    for _ in range(_CUID_DIGITS):
        number, digit = divmod(number, len(_BASE36))
        digits += _BASE36[digit]
    return f"c{digits}"


def _timestamp(at: str) -> datetime:
    """A time as the app's columns hold it: UTC, without saying so."""
    return datetime.fromisoformat(at).astimezone(UTC).replace(tzinfo=None)
