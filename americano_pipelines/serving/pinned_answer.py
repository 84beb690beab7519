"""Answer with a table of one snapshot: not modified, kept, or streamed."""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from americano_pipelines.serving.answer_headers import is_not_modified, pinned_headers, strong_etag
from americano_pipelines.serving.answer_stream import AnswerStream, send_whole
from americano_pipelines.serving.page_tokens import PageToken, question_hash
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.record_listing import BEFORE_SNAPSHOT, RecordedRows
from americano_pipelines.serving.service import Service
from americano_pipelines.serving.table_question import Question


class TableAnswer(Response):
    """The answer to a question."""

    def __init__(self, service: Service, question: Question, if_none_match: str | None) -> None:
        super().__init__()
        self._service, self._question, self._if_none_match = service, question, if_none_match

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; raises Problem as long as nothing was sent."""
        question, service = self._question, self._service
        token = None
        if question.page is not None:
            hashed = question_hash(question.path, question.filters, question.limit or 0)
            token = PageToken.parse(question.page, hashed)
            if question.snapshot_id not in {None, token.snapshot_id}:
                raise Problem(400, "wrong-page", "the page is of another snapshot than the one asked for")
        snapshot = await service.lease(token.snapshot_id if token else question.snapshot_id)
        try:
            recorded = await self._recorded(snapshot, token)
            etag = strong_etag(
                snapshot.identity,
                question.table.name,
                question.path,
                sorted(question.filters.items()),
                [question.limit, token.offset if token else 0],
                question.format.value,
                question.principal.visible,
                question.principal.least_learners(service.settings.americano_min_learners),
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
                    await AnswerStream(service, question, snapshot, token, recorded, headers).run(receive, send)
        finally:
            service.pool.release(snapshot)

    async def _recorded(self, snapshot: OpenSnapshot, token: PageToken | None) -> RecordedRows | None:
        """The recorded analyses that the table lists; None for another table.

        An answer about an earlier snapshot has those from before it was built, and all pages have those of the first.
        """
        if not any(statement.lists_records for statement in self._question.table.statements):
            return None
        last_record = token.last_record if token else None if self._question.snapshot_id is None else BEFORE_SNAPSHOT
        return await asyncio.to_thread(self._service.recorded.rows, last_record, snapshot.record.built_at)
