"""Describe a request for the rows of a table."""

from dataclasses import dataclass

from americano_pipelines.serving.answer_formats import Format
from americano_pipelines.serving.answer_tables import AnswerTable
from americano_pipelines.serving.principals import Principal


@dataclass(frozen=True)
class TableRequest:
    """A table that a request is for.

    Attributes:
        table: the table.
        path: of the request, without a suffix.
        principal: the requesting principal.
        format: of the answer.
        filters: values that the statement binds; None for a filter that is not set.
        in_path: the filter whose value is in the path, or that cannot be set.
        snapshot_id: the requested snapshot, None for the current one.
        limit: rows of a page, None for all rows.
        page: the token of a page.
    """

    table: AnswerTable
    path: str
    principal: Principal
    format: Format
    filters: dict[str, str | None]
    in_path: str = ""
    snapshot_id: str | None = None
    limit: int | None = None
    page: str | None = None
