"""Refuse foreign hosts, add security headers, and log and count every request, without secrets.

A page of another site can reach a service on 127.0.0.1 by a name of its own that leads there; the header Host shows it.
"""

import logging
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from americano_pipelines.serving.answer_stream import CutShortError
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.service_metrics import ServiceMetrics

# As nginx logs it: the client got no whole answer.
_CUT_SHORT = 499
_PORT = re.compile(r":\d+$")
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
_log = logging.getLogger("americano.api")


class HostGuard:
    """Wrap an app."""

    def __init__(self, app: ASGIApp, hosts: str, metrics: ServiceMetrics) -> None:
        self._app, self._metrics = app, metrics
        self._hosts = {name.strip().lower() for name in hosts.split(",")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                present = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in _HEADERS.items() if name not in present]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        try:
            if _host(scope) in self._hosts:
                await self._app(scope, receive, guarded)
            else:
                detail = "this host name is not one of AMERICANO_API_HOSTS"
                await Problem(421, "foreign-host", detail).response()(scope, receive, guarded)
        except CutShortError:
            status = _CUT_SHORT
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # The declared path: the real one may hold a learner's protocol, and a query anything.
        route = str(getattr(scope.get("route"), "path", "unknown"))
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        state: dict[str, Any] = scope.get("state", {})
        _log.info("%s %s %s %.1f ms %s", scope["method"], route, status, seconds * 1000, state.get("principal", "-"))


def _host(scope: Scope) -> str:
    """The name in the header Host, without its port; empty where there is none or more than one."""
    values = [value for name, value in scope["headers"] if name == b"host"]
    return _PORT.sub("", values[0].decode("latin-1")).lower() if len(values) == 1 else ""
