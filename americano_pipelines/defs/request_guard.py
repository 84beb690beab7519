"""Refuse requests to the web server of `americano dev` that come from foreign pages."""

# Dagster's web server (1.13.27) checks neither Host nor Origin, and executes mutations that come by GET: any web page
# that is open on this machine could delete runs. The guard is an ASGI application around it.

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

NAMES = ("127.0.0.1", "localhost", "[::1]")
_HTTP_PORT = 80
# A close code of RFC 6455: the request is against the server's policy.
_POLICY = 1008


class Guard:
    """Pass on to the application only the requests that `refusal` has no reason against."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer 403 with the reason, or pass the request on."""
        reason = refusal(scope) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY})  # before it was accepted: the answer is a 403
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"refused: {reason}\n".encode()})


def refusal(scope: Message) -> str | None:
    """Why a request is not answered, None if it is.

    Args:
        scope: of an ASGI connection (HTTP or websocket); `server` says on which port it arrived.
    """
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1").strip()) for name, value in scope["headers"]]
    hosts = [value.lower() for name, value in headers if name == "host"]
    origins = [value.lower() for name, value in headers if name == "origin"]
    sites = {value.lower() for name, value in headers if name == "sec-fetch-site"}
    port = scope["server"][1]
    own = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == _HTTP_PORT else set())
    # A page whose name was made to lead to 127.0.0.1 (DNS rebinding) sends that name as Host.
    if len(hosts) != 1 or hosts[0] not in own:
        return f"the Host is not an address of this machine with port {port}"
    if origins and origins != [f"http://{hosts[0]}"]:
        return "the Origin is another page"
    if not sites <= {"same-origin", "none"} and not _is_link(scope, headers):
        return "the request comes from another page (Sec-Fetch-Site)"
    return _refusal_of_graphql(scope)


def _is_link(scope: Message, headers: list[tuple[str, str]]) -> bool:
    """Whether a link of another page, such as MLflow's, opens a page here, which that other page cannot read."""
    values = dict(headers)
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and values.get("sec-fetch-mode") == "navigate"
        and values.get("sec-fetch-dest") == "document"
    )


def _refusal_of_graphql(scope: Message) -> str | None:
    """Why a query in an address is refused: a picture or a link can send it. Queries come by POST or websocket."""
    if scope["type"] != "http" or scope["method"] == "POST" or not scope["path"].rstrip("/").endswith("/graphql"):
        return None
    names = {name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)}
    return "a GraphQL query in an address; send it by POST" if names else None
