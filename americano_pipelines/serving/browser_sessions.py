"""Keep who is signed in to the pages, and check that a form comes from one of them."""

# The cookie is a random key. The service keeps the API key or token encrypted with it, so neither of the two alone
# holds a credential, and each request is authenticated anew: a session ends with its key or token.

import base64
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.requests import Request

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.serving.request_parts import is_same_origin, read_body

COOKIE = "americano_session"
FORM_TOKEN = "form"  # noqa: S105 - the name of a field
LIFETIME_SECONDS = 12 * 3600
_BYTES, _NONCE_BYTES = 32, 12
_MAX_SESSIONS, _MAX_OWN_SESSIONS, _MAX_FORM_BYTES = 10_000, 20, 32 << 10
_SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class _Session:
    ciphertext: bytes
    ends_at: float
    owner: str


class BrowserSessions:
    """The sessions of one service; they end with it."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(_BYTES)
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def begin(self, credential: str) -> str:
        """Begin a session.

        Args:
            credential: the API key or token, which was accepted.

        Returns:
            The value of the cookie.
        """
        key, nonce = AESGCM.generate_key(8 * _BYTES), secrets.token_bytes(_NONCE_BYTES)
        ciphertext = nonce + AESGCM(key).encrypt(nonce, credential.encode(), None)
        cookie = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
        moment, owner = time.monotonic(), hmac.digest(self._secret, credential.encode(), "sha256").hex()
        for name in [name for name, session in self._sessions.items() if session.ends_at < moment]:
            del self._sessions[name]
        # Many sign-ins with one key end sessions of that key, not those of others.
        own = [name for name, session in self._sessions.items() if session.owner == owner]
        if len(own) >= _MAX_OWN_SESSIONS:
            del self._sessions[own[0]]
        elif len(self._sessions) >= _MAX_SESSIONS:
            self._sessions.popitem(last=False)
        self._sessions[sha256_hex(cookie.encode())] = _Session(ciphertext, moment + LIFETIME_SECONDS, owner)
        return cookie

    def end(self, request: Request) -> None:
        """End the session of a request, if it has one."""
        self._sessions.pop(sha256_hex(request.cookies.get(COOKIE, "").encode()), None)

    def credential(self, request: Request) -> str | None:
        """The key or token of a request's session.

        A cookie counts for reading. For a change it counts only after `checked_form`, because a browser also sends it
        with forms of other pages of this machine.
        """
        if request.method not in _SAFE_METHODS and not getattr(request.state, "form_is_checked", False):
            return None
        cookie = request.cookies.get(COOKIE, "")
        session = self._sessions.get(sha256_hex(cookie.encode()))
        if session is None:
            return None
        if session.ends_at < time.monotonic():
            self.end(request)
            return None
        nonce, sealed = session.ciphertext[:_NONCE_BYTES], session.ciphertext[_NONCE_BYTES:]
        return AESGCM(base64.urlsafe_b64decode(f"{cookie}=")).decrypt(nonce, sealed, None).decode()

    def form_token(self, request: Request) -> str:
        """The token that the forms of a session's pages carry."""
        return hmac.digest(self._secret, request.cookies.get(COOKIE, "").encode(), "sha256").hex()

    async def checked_form(self, request: Request) -> Mapping[str, str]:
        """The fields of a form that one of our pages sent.

        Raises:
            Problem: 403, another page sent it, or the page is from before the service was started; 413, it is too long.
        """
        too_long = Problem(413, "too-long", f"a form may have {_MAX_FORM_BYTES} bytes")
        content = await read_body(request, _MAX_FORM_BYTES, too_long)
        try:
            fields = parse_qs(content.decode(), keep_blank_values=True, max_num_fields=20)
        except ValueError:
            fields = {}
        form = {name: values[-1] for name, values in fields.items()}
        token = form.get(FORM_TOKEN, "").encode()
        if not is_same_origin(request) or not hmac.compare_digest(token, self.form_token(request).encode()):
            raise Problem(403, "foreign-form", "this form is not from this page, or the page is too old; load it again")
        request.state.form_is_checked = True
        return form
