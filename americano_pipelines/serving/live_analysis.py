"""Read the current state of an analysis from the app's row, the record, the Dagster run and the published file."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import orjson
import pyarrow as pa
from starlette.responses import Response

from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.app_database.requested_rows import RequestProgress, read_progress
from americano_pipelines.defs.run_tags import REQUEST_TAG
from americano_pipelines.errors import AppRowError
from americano_pipelines.provenance.record_index import IndexEntry, find_entries
from americano_pipelines.provenance.request_cards import RequestCard, read_card
from americano_pipelines.serving.analysis_trigger import AnalysisTrigger, app_problem, dagster_problem
from americano_pipelines.serving.answer_formats import Format, encoder
from americano_pipelines.serving.answer_headers import SNAPSHOT_HEADER, content_type
from americano_pipelines.serving.answer_tables import ANALYSIS, PROTOCOL_PLAN, SCOPE
from americano_pipelines.serving.dagster_client import COMPLETED, FAILED, PENDING, DagsterUnavailableError
from americano_pipelines.serving.principals import Principal
from americano_pipelines.serving.problem_details import not_found
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.record_listing import sentence_of, type_in_tables
from americano_pipelines.serving.route_parameters import AnswerOptions
from americano_pipelines.serving.service import Service
from americano_pipelines.settings import DataFolder, PostgresTarget, Settings

_TYPES: dict[str, pa.DataType] = {"number": pa.float64(), "date-time": pa.timestamp("us")}
_RESULTS = ("verdict", "standing", "effect", "interval_low", "interval_high", "p", "sentence")
_REQUEST_FIELDS = ("analysis_run_id", "run_name", "analysis_type", "parameters")
_RECORD_FIELDS = (*_RESULTS, "mlflow_run_id", "record_sha256")


@dataclass(frozen=True)
class LiveAnalysis:
    """An analysis as it is now.

    Attributes:
        table: one row with the columns of the table `analysis`.
    """

    table: pa.Table

    @property
    def values(self) -> dict[str, Any]:
        """Its columns; times without a zone are UTC."""
        row: dict[str, Any] = self.table.to_pylist()[0]
        return row

    def encoded(self, snapshot: OpenSnapshot, format_: Format) -> bytes:
        """The answer in a format."""
        head = {"snapshot": snapshot.record.snapshot_id, "instant": snapshot.record.instant}
        writer = encoder(format_, ANALYSIS.columns, head)
        batches = self.table.combine_chunks().to_batches()
        return b"".join([writer.begin(self.table.schema), *map(writer.rows, batches), writer.end(None)])


async def live_answer(service: Service, principal: Principal, name: str, options: AnswerOptions) -> Response:
    """The answer about an analysis as it is now; it must not be cached. Arguments and errors as `read_live`."""
    snapshot = await service.lease()
    try:
        reading = service.trigger.threads.submit(
            read_live, service.settings, service.trigger, snapshot, principal, name
        )
        live = await asyncio.wrap_future(reading)
        body = live.encoded(snapshot, options.format)
    finally:
        service.pool.release(snapshot)
    headers = {
        SNAPSHOT_HEADER: snapshot.record.snapshot_id,
        "content-type": content_type(options.format),
        "cache-control": "no-store",
    }
    return Response(body, headers=headers)


def read_live(
    settings: Settings, trigger: AnalysisTrigger, snapshot: OpenSnapshot, principal: Principal, name: str
) -> LiveAnalysis:
    """Read how far an analysis is.

    Args:
        settings: the app's database and the archive.
        trigger: reaches Dagster.
        snapshot: the published file, which says whose a protocol is.
        principal: the requesting principal.
        name: id of the analysis run, or of the request, or hash of the record.

    Raises:
        Problem: 404, there is none or the principal may not see it; 502, the app's database refuses; 503, the app's
            database or Dagster does not answer, and nothing else knows the analysis.
    """
    cursor = snapshot.cursor()
    try:
        published = _published(cursor, snapshot, principal, name)
        card = read_card(settings.paths, name)
        row = _row(settings.app, name, is_known=published is not None)
        entry = _entry(settings.paths, name, card, row)
        protocol_id = _protocol_of(row, published, entry, card)
        plan = _plan(cursor, snapshot, principal, protocol_id)
    finally:
        cursor.close()
    if plan is None:
        raise not_found("analysis")
    facts: dict[str, Any] = {}
    if row is not None:
        facts = _facts_of_row(name, row, entry, published)
    elif entry is not None and entry.protocol_id == protocol_id and not _shown(published, "record_sha256"):
        facts = _facts_of_record(entry, card)
        if published is not None:
            facts = {key: value for key, value in facts.items() if key not in _REQUEST_FIELDS}
    elif card is not None and published is None:
        facts = _facts_of_request(trigger, card)
    if published is None:
        facts = {**plan, **facts}
        published = _empty()
    return LiveAnalysis(_with_facts(published, facts))


def _published(
    cursor: duckdb.DuckDBPyConnection, snapshot: OpenSnapshot, principal: Principal, name: str
) -> pa.Table | None:
    """The row of the published file, None where it has none that is visible."""
    statement = ANALYSIS.statements[0]
    if not all(f"research.{need}" in snapshot.relations for need in statement.needs):
        return None
    table = cursor.execute(statement.text, {SCOPE: principal.visible, "analysis": name}).to_arrow_table()
    return table if table.num_rows else None


def _shown(published: pa.Table | None, column: str) -> str | None:
    """A text of the published file's row; None without a row."""
    value: str | None = published.column(column)[0].as_py() if published is not None else None
    return value


def _row(app: PostgresTarget | None, name: str, *, is_known: bool) -> RequestProgress | None:
    """The app's row as it is; None without an app, and where the app is away and the file has the row."""
    if app is None or "\0" in name:
        return None
    try:
        return read_progress(app, name)
    except AppRowError as error:
        if is_known:
            return None
        app_problem(error)


def _entry(paths: DataFolder, name: str, card: RequestCard | None, row: RequestProgress | None) -> IndexEntry | None:
    """The newest intact record: of the row, of the request, or of this hash."""
    if row is not None:
        entries = find_entries(paths, "sha256", row.record_sha256) if row.record_sha256 is not None else []
    else:
        entries = find_entries(paths, "sha256", name) or find_entries(paths, "analysis_run_id", name)
        if not entries and card is not None and card.dagster_run_id is not None:
            entries = find_entries(paths, "dagster_run_id", card.dagster_run_id)
    return next((entry for entry in reversed(entries) if entry.readable), None)


def _protocol_of(
    row: RequestProgress | None, published: pa.Table | None, entry: IndexEntry | None, card: RequestCard | None
) -> str | None:
    """Of which protocol it is.

    Raises:
        Problem: 404, nothing knows it.
    """
    if row is not None:
        return row.protocol_id
    if published is not None:
        return _shown(published, "protocol_id")
    if entry is not None:
        return entry.protocol_id
    if card is not None:
        return card.protocol_id
    raise not_found("analysis")


def _plan(
    cursor: duckdb.DuckDBPyConnection, snapshot: OpenSnapshot, principal: Principal, protocol_id: str | None
) -> dict[str, Any] | None:
    """The plan of a protocol; None for one that is not visible.

    A principal that sees all learners also sees analyses without a protocol.
    """
    values = None
    if protocol_id is not None and "research.protocols" in snapshot.relations:
        cursor.execute(PROTOCOL_PLAN.text, {SCOPE: principal.visible, "protocol": protocol_id})
        columns = [column[0] for column in cursor.description or ()]
        row = cursor.fetchone()
        values = dict(zip(columns, row, strict=True)) if row is not None else None
    return {} if values is None and principal.visible is None else values


def _facts_of_row(
    name: str, row: RequestProgress, entry: IndexEntry | None, published: pa.Table | None
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "analysis_run_id": name,
        "protocol_id": row.protocol_id,
        "run_name": row.run_name,
        "analysis_type": row.analysis_type,
        "parameters": None if row.parameters is None else orjson.dumps(row.parameters).decode(),
        "status": row.status,
        "started_at": row.started_at,
        "completed_at": row.completed_at,
        "error": row.error,
        "dagster_run_id": row.dagster_run_id,
    }
    if entry is not None and entry.protocol_id == row.protocol_id:
        return {**facts, **_results(entry)}
    if (row.status, row.record_sha256) == (_shown(published, "status"), _shown(published, "record_sha256") or None):
        return facts  # the file has the results of this row
    return {**facts, **dict.fromkeys(_RECORD_FIELDS), "record_sha256": row.record_sha256}


def _facts_of_record(entry: IndexEntry, card: RequestCard | None) -> dict[str, Any]:
    kind = KINDS.get(entry.analysis or "")
    return {
        "analysis_run_id": entry.analysis_run_id or (card.request_id if card else None),
        "protocol_id": entry.protocol_id,
        "run_name": kind.title if kind else entry.analysis,
        "analysis_type": type_in_tables(entry.analysis or ""),
        "parameters": _parameters(card),
        "status": COMPLETED,
        "started_at": _naive(entry.started_at),
        "completed_at": _naive(entry.ended_at),
        "dagster_run_id": entry.dagster_run_id,
        **_results(entry),
    }


def _facts_of_request(trigger: AnalysisTrigger, card: RequestCard) -> dict[str, Any]:
    """What Dagster says of a request that has neither row nor record.

    Raises:
        Problem: 503, Dagster does not answer.
    """
    facts: dict[str, Any] = {
        "analysis_run_id": card.request_id,
        "protocol_id": card.protocol_id,
        "run_name": KINDS[card.analysis].title if card.analysis in KINDS else card.analysis,
        "analysis_type": type_in_tables(card.analysis),
        "parameters": _parameters(card),
        "status": PENDING,
        "started_at": card.requested_at.astimezone(UTC).replace(tzinfo=None),
    }
    try:
        if card.dagster_run_id is not None:
            run = trigger.dagster.run(card.dagster_run_id)
        else:
            run = next(iter(trigger.dagster.tagged(REQUEST_TAG, card.request_id)), None)
        if run is None:
            return facts
        error = trigger.dagster.failure(run.run_id) if run.progress == FAILED else None
    except DagsterUnavailableError as away:
        dagster_problem(away)
    return {
        **facts,
        "status": run.progress,
        "started_at": facts["started_at"] if run.started_at is None else _of_seconds(run.started_at),
        "completed_at": None if run.ended_at is None else _of_seconds(run.ended_at),
        "error": error or (f"Dagster run {run.run_id} was ended" if run.progress == FAILED else None),
        "dagster_run_id": run.run_id,
    }


def _parameters(card: RequestCard | None) -> str | None:
    return orjson.dumps(dict(card.parameters)).decode() if card is not None else None


def _results(entry: IndexEntry) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in _RESULTS}
    identity = {"mlflow_run_id": entry.mlflow_run_id, "record_sha256": entry.sha256}
    return {**values, **identity, "sentence": sentence_of(entry)}


def _naive(text: str | None) -> datetime | None:
    """A time in UTC without a zone, as the tables have them."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def _of_seconds(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _empty() -> pa.Table:
    """One row of nulls."""
    arrays = {name: pa.array([None], _TYPES.get(column.kind, pa.string())) for name, column in ANALYSIS.columns.items()}
    return pa.table(arrays)


def _with_facts(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    """The table with other values in some columns."""
    for name, value in facts.items():
        index = table.schema.get_field_index(name)
        kind = ANALYSIS.columns[name].kind
        column = pa.array([value], _TYPES.get(kind, pa.string()))
        table = table.set_column(index, name, column)
    return table
