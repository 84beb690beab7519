"""Read tables of the API for a page: the same statements, scope, limits and kept answers, of one snapshot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request
from starlette.types import Message

from americano_pipelines.serving.answer_formats import Format
from americano_pipelines.serving.answer_tables import AnswerTable
from americano_pipelines.serving.pinned_answer import TableAnswer
from americano_pipelines.serving.principals import Principal
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.service import Service
from americano_pipelines.serving.table_request import TableRequest

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class PageReader:
    """Read for a page.

    Attributes:
        request: of the page; its work ends when its client is gone.
        service: what answers.
        principal: the requesting principal.
        snapshot: the snapshot of all answers.
    """

    request: Request
    service: Service
    principal: Principal
    snapshot: OpenSnapshot

    async def rows(self, table: AnswerTable, **filters: str | None) -> Rows:
        """The rows of a table; none where the snapshot does not have it.

        Args:
            table: the table.
            filters: what its statement binds.

        Raises:
            Problem: as the table's route answers.
        """
        snapshot_id = self.snapshot.record.snapshot_id
        path = f"pages/{table.name}"
        table_request = TableRequest(table, path, self.principal, Format.JSON, filters, snapshot_id=snapshot_id)
        body: list[bytes] = []

        async def send(message: Message) -> None:
            body.append(message.get("body", b""))

        try:
            await TableAnswer(self.service, table_request, None)(self.request.scope, self.request.receive, send)
        except Problem as problem:
            if problem.code == "not-in-snapshot":
                return []
            raise
        rows: Rows = orjson.loads(b"".join(body))["rows"]
        return rows

    async def row(self, table: AnswerTable, **filters: str | None) -> dict[str, Any] | None:
        """The row of a table that has one; None where there is none, or it is not visible."""
        try:
            rows = await self.rows(table, **filters)
        except Problem as problem:
            if problem.code == "not-found":
                return None
            raise
        return rows[0] if rows else None


@asynccontextmanager
async def reading(
    request: Request, service: Service, principal: Principal, snapshot_id: str | None = None
) -> AsyncIterator[PageReader]:
    """Read from one snapshot for the block.

    Args:
        request: of the page.
        service: what answers.
        principal: the requesting principal.
        snapshot_id: a kept snapshot, None for the current one.

    Raises:
        Problem: as the pool does.
    """
    snapshot = await service.lease(snapshot_id)
    try:
        yield PageReader(request, service, principal, snapshot)
    finally:
        service.pool.release(snapshot)
