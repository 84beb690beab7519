"""Run one query, encode its rows and send them in batches, within a time limit and bounded memory."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any
from urllib.parse import quote, urlencode

import duckdb
import pyarrow as pa
from starlette.types import Receive, Send

from americano_pipelines.serving.answer_cache import MAX_ANSWER_BYTES, KeptAnswer
from americano_pipelines.serving.answer_formats import Encoder, Format, encoder
from americano_pipelines.serving.answer_headers import content_type
from americano_pipelines.serving.answer_tables import AnswerTable, Statement
from americano_pipelines.serving.page_tokens import PageToken, request_hash
from americano_pipelines.serving.problem_details import Problem, busy, not_found
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.record_listing import RecordedRows
from americano_pipelines.serving.service import Service
from americano_pipelines.serving.table_request import TableRequest

_BATCH_ROWS = {Format.JSON: 5_000, Format.CSV: 20_000, Format.ARROW: 20_000, Format.PARQUET: 20_000}
_STALLED_SECONDS = 60.0
_INTERRUPT_SECONDS = 0.05
_MAX_SUBJECTS = 10_000
_SLICE_ROWS = 100_000


class CutShortError(Exception):
    """An answer was cut short: its client is gone or reads nothing, or the time limit came after the first bytes."""


class AnswerStream:
    """One query and the encoding of its rows."""

    def __init__(
        self,
        service: Service,
        request: TableRequest,
        snapshot: OpenSnapshot,
        token: PageToken | None,
        recorded: RecordedRows | None,
        headers: dict[str, str],
    ) -> None:
        self._service, self._request, self._snapshot = service, request, snapshot
        self._recorded = recorded
        self._offset = token.offset if token else 0
        self._headers = {**headers, "content-type": content_type(request.format)}
        if request.format is not Format.JSON:
            name = f"{request.table.name}-{snapshot.record.snapshot_id}.{request.format.value}"
            self._headers["content-disposition"] = f'attachment; filename="{name}"'
        self._seconds_left = float(service.settings.americano_api_timeout)

    async def run(self, receive: Receive, send: Send) -> None:
        """Send the answer.

        Raises:
            Problem: it failed before anything was sent.
            CutShortError: it failed later, or the client is gone.
        """
        disconnected = asyncio.create_task(_until_disconnected(receive))
        cursor = self._snapshot.cursor()
        parts = self._parts(cursor)
        try:
            body, is_complete = await self._in_thread(parts, cursor, disconnected)
            if is_complete:
                await self._finish(send, body)
                return
            await send({"type": "http.response.start", "status": 200, "headers": _header_bytes(self._headers)})
            await _send_part(send, body)
            del body
            await self._send_rest(send, parts, cursor, disconnected)
        finally:
            disconnected.cancel()
            cursor.close()

    async def _send_rest(
        self, send: Send, parts: Iterator[bytes], cursor: duckdb.DuckDBPyConnection, disconnected: "asyncio.Task[None]"
    ) -> None:
        """Send what follows the first part.

        Raises:
            CutShortError: it failed; the connection is then closed before the end, which clients notice.
        """
        is_complete = False
        try:
            while not is_complete:
                body, is_complete = await self._in_thread(parts, cursor, disconnected)
                if body:
                    await _send_part(send, body)
        except (Problem, duckdb.Error) as error:
            raise CutShortError(str(error)) from error
        await send({"type": "http.response.body", "body": b""})

    async def _finish(self, send: Send, body: bytes) -> None:
        kept = KeptAnswer(200, self._headers, body)
        if len(body) <= MAX_ANSWER_BYTES:
            self._service.cache.put(self._headers["etag"], kept)
        await send_whole(send, kept)

    async def _in_thread(
        self, parts: Iterator[bytes], cursor: duckdb.DuckDBPyConnection, disconnected: "asyncio.Task[None]"
    ) -> tuple[bytes, bool]:
        """Do a part of the work in a thread, ended at the time limit and when the client is gone.

        Returns:
            The next bytes of the answer, and whether they are the last.

        Raises:
            Problem: 504 at the time limit.
            CutShortError: the client is gone.
        """
        started = time.monotonic()
        future = asyncio.wrap_future(self._service.threads.submit(_next_bytes, parts))
        waited: set[asyncio.Future[Any]] = {future, disconnected}
        try:
            await asyncio.wait(waited, timeout=self._seconds_left, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _interrupt(future, cursor)  # the cursor is closed next, and no thread may use it then
            raise
        self._seconds_left -= time.monotonic() - started
        if future.done() and not disconnected.done():
            try:
                return future.result()
            except duckdb.OutOfMemoryException:
                raise busy("the query needs more than AMERICANO_MEMORY_LIMIT; request less", 60) from None
        await _interrupt(future, cursor)
        if disconnected.done():
            raise CutShortError
        limit = self._service.settings.americano_api_timeout
        raise Problem(504, "time-limit", f"the query took longer than {limit} s (AMERICANO_API_TIMEOUT); request less")

    def _parts(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[bytes]:
        """The encoded answer; runs in threads."""
        request, snapshot = self._request, self._snapshot
        table = request.table
        statement = _statement(table, snapshot)
        if table.subject is not None and not self._is_visible(cursor, table.subject):
            raise not_found("protocol")
        head = {"snapshot": snapshot.record.snapshot_id, "instant": snapshot.record.instant}
        writer = encoder(request.format, table.columns, head)
        if request.limit is not None or table.is_single:
            yield self._page(cursor, statement, writer)
            return
        readers = self._readers(cursor, statement)
        first = next(readers)
        yield writer.begin(first.schema)
        for reader in chain([first], readers):
            for batch in reader:
                yield writer.rows(batch)
        yield writer.end(None)

    def _readers(self, cursor: duckdb.DuckDBPyConnection, statement: Statement) -> "Iterator[pa.RecordBatchReader]":
        """The rows of a statement, or of one slice after the other."""
        slices, batch_rows = self._request.table.slices, _BATCH_ROWS[self._request.format]
        bounds: list[tuple[Any, ...]] = []
        if slices is not None:
            bounds = self._execute(cursor, slices.bounds, slice_rows=_SLICE_ROWS).fetchall()
        if slices is None or len(bounds) <= 1:
            yield self._execute(cursor, statement).to_arrow_reader(batch_rows)
            return
        for begin, end in bounds:
            part = self._execute(cursor, slices.statement, slice_from=begin, slice_until=end)
            yield part.to_arrow_reader(batch_rows)

    def _is_visible(self, cursor: duckdb.DuckDBPyConnection, subject: Statement) -> bool:
        """Whether the principal may see the subject; kept as long as the file is open, because it took 1 ms."""
        request, known = self._request, self._snapshot.visible_subjects
        visible = request.principal.visible
        values = tuple(sorted((name, value) for name, value in request.filters.items() if name in subject.parameters))
        key = (subject.name, None if visible is None else tuple(visible), values)
        if key not in known:
            if self._execute(cursor, subject).fetchone() is None:
                return False
            if len(known) >= _MAX_SUBJECTS:
                known.clear()
            known.add(key)
        return True

    def _page(self, cursor: duckdb.DuckDBPyConnection, statement: Statement, writer: Encoder) -> bytes:
        """A page as a whole; a row more than it has is read, to know whether another follows."""
        request = self._request
        limit = 1 if request.limit is None else request.limit
        rows = self._execute(cursor, statement, limit=None if request.table.is_single else limit + 1).to_arrow_table()
        if request.table.is_single and not rows.num_rows:
            raise not_found(request.table.name)
        address = self._next_address(limit) if rows.num_rows > limit else None
        if address is not None:
            self._headers["link"] = f'<{address}>; rel="next"'
        batches = pa.Table.slice(rows, 0, limit).combine_chunks().to_batches()
        return b"".join([writer.begin(rows.schema), *map(writer.rows, batches), writer.end(address)])

    def _next_address(self, limit: int) -> str:
        request = self._request
        hashed = request_hash(request.path, request.filters, limit)
        last_record = self._recorded.last_record if self._recorded else 0
        token = PageToken(self._snapshot.record.snapshot_id, self._offset + limit, hashed, last_record)
        names = request.filters.keys() - {request.in_path}
        values = {name: value for name in sorted(names) if (value := request.filters[name]) is not None}
        query = urlencode({**values, "limit": limit, "page": token.text(), "format": request.format.value})
        return f"{quote(request.path)}?{query}"

    def _execute(
        self,
        cursor: duckdb.DuckDBPyConnection,
        statement: Statement,
        limit: int | None = None,
        **slice_values: Any,  # noqa: ANN401 - values
    ) -> duckdb.DuckDBPyConnection:
        request = self._request
        least_learners = request.principal.least_learners(self._service.settings.americano_min_learners)
        values: dict[str, Any] = {
            "scope": request.principal.visible,
            "least_learners": least_learners,
            **request.filters,
            **slice_values,
        }
        if self._recorded is not None:
            values["records"] = self._recorded.text
        bound = {name: values[name] for name in statement.parameters}
        text = statement.text
        if limit is not None:
            text = f"{text}\nLIMIT $page_rows OFFSET $page_offset"
            bound |= {"page_rows": limit, "page_offset": self._offset}
        return cursor.execute(text, bound)


def _statement(table: AnswerTable, snapshot: OpenSnapshot) -> Statement:
    """The statement for the relations that a file has.

    Raises:
        Problem: 404, it lacks one that all statements need.
    """
    missing: list[str] = []
    subject_needs = table.subject.needs if table.subject is not None else ()
    for statement in table.statements:
        needs = dict.fromkeys((*subject_needs, *statement.needs))
        missing = [name for name in needs if f"research.{name}" not in snapshot.relations]
        if not missing:
            return statement
    reasons = "; ".join(
        f"research.{name}: {snapshot.record.skipped.get(f'research.{name}', 'this snapshot is of an earlier release')}"
        for name in missing
    )
    raise Problem(404, "not-in-snapshot", f"the published file does not have this table: {reasons}")


def _next_bytes(parts: Iterator[bytes]) -> tuple[bytes, bool]:
    """The next bytes, as many as a kept answer may have, and whether they are the last.

    All in one go, because each change of threads takes time.
    """
    collected, size = [], 0
    for part in parts:
        collected.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            return b"".join(collected), False
    return b"".join(collected), True


async def _interrupt(future: "asyncio.Future[tuple[bytes, bool]]", cursor: duckdb.DuckDBPyConnection) -> None:
    """End the work in a thread. An interrupt before the query has begun has no effect, so again until it ends."""
    while not future.done():
        cursor.interrupt()
        await asyncio.wait({future}, timeout=_INTERRUPT_SECONDS)
    future.exception()


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_whole(send: Send, answer: KeptAnswer) -> None:
    """Send a finished answer."""
    headers = _header_bytes({**answer.headers, "content-length": str(len(answer.body))})
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _send_part(send: Send, part: bytes) -> None:
    """Send a part; a client that reads nothing for a minute counts as gone, for it holds a slot."""
    try:
        await asyncio.wait_for(send({"type": "http.response.body", "body": part, "more_body": True}), _STALLED_SECONDS)
    except TimeoutError:
        raise CutShortError from None


def _header_bytes(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
