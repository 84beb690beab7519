"""Identify the principal of a request: by an API key, a bearer token, a session that was begun with one.

A program of this machine needs none where the settings allow it.
"""

import asyncio
import base64
import binascii
from ipaddress import ip_address

from fastapi import Request

from americano_pipelines.serving.api_keys import PREFIX, KeyRing
from americano_pipelines.serving.browser_sessions import BrowserSessions
from americano_pipelines.serving.json_web_tokens import TokenVerifier
from americano_pipelines.serving.principals import Principal, Scope
from americano_pipelines.serving.problem_details import forbidden, unauthenticated
from americano_pipelines.serving.rate_limits import RateLimit
from americano_pipelines.settings import Settings

_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Authentication:
    """Authenticate requests and count them."""

    def __init__(self, settings: Settings) -> None:
        self.sessions = BrowserSessions()
        self._open = settings.americano_api_open
        self._keys = KeyRing(settings)
        self._tokens = TokenVerifier.configured(settings)
        self._limit = RateLimit(settings.americano_api_rate)

    async def principal(self, request: Request, allowed: frozenset[Scope]) -> Principal:
        """The principal of a request.

        Args:
            request: the request; its principal's name is kept in its state, for the log.
            allowed: the scopes of which one is needed.

        Raises:
            Problem: 401 without a valid key or token; 403 without one of the scopes; 429 above the rate; 503 when
                the keys of the issuer cannot be read.
        """
        principal = await self._identify(request)
        request.state.principal = principal.name
        self._limit.check(principal.name)
        if not principal.scopes & allowed:
            raise forbidden(allowed)
        return principal

    async def _identify(self, request: Request) -> Principal:
        header = request.headers.get("authorization")
        credential = self.sessions.credential(request) if header is None else _credential(header)
        if credential is None:
            if self._open and _is_local(request):
                return Principal("local", frozenset({Scope.READ, Scope.OPERATOR}))
            raise unauthenticated("send an API key or a token in the header Authorization: Bearer ...")
        return await self.identify(credential)

    async def identify(self, credential: str) -> Principal:
        """The principal of an API key or token.

        Raises:
            Problem: 401, it is not valid; 503, the keys of the issuer cannot be read.
        """
        if credential.startswith(PREFIX):
            principal = self._keys.principal(credential)
            if principal is None:
                raise unauthenticated("the API key is unknown, revoked or expired")
            return principal
        if self._tokens is None:
            raise unauthenticated("this is no API key, and no issuer of tokens is configured")
        # In a thread, because it may have to fetch the issuer's keys.
        return await asyncio.to_thread(self._tokens.principal, credential)


def _credential(header: str) -> str:
    """The key or token of a header; of Basic, which browsers and Excel send, the password."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            raise unauthenticated("the header Authorization is malformed") from None
    raise unauthenticated("the header Authorization must be Bearer, or Basic with the key as password")


def _is_local(request: Request) -> bool:
    """Whether a program of this machine sent a request; behind a proxy everybody would seem to be one."""
    if request.client is None or any(name in request.headers for name in _PROXY_HEADERS):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
