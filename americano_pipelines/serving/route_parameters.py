"""Declare the parameters that routes share, and refuse those that a route does not have."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request

from americano_pipelines.serving.answer_formats import Format, negotiated
from americano_pipelines.serving.parsed_requests import RequestKey, request_key
from americano_pipelines.serving.principals import ROW_SCOPES, Principal, Scope
from americano_pipelines.serving.problem_details import Problem, invalid, not_found
from americano_pipelines.serving.request_parts import listed_header
from americano_pipelines.serving.service import Service

MAX_LIMIT = 10_000
_SNAPSHOT_ID = r"^[A-Za-z0-9\-]+$"
_ID = r"^[^/\x00]{1,200}$"

ProtocolId = Annotated[str, Path(pattern=_ID, description="The protocol.")]
AnalysisId = Annotated[str, Path(pattern=_ID, description="The analysis run; where records are read, also their hash.")]
Filter = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


SnapshotId = Annotated[
    str | None,
    Query(max_length=80, pattern=_SNAPSHOT_ID, description="A kept snapshot; without it the current one."),
]
WantedFormat = Annotated[Format | None, Query(description="Instead of the header Accept.")]
Limit = Annotated[int | None, Query(ge=1, le=MAX_LIMIT, description="Rows of a page; without it all rows come.")]
Page = Annotated[
    str | None,
    Query(max_length=400, pattern=r"^[A-Za-z0-9_\-]+$", description="The page, from `next` of the page before."),
]


@dataclass(frozen=True)
class AnswerOptions:
    """Which snapshot, in which format, and which page.

    Attributes:
        path: of the request, without a suffix.
        names: the names of the parameters that came.
        repeated: the names of those that came more than once.
        allowed: the names of the parameters that every such route has.
        format: by parameter, suffix or Accept.
        if_none_match: the header.
        key: what decides how the request is parsed.
        route: the declared route.
        snapshot_id: the requested snapshot, None for the current one.
        limit: rows of a page, None for all rows.
        page: the token of a page.
    """

    path: str
    names: frozenset[str]
    repeated: frozenset[str]
    allowed: frozenset[str]
    format: Format
    if_none_match: str | None
    key: RequestKey
    route: Any
    snapshot_id: str | None
    limit: int | None = None
    page: str | None = None


# Dependencies that are no coroutines would each wait for a thread: with three of them a kept answer took 0.6 ms longer.
async def _pinned(
    request: Request,
    snapshot: SnapshotId = None,
    format: WantedFormat = None,  # noqa: A002 - the name of the parameter
) -> AnswerOptions:
    return _options(request, {"snapshot", "format"}, snapshot, format)


async def _listed(
    request: Request,
    snapshot: SnapshotId = None,
    format: WantedFormat = None,  # noqa: A002 - the name of the parameter
    limit: Limit = None,
    page: Page = None,
) -> AnswerOptions:
    options = _options(request, {"snapshot", "format", "limit", "page"}, snapshot, format)
    return replace(options, limit=MAX_LIMIT if limit is None and page is not None else limit, page=page)


def _options(request: Request, allowed: set[str], snapshot_id: str | None, parameter: Format | None) -> AnswerOptions:
    path, suffix = str(request.scope["path"]), request.path_params.get("suffix")
    if suffix is not None:
        if suffix not in set(Format):
            raise not_found("format")
        if parameter not in {None, suffix}:
            raise invalid("the suffix names another format than this parameter", [("format", f"not {suffix}")])
        path = path.removesuffix(f".{suffix}")
    counts = Counter(name for name, _ in request.query_params.multi_items())
    return AnswerOptions(
        path=path,
        names=frozenset(request.query_params),
        repeated=frozenset(name for name, count in counts.items() if count > 1),
        allowed=frozenset(allowed),
        format=parameter or (Format(suffix) if suffix else negotiated(listed_header(request, "accept"))),
        if_none_match=listed_header(request, "if-none-match"),
        key=request_key(request),
        route=request.scope["route"],
        snapshot_id=snapshot_id,
    )


def check_names(options: AnswerOptions, filters: Iterable[str] = ()) -> None:
    """Refuse parameters that a route does not have, or that came twice: a filter less shows more than was wanted.

    Raises:
        Problem: 422, with the names.
    """
    if options.repeated:
        raise invalid("each parameter comes once", [(name, "repeated") for name in sorted(options.repeated)])
    known = options.allowed.union(filters)
    if unknown := sorted(options.names - known):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-parameters",
            f"this route has no such parameters; it has {', '.join(sorted(known))}",
            errors=[{"parameter": name, "problem": "unknown"} for name in unknown],
        )


async def service_of(request: Request) -> Service:
    """A dependency: the service that the application was built with."""
    service: Service = request.app.state.service
    return service


def requires(*scopes: Scope) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency: the principal of a request, who needs one of some scopes."""
    allowed = frozenset(scopes)

    async def principal(request: Request) -> Principal:
        service = await service_of(request)
        return await service.authentication.principal(request, allowed)

    return principal


TheService = Annotated[Service, Depends(service_of)]
Reader = Annotated[Principal, Depends(requires(*ROW_SCOPES))]
Researcher = Annotated[Principal, Depends(requires(Scope.READ, Scope.ADMIN))]
Operator = Annotated[Principal, Depends(requires(Scope.OPERATOR, Scope.READ, Scope.ADMIN))]
Anybody = Annotated[Principal, Depends(requires(*Scope))]


Pinned = Annotated[AnswerOptions, Depends(_pinned)]
Listed = Annotated[AnswerOptions, Depends(_listed)]
