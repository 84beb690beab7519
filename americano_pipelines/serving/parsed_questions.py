"""Keep how requests for tables were parsed; who asked is no part of it."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from americano_pipelines.serving.request_parts import listed_header

if TYPE_CHECKING:
    from americano_pipelines.serving.table_question import Question

_MAX_KEPT, _MAX_LENGTH = 2_000, 2_000
RequestKey = tuple[str, bytes, str | None]


@dataclass(frozen=True)
class ParsedQuestion:
    """A question that was asked.

    Attributes:
        question: the question; its principal is of the request that was parsed.
        route: the declared route, for log and metrics.
    """

    question: "Question"
    route: Any


def request_key(request: Request) -> RequestKey:
    """What decides how a request is parsed: path, query and Accept."""
    return str(request.scope["path"]), request.scope["query_string"], listed_header(request, "accept")


class ParsedQuestions:
    """The kept questions, of which the least recently asked go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[RequestKey, ParsedQuestion] = OrderedDict()

    def get(self, key: RequestKey) -> ParsedQuestion | None:
        """The question of an earlier request that was the same."""
        parsed = self._kept.get(key)
        if parsed is not None:
            self._kept.move_to_end(key)
        return parsed

    def put(self, key: RequestKey, parsed: ParsedQuestion) -> None:
        """Keep a question, unless its address is long."""
        path, query, accept = key
        if len(path) + len(query) + len(accept or "") <= _MAX_LENGTH:
            self._kept[key] = parsed
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
