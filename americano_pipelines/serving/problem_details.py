"""Answer errors as problem documents (RFC 9457), each with a `code` for programs."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
_BASIC, _BEARER = 'Basic realm="americano", charset="UTF-8"', 'Bearer realm="americano"'


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """An answer other than the one that was wanted.

    Attributes:
        status: the HTTP status.
        code: a short name for programs.
        detail: what happened and what to do.
        headers: more headers of the answer.
        errors: the parameters that are not allowed, each with the reason.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.errors = dict(headers or {}), errors

    def response(self) -> Response:
        """The answer."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **({"errors": self.errors} if self.errors is not None else {}),
        }
        response = Response(orjson.dumps(document), self.status, self.headers, MEDIA_TYPE)
        if self.status == HTTPStatus.UNAUTHORIZED:
            # A line of its own: Chromium requests no password where both are in one.
            response.headers.append("WWW-Authenticate", _BEARER)
        return response


def unauthenticated(detail: str) -> Problem:
    """No usable key or token came with the request."""
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthenticated", detail, headers={"WWW-Authenticate": _BASIC})


def forbidden(scopes: frozenset[str]) -> Problem:
    """The principal has none of the scopes that a route needs."""
    return Problem(HTTPStatus.FORBIDDEN, "forbidden", f"this needs the scope {' or '.join(sorted(scopes))}")


def not_found(what: str) -> Problem:
    """Nothing of this name exists, or it is outside of what the principal may see; both are answered alike."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"there is no such {what}, or you may not see it")


INVALID_FIELDS = "these fields have values that are not allowed"


def invalid(detail: str, errors: Sequence[tuple[str, str]]) -> Problem:
    """Parameters are not allowed.

    Args:
        detail: what is wrong, to be followed by the names of the parameters.
        errors: the name of each, and the reason.
    """
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-parameters",
        f"{detail}: {', '.join(name for name, _ in errors)}",
        errors=[{"parameter": name, "problem": reason} for name, reason in errors],
    )


def busy(detail: str, seconds: int = 1) -> Problem:
    """The service cannot answer now."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", detail, headers={"Retry-After": str(seconds)})


def unavailable(detail: str) -> Problem:
    """There is no published file to answer from."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, headers={"Retry-After": "30"})


async def answer_problem(_request: Request, error: Exception) -> Response:
    """The answer to a problem that was raised."""
    if not isinstance(error, Problem):
        raise error
    return error.response()


async def answer_http_error(_request: Request, error: Exception) -> Response:
    """The answer to an error of the router: an unknown path, or a method that a path does not have."""
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http-error")
    return Problem(error.status_code, code, str(error.detail), headers=error.headers).response()


async def answer_invalid_request(_request: Request, error: Exception) -> Response:
    """The answer to parameters that are not allowed; it names them and does not repeat their values."""
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [(str(item["loc"][-1]), str(item["msg"])) for item in error.errors()]
    return invalid("these parameters are not allowed", errors).response()


async def answer_defect(_request: Request, _error: Exception) -> Response:
    """The answer to a defect; the log of the service has the details."""
    return Problem(500, "defect", "the service failed; its log has the details").response()
