"""Keep how requests for tables were parsed; the principal is no part of it."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from americano_pipelines.serving.request_parts import listed_header

if TYPE_CHECKING:
    from americano_pipelines.serving.table_request import TableRequest

_MAX_KEPT, _MAX_LENGTH = 2_000, 2_000
RequestKey = tuple[str, bytes, str | None]


@dataclass(frozen=True)
class ParsedRequest:
    """A parsed request for a table.

    Attributes:
        table_request: the request; its principal is of the one that was parsed.
        route: the declared route, for log and metrics.
    """

    table_request: "TableRequest"
    route: Any


def request_key(request: Request) -> RequestKey:
    """What decides how a request is parsed: path, query and Accept."""
    return str(request.scope["path"]), request.scope["query_string"], listed_header(request, "accept")


class ParsedRequests:
    """The kept requests, of which the least recently used go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[RequestKey, ParsedRequest] = OrderedDict()

    def get(self, key: RequestKey) -> ParsedRequest | None:
        """The parsed form of an earlier request that was the same."""
        parsed = self._kept.get(key)
        if parsed is not None:
            self._kept.move_to_end(key)
        return parsed

    def put(self, key: RequestKey, parsed: ParsedRequest) -> None:
        """Keep a parsed request, unless its address is long."""
        path, query, accept = key
        if len(path) + len(query) + len(accept or "") <= _MAX_LENGTH:
            self._kept[key] = parsed
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
