"""Answer with a table of one snapshot: not modified, kept, or streamed."""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from americano_pipelines.serving.answer_headers import is_not_modified, pinned_headers, strong_etag
from americano_pipelines.serving.answer_stream import AnswerStream, send_whole
from americano_pipelines.serving.page_tokens import PageToken, request_hash
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.record_listing import BEFORE_SNAPSHOT, RecordedRows
from americano_pipelines.serving.service import Service
from americano_pipelines.serving.table_request import TableRequest


class TableAnswer(Response):
    """The answer to a request for a table."""

    def __init__(self, service: Service, request: TableRequest, if_none_match: str | None) -> None:
        super().__init__()
        self._service, self._request, self._if_none_match = service, request, if_none_match

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; raises Problem as long as nothing was sent."""
        request, service = self._request, self._service
        token = None
        if request.page is not None:
            hashed = request_hash(request.path, request.filters, request.limit or 0)
            token = PageToken.parse(request.page, hashed)
            if request.snapshot_id not in {None, token.snapshot_id}:
                raise Problem(400, "wrong-page", "the page is of another snapshot than the requested one")
        snapshot = await service.lease(token.snapshot_id if token else request.snapshot_id)
        try:
            recorded = await self._recorded(snapshot, token)
            etag = strong_etag(
                snapshot.identity,
                request.table.name,
                request.path,
                sorted(request.filters.items()),
                [request.limit, token.offset if token else 0],
                request.format.value,
                request.principal.visible,
                request.principal.least_learners(service.settings.americano_min_learners),
                *([recorded.sha256] if recorded else ()),
            )
            headers = pinned_headers(snapshot, etag)
            if is_not_modified(self._if_none_match, etag):
                await Response(status_code=304, headers=headers)(_scope, receive, send)
            elif (kept := service.cache.get(etag)) is not None:
                service.metrics.kept_answers.inc()
                await send_whole(send, kept)
            else:
                async with service.slot():
                    await AnswerStream(service, request, snapshot, token, recorded, headers).run(receive, send)
        finally:
            service.pool.release(snapshot)

    async def _recorded(self, snapshot: OpenSnapshot, token: PageToken | None) -> RecordedRows | None:
        """The recorded analyses that the table lists; None for another table.

        An answer about an earlier snapshot has those from before it was built, and all pages have those of the first.
        """
        if not any(statement.lists_records for statement in self._request.table.statements):
            return None
        last_record = token.last_record if token else None if self._request.snapshot_id is None else BEFORE_SNAPSHOT
        return await asyncio.to_thread(self._service.recorded.rows, last_record, snapshot.record.built_at)
