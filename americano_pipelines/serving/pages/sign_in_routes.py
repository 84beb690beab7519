"""Route the sign-in with a key or token, the sign-out, and the static files."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from americano_pipelines.serving.browser_sessions import COOKIE, LIFETIME_SECONDS
from americano_pipelines.serving.pages.page_answers import (
    MAX_ADDRESS_LENGTH,
    STATIC,
    PageRoute,
    answer_page,
    static_file,
)
from americano_pipelines.serving.problem_details import Problem, not_found
from americano_pipelines.serving.route_parameters import TheService

_NO_STORE = {"cache-control": "no-store"}
_Next = Annotated[str, Query(max_length=MAX_ADDRESS_LENGTH)]
ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False, default_response_class=Response)


@ROUTER.get("/sign-in")
async def _sign_in_page(request: Request, next: _Next = "/", ended: str | None = None) -> Response:  # noqa: A002 - the name of the parameter
    note = "You were signed out: your key or token is not valid any more." if ended else None
    return await _page(request, next, note, 200)


@ROUTER.post("/sign-in")
async def _sign_in(request: Request, service: TheService) -> Response:
    authentication = service.authentication
    try:
        form = await authentication.sessions.checked_form(request)
        credential = form.get("credential", "").strip()
        principal = await authentication.identify(credential)
    except Problem as problem:
        return await _page(request, "/", problem.detail, problem.status)
    request.state.principal = principal.name
    service.charts.start()
    authentication.sessions.end(request)
    response = RedirectResponse(_local(form.get("next", "/")), 303, _NO_STORE)
    response.set_cookie(
        COOKIE,
        authentication.sessions.begin(credential),
        max_age=LIFETIME_SECONDS,
        path="/",
        secure=_is_https(request, service.settings.americano_api_url),
        httponly=True,
        samesite="strict",
    )
    return response


@ROUTER.post("/sign-out")
async def _sign_out(request: Request, service: TheService) -> Response:
    sessions = service.authentication.sessions
    await sessions.checked_form(request)
    sessions.end(request)
    response = RedirectResponse("/sign-in", 303, _NO_STORE)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


@ROUTER.get("/static/{name}")
async def _static(name: str) -> Response:
    if name not in STATIC:
        raise not_found("file")
    headers = {"cache-control": "public, max-age=86400"}
    return Response(static_file(name), headers=headers, media_type=STATIC[name])


async def _page(request: Request, target: str, note: str | None, status: int) -> Response:
    return await answer_page(
        request, "sign_in.html", principal=None, status=status, headers=_NO_STORE, title="Sign in",
        target=_local(target), note=note,
    )  # fmt: skip


def _local(target: str) -> str:
    """A path of this service, else `/`: browsers take two slashes, and a slash and a backslash, for another site."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_local else "/"


def _is_https(request: Request, address: str | None) -> bool:
    """Whether the browser came by https, as far as one can know behind a proxy."""
    forwarded = request.headers.get("x-forwarded-proto", "")
    return "https" in {request.url.scheme, forwarded} or (address or "").startswith("https://")
