"""Write values as the columns of the app's table hold them: ids, enum labels, JSON, lengths, defaults."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import AppRowError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table

SUMMARY = "resultsSummary"
# A row without its type or status would be wrong, so these are checked instead of left out.
_LABELLED = ("analysisType", "status")
_MAX_ERROR_CHARACTERS = 4000
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_CUID_DIGITS = 24


def column_assignments(table: "Table", values: Mapping[str, Any]) -> dict[str, Any]:
    """Select the values that the table has a column for, as SQLAlchemy binds them.

    Args:
        table: the app's table.
        values: column to value or SQL expression. None means the column's default; it is left out where the column
            has no default and may not be null.

    Raises:
        AppRowError: the app's enum has no such status or type.
    """
    from sqlalchemy import String, literal_column

    for name in _LABELLED:
        if name in values:
            check_label(table, name, values[name])
    assigned: dict[str, Any] = {}
    for name, value in values.items():
        if name not in table.c:
            continue
        stored = storable(value)
        if value is not None:
            is_text = isinstance(table.c[name].type, String)
            assigned[name] = json.dumps(stored) if is_text and isinstance(stored, dict | list) else stored
        elif name not in required_columns(table):
            assigned[name] = literal_column("DEFAULT")
    return assigned


def new_row_values(
    analysis_run_id: str,
    protocol_id: str,
    app_type: str,
    run_name: str,
    parameters: Mapping[str, Any],
    *,
    summary: Mapping[str, Any],
    status: str,
) -> dict[str, Any]:
    """The values of a new row, by the app's names.

    Args:
        analysis_run_id: its id.
        protocol_id: its protocol.
        app_type: the analysis, as a value of the app's enum AnalysisType.
        run_name: its name, for people.
        parameters: the parameters of the analysis.
        summary: the value of resultsSummary.
        status: a value of the app's enum of statuses.
    """
    from sqlalchemy import func

    return {
        "id": analysis_run_id,
        "protocolId": protocol_id,
        "runName": run_name,
        "analysisType": app_type,
        "codeCommitHash": "unknown",
        "dataVersionHash": "unknown",
        "inputParams": parameters,
        "artifactPaths": [],
        SUMMARY: summary,
        "status": status,
        "startedAt": func.now(),
    }


@contextmanager
def known_protocol(refusal: AppRowError) -> Iterator[None]:
    """Raise an error of ours where the app does not have the protocol of a row that the block writes."""
    from psycopg2.errors import ForeignKeyViolation
    from sqlalchemy.exc import IntegrityError

    try:
        yield
    except IntegrityError as error:
        if not isinstance(error.orig, ForeignKeyViolation):
            raise
        raise refusal from None


def required_columns(table: "Table") -> list[str]:
    """The columns that may not be null and have no default."""
    return [column.name for column in table.columns if not column.nullable and column.server_default is None]


def check_label(table: "Table", column: str, label: str) -> None:
    """Check that an enum column has a label; a column of plain text takes any.

    Raises:
        AppRowError: it has not; the message lists the labels.
    """
    from sqlalchemy import Enum

    kind = table.c[column].type
    if isinstance(kind, Enum) and label not in kind.enums:
        raise AppRowError(f"the app's {column} has no {label!r} (it has {', '.join(kind.enums)})")


def is_json(table: "Table", column: str) -> bool:
    """Whether the table has the column, and it holds JSON."""
    from sqlalchemy import JSON

    return column in table.c and isinstance(table.c[column].type, JSON)


def owned_by(table: "Table", dagster_run_id: str) -> "ColumnElement[bool]":
    """The condition that a row names a Dagster run as its owner; false in a table without a JSON summary."""
    from sqlalchemy import false

    if not is_json(table, SUMMARY):
        return false()
    owned: ColumnElement[bool] = table.c[SUMMARY]["dagster_run_id"].astext == dagster_run_id
    return owned


def error_text(table: "Table", text: str) -> str:
    """Cut an error's text to what its column holds, and to 4,000 characters in any case."""
    from sqlalchemy import String

    kind = table.c["errorMessage"].type if "errorMessage" in table.c else None
    limit = kind.length if isinstance(kind, String) else None
    max_length = min(_MAX_ERROR_CHARACTERS, limit or _MAX_ERROR_CHARACTERS)
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def derived_row_id(dagster_run_id: str, asset_key: str, partition: str | None) -> str:
    """The id of a row that `create` inserts, in the app's form: c and 24 characters of 0-9, a-z."""
    return row_id_from(f"{dagster_run_id} {asset_key} {partition}")


def row_id_from(text: str) -> str:
    """The id, in the app's form, that follows from a text."""
    number = int(sha256_hex(text.encode()), 16)
    digits = ""
    for _ in range(_CUID_DIGITS):
        number, digit = divmod(number, len(_BASE36))
        digits += _BASE36[digit]
    return f"c{digits}"


def storable(value: Any) -> Any:  # noqa: ANN401 - anything that JSON or a column holds
    """Replace the characters that Postgres cannot store: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return value


def decoded(text: str) -> Any:  # noqa: ANN401 - anything that JSON holds
    """Parse a JSON text; return the text itself where it is not JSON, or nested too deep for the parser."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
