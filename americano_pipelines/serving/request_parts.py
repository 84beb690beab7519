"""Read a header that lists values, the body within a bound, and whether a page of this service sent a request."""

from urllib.parse import urlsplit

from starlette.requests import Request

from americano_pipelines.serving.problem_details import Problem


def listed_header(request: Request, name: str) -> str | None:
    """The values of a header that may come in several lines, separated by commas; None without the header."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None


async def read_body(request: Request, most_bytes: int, too_long: Problem) -> bytes:
    """The body of a request.

    Raises:
        Problem: `too_long`, it has more bytes.
    """
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > most_bytes:
            raise too_long
    return content


def is_same_origin(request: Request) -> bool:
    """Whether the headers that browsers add say that no page of another site sent the request."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if site not in {None, "same-origin", "none"}:
        return False
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
