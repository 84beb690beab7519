"""Compare the app's row with the record, column by column: people read the row, not its hash."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from americano_pipelines.analysis.plan_compliance import PlanCompliance
from americano_pipelines.app_database.column_values import SUMMARY, decoded, storable
from americano_pipelines.app_database.matching import row_matcher
from americano_pipelines.app_database.recorded_rows import read_columns, rows_showing
from americano_pipelines.errors import AppRowError, TransientAppRowError
from americano_pipelines.provenance.app_link import row_values
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.verify.findings import Finding, Status, short
from americano_pipelines.provenance.verify.target import app_row_id
from americano_pipelines.settings import PostgresTarget

# The app's columns hold milliseconds.
_MILLISECOND = 0.001


def compare_columns(app: PostgresTarget | None, record: Record) -> Iterator[Finding]:
    """Compare every column that a recorded analysis fills; nothing without an app or without the row.

    The row must show this record: `hash_locations` says so.

    Raises:
        AppRowError: the app's database cannot be read; TransientAppRowError: it cannot be reached.
    """
    if app is None:
        return
    expected = _expected(record)
    row = read_columns(app, app_row_id(record), tuple(expected))
    if row is None:
        return
    for name, value in expected.items():
        what = f"column {name}"
        if name in row.unreadable:
            yield Finding("app row", what, Status.NOT_RECORDED, "the role may not read it")
        elif name in row.values and name == SUMMARY:
            yield from _summary(value, _document(row.values[name]))
        elif name in row.values:
            yield _compared(what, value, row.values[name])


def other_rows(app: PostgresTarget | None, sha256: str, record: Record) -> Iterator[Finding]:
    """Rows that show the record beside its own: whatever they say, no analysis wrote it. Nothing without an app.

    Raises:
        TransientAppRowError: the app's database cannot be reached.
    """
    if app is None:
        return
    try:
        rows = rows_showing(app, sha256, str(record.tracking["run_id"]))
    except TransientAppRowError:
        raise
    except AppRowError as error:
        yield Finding("app row", "other rows", Status.NOT_RECORDED, f"the role may not look for them: {error}")
        return
    for row in rows:
        if row != app_row_id(record):
            yield Finding("app row", f"row {row}", Status.DRIFT, "it shows this record, and is not the record's row")


def _expected(record: Record) -> dict[str, Any]:
    identity = record.identity
    matcher = row_matcher(identity.protocol_id, identity.analysis, record.config)
    requested = {"protocolId": matcher.protocol_id, "analysisType": matcher.app_type}
    return {name: value for name, value in requested.items() if value is not None} | row_values(record)


def _summary(expected: Mapping[str, Any], actual: Any) -> Iterator[Finding]:  # noqa: ANN401 - JSON
    if not isinstance(actual, dict):
        yield Finding("app row", f"column {SUMMARY}", Status.DRIFT, f"it holds {short(str(actual))}")
        return
    for name, value in expected.items():
        what = f"column {SUMMARY}.{name}"
        if name in actual:
            yield _compared(what, value, _with_later_fields(actual[name]) if name == "standing" else actual[name])
        else:
            yield Finding("app row", what, Status.MISSING, f"{short(str(value))} was written")
    for name in actual.keys() - expected.keys():
        yield Finding("app row", f"column {SUMMARY}.{name}", Status.EXTRA, short(str(actual[name])))


def _with_later_fields(standing: Any) -> Any:  # noqa: ANN401 - JSON
    """What a row says of the plan, with the fields that releases added since, as a record of then is read."""
    try:
        return PlanCompliance.model_validate(standing).model_dump(mode="json")
    except ValidationError:
        return standing


def _compared(what: str, expected: Any, actual: Any) -> Finding:  # noqa: ANN401 - values of any column
    if _same(storable(expected), actual):
        return Finding("app row", what, Status.MATCH)
    return Finding("app row", what, Status.DRIFT, f"recorded {short(str(expected))}, now {short(str(actual))}")


def _same(expected: Any, actual: Any) -> bool:  # noqa: ANN401 - values of any column
    if isinstance(expected, datetime) and isinstance(actual, datetime):
        plain = actual.astimezone(UTC).replace(tzinfo=None) if actual.tzinfo else actual
        return abs((plain - expected).total_seconds()) <= _MILLISECOND
    if isinstance(expected, dict | list):
        return bool(expected == _document(actual))
    if isinstance(expected, str):
        return actual is not None and str(actual) == expected
    return type(actual) is not bool and bool(actual == expected)


def _document(value: Any) -> Any:  # noqa: ANN401 - JSON, or a text of it in a table without columns of JSON
    return decoded(value) if isinstance(value, str) else value
