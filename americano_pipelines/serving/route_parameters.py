"""Declare the parameters that routes share, and refuse those that a route does not have."""

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Path, Query, Request

from americano_pipelines.serving.answer_formats import Format, negotiated
from americano_pipelines.serving.principals import ROW_SCOPES, Principal, Scope
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.service import Service

MAX_LIMIT = 10_000
_SNAPSHOT_ID = r"^[A-Za-z0-9\-]+$"
_ID = r"^[^/\x00]{1,200}$"

ProtocolId = Annotated[str, Path(pattern=_ID, description="The protocol.")]
AnalysisId = Annotated[str, Path(pattern=_ID, description="The analysis run; where records are read, also their hash.")]
Filter = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


class PinnedOptions:
    """Which snapshot, and in which format."""

    def __init__(
        self,
        request: Request,
        snapshot: Annotated[
            str | None,
            Query(max_length=80, pattern=_SNAPSHOT_ID, description="A kept snapshot; without it the current one."),
        ] = None,
        format: Annotated[Format | None, Query(description="Instead of the header Accept.")] = None,  # noqa: A002
    ) -> None:
        self.snapshot_id = snapshot
        self.path, self._suffix = _without_suffix(request)
        self._wanted, self._accept = format, request.headers.get("accept")
        self.if_none_match = request.headers.get("if-none-match")
        self.names = frozenset(request.query_params)

    @property
    def format(self) -> Format:
        """By parameter, suffix or Accept; raises Problem as `negotiated`."""
        return self._wanted or self._suffix or negotiated(self._accept)


class ListOptions(PinnedOptions):
    """Also which page."""

    def __init__(
        self,
        request: Request,
        snapshot: Annotated[
            str | None,
            Query(max_length=80, pattern=_SNAPSHOT_ID, description="A kept snapshot; without it the current one."),
        ] = None,
        format: Annotated[Format | None, Query(description="Instead of the header Accept.")] = None,  # noqa: A002
        limit: Annotated[
            int | None, Query(ge=1, le=MAX_LIMIT, description="Rows of a page; without it all rows come.")
        ] = None,
        page: Annotated[
            str | None,
            Query(
                max_length=400, pattern=r"^[A-Za-z0-9_\-]+$", description="The page, from `next` of the page before."
            ),
        ] = None,
    ) -> None:
        super().__init__(request, snapshot, format)
        self.limit = MAX_LIMIT if limit is None and page is not None else limit
        self.page = page


def check_names(options: PinnedOptions, filters: Iterable[str] = ()) -> None:
    """Refuse parameters that a route does not have: a misspelt filter would show more than was wanted.

    Raises:
        Problem: 422, with the names.
    """
    known = {"snapshot", "format", *filters, *(("limit", "page") if isinstance(options, ListOptions) else ())}
    if unknown := sorted(options.names - known):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-parameters",
            f"this route has no such parameters; it has {', '.join(sorted(known))}",
            errors=[{"parameter": name, "problem": "unknown"} for name in unknown],
        )


def service_of(request: Request) -> Service:
    """A dependency: the service that the application was built with."""
    service: Service = request.app.state.service
    return service


def requires(*scopes: Scope) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency: the principal of a request, who needs one of some scopes."""
    allowed = frozenset(scopes)

    async def principal(request: Request) -> Principal:
        return await service_of(request).authentication.principal(request, allowed)

    return principal


TheService = Annotated[Service, Depends(service_of)]
Reader = Annotated[Principal, Depends(requires(*ROW_SCOPES))]
Researcher = Annotated[Principal, Depends(requires(Scope.READ, Scope.ADMIN))]
Operator = Annotated[Principal, Depends(requires(Scope.OPERATOR, Scope.READ, Scope.ADMIN))]
Anybody = Annotated[Principal, Depends(requires(*Scope))]


Pinned = Annotated[PinnedOptions, Depends()]
Listed = Annotated[ListOptions, Depends()]


def _without_suffix(request: Request) -> tuple[str, Format | None]:
    """The path of a route without the suffix that it declares, and the format that this means."""
    path, declared = request.url.path, str(getattr(request.scope.get("route"), "path", ""))
    for suffix in Format:
        if declared.endswith(f".{suffix.value}"):
            return path.removesuffix(f".{suffix.value}"), suffix
    return path, None
