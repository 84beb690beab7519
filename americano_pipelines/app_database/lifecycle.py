"""Take a row of the app through its life: claim or create it, and fail it, with retries."""

from datetime import UTC, datetime
from typing import Any

from americano_pipelines.app_database import statements
from americano_pipelines.app_database.connection import SUMMARY, with_retries
from americano_pipelines.app_database.matching import Request, RowMatcher
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import AppRowError
from americano_pipelines.settings import PostgresTarget

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_CUID_DIGITS = 24


def claim(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, answer: RowMatcher) -> Request:
    """Take a registered row for a Dagster run that is to answer it, or again for the same one.

    Returns:
        What the row asks for.

    Raises:
        AppRowError: it is not pending, not there, or asks for something else, and is left as it is.
        TransientAppRowError: the app's database cannot be reached.
    """
    if (taken := with_retries(lambda: statements.claim(target, analysis_run_id, dagster_run_id, answer))) is not None:
        return taken
    row = with_retries(lambda: statements.read_row(target, analysis_run_id))
    if row is None:
        raise AppRowError(f"the app has no analysis run {analysis_run_id!r}: there is nothing to link to")
    raise AppRowError(
        f"analysis run {analysis_run_id!r} is {row['status']}, not PENDING: another worker has it, or it is done. "
        "Set it to PENDING to have it run again"
    )


def create(
    target: PostgresTarget, dagster_run_id: str, asset_key: str, protocol_id: str, app_type: str, run_name: str,
    parameters: dict[str, Any],
) -> str:  # fmt: skip
    """Make the row of an analysis that nobody had registered.

    Its id follows from the Dagster run, asset and protocol, in the app's form: trying again makes no second one.

    Returns:
        Its id.

    Raises:
        AppRowError: the app requires a value that there is none of; TransientAppRowError: it cannot be reached.
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
        "startedAt": app_timestamp(datetime.now(UTC).isoformat()),
    }
    with_retries(lambda: statements.create(target, analysis_run_id, values))
    return analysis_run_id


def fail(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, reason: str) -> bool:
    """Say in its row that an analysis failed, and why.

    Returns:
        Whether the row was still this run's, and RUNNING.

    Raises:
        AppRowError: the table cannot say whose the row is; TransientAppRowError: it cannot be reached.
    """
    return with_retries(lambda: statements.fail_orphaned_row(target, analysis_run_id, dagster_run_id, reason))


def row_id(dagster_run_id: str, asset_key: str, partition: str | None) -> str:
    """The id of the row of an analysis that nobody had registered, in the app's form: c and 24 of 0-9, a-z."""
    number = int(sha256_hex(f"{dagster_run_id} {asset_key} {partition}".encode()), 16)
    digits = ""
    for _ in range(_CUID_DIGITS):
        number, digit = divmod(number, len(_BASE36))
        digits += _BASE36[digit]
    return f"c{digits}"


def app_timestamp(at: str) -> datetime:
    """A time as the app's columns hold it: UTC, without saying so."""
    return datetime.fromisoformat(at).astimezone(UTC).replace(tzinfo=None)
