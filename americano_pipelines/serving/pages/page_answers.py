"""Render pages from packaged templates, with their headers; errors become pages too, and 401 leads to the sign-in."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.serving.answer_headers import SNAPSHOT_HEADER, is_not_modified, strong_etag
from americano_pipelines.serving.browser_sessions import COOKIE
from americano_pipelines.serving.pages import text_filters
from americano_pipelines.serving.principals import ROW_SCOPES, Principal, Scope
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.request_parts import listed_header
from americano_pipelines.serving.route_parameters import service_of
from americano_pipelines.text_output import visible

# Of an address to come back to after the sign-in, in characters.
MAX_ADDRESS_LENGTH = 500
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    # Browsers then say in the header Origin which page sent a form.
    "referrer-policy": "same-origin",
    "cache-control": "private, no-cache",
    "vary": "Cookie, Authorization",
}
STATIC = {"pages.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


def static_file(name: str) -> bytes:
    """The content of a static file."""
    return files("americano_pipelines.serving.pages").joinpath("static", name).read_bytes()


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("americano_pipelines.serving.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(text_filters.FILTERS)
    sheet = sha256_hex(static_file("pages.css"))[:12]
    environment.globals.update(style=f"/static/pages.css?v={sheet}")
    return environment


def _shown(value: Any) -> Any:  # noqa: ANN401 - any value of a template
    """Names and labels with their control characters shown, for they can turn a line around."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


async def answer_page(
    request: Request,
    template: str,
    *,
    principal: Principal | None,
    snapshot: OpenSnapshot | None = None,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    **values: Any,  # noqa: ANN401 - for the template
) -> Response:
    """A page, or 304 where the client has it.

    Args:
        request: the request.
        template: name of the template.
        principal: the requesting principal, None for a page for everybody.
        snapshot: where the data are from.
        status: of the answer.
        headers: more headers.
        values: for the template.
    """
    sessions = (await service_of(request)).authentication.sessions
    body = _templates().get_template(template).render(
        values,
        form_token=sessions.form_token(request),
        path=request.scope["path"],
        snapshot=snapshot.record if snapshot is not None else None,
        **_navigation(request, principal),
    )  # fmt: skip
    name = None if principal is None else [principal.name, principal.visible]
    answer_headers = {**_HEADERS, **(headers or {})}
    if snapshot is not None:
        answer_headers[SNAPSHOT_HEADER] = snapshot.record.snapshot_id
    if status == HTTPStatus.OK and request.method == "GET":
        answer_headers["etag"] = strong_etag("page", name, sha256_hex(body.encode()))
        if is_not_modified(listed_header(request, "if-none-match"), answer_headers["etag"]):
            return Response(status_code=304, headers=answer_headers)
    return Response(body, status, answer_headers, "text/html; charset=utf-8")


def _navigation(request: Request, principal: Principal | None) -> dict[str, Any]:
    scopes = principal.scopes if principal is not None else frozenset()
    return {
        "principal": principal,
        "reads_rows": bool(scopes & ROW_SCOPES),
        "sees_pipeline": bool(scopes & {Scope.READ, Scope.ADMIN, Scope.OPERATOR}),
        "may_verify": bool(scopes & {Scope.READ, Scope.ADMIN}),
        "is_signed_in": principal is not None and COOKIE in request.cookies,
    }


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """The handler."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError:
                problem = Problem(HTTPStatus.NOT_FOUND, "not-found", "there is no such page")
            except Problem as error:
                problem = error
            if problem.status == HTTPStatus.UNAUTHORIZED:
                return await _to_sign_in(request)
            # Without a header WWW-Authenticate: the browser would request a password in a window of its own.
            headers = {name: value for name, value in problem.headers.items() if name.lower() == "retry-after"}
            return await answer_page(
                request, "problem.html", principal=None, status=problem.status, headers=headers, problem=problem,
                title=HTTPStatus(problem.status).phrase,
            )  # fmt: skip

        return answered


async def _to_sign_in(request: Request) -> Response:
    """To the sign-in, and from there back; a session whose key or token is not valid any more has ended."""
    sessions = (await service_of(request)).authentication.sessions
    had_session = sessions.credential(request) is not None
    sessions.end(request)
    target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    query = {"next": target} if len(target) <= MAX_ADDRESS_LENGTH else {}
    query |= {"ended": "yes"} if had_session else {}
    headers = {**_HEADERS, "cache-control": "no-store"}
    return RedirectResponse(f"/sign-in?{urlencode(query, quote_via=quote)}", HTTPStatus.SEE_OTHER, headers)
