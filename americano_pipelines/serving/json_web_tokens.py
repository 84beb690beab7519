"""Accept bearer tokens (JWT) of the configured issuer: RS256, ES256 and EdDSA, signed by its public keys."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import ConfigError
from americano_pipelines.serving.principals import Principal, scopes_of
from americano_pipelines.serving.problem_details import busy, unauthenticated
from americano_pipelines.settings import PROJECT_ROOT, Settings

SKEW_SECONDS = 30
MAX_AGE_SECONDS = 300.0
# A token that names an unknown key makes us look for new keys, but not each time: anybody can write such a token.
REFRESH_SECONDS = 10.0
_FETCH_SECONDS, _MAX_BYTES, _MIN_RSA_BITS = 5.0, 1 << 20, 2048
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# The algorithm follows from the key, never from the token. Curve is None where a kind has none.
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}


class PublicKeys:
    """An issuer's public keys, from a file or an address; kept for five minutes and read again for an unknown key."""

    def __init__(self, setting: str) -> None:
        parts = urlsplit(setting)
        self._address = setting if parts.scheme in {"http", "https"} else None
        self._file = None if self._address else PROJECT_ROOT / Path(setting).expanduser()
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError("AMERICANO_JWT_JWKS: is an http address; only https shows whose keys these are")
        self._lock = threading.Lock()
        self._keys: dict[str | None, tuple[str, jwt.PyJWK]] = {}
        self._read_at = float("-inf")

    def find(self, key_id: str | None) -> tuple[str, jwt.PyJWK] | None:
        """The algorithm and the key of an id; None where the issuer has no such key.

        Raises:
            Problem: 503, the keys cannot be read.
        """
        with self._lock:
            age = time.monotonic() - self._read_at
            if age > MAX_AGE_SECONDS or (key_id not in self._keys and age > REFRESH_SECONDS):
                try:
                    self._keys = _usable(json.loads(self._content()))
                except (OSError, ValueError, urllib.error.URLError) as error:
                    raise busy(f"the public keys of the issuer cannot be read: {type(error).__name__}", 30) from None
                self._read_at = time.monotonic()
            return self._keys.get(key_id)

    def _content(self) -> bytes:
        if self._file is not None:
            return self._file.read_bytes()
        request = urllib.request.Request(str(self._address), headers={"Accept": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=_FETCH_SECONDS) as answer:  # noqa: S310 - checked above
            content: bytes = answer.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError("too long")
        return content


def _usable(document: Any) -> dict[str | None, tuple[str, jwt.PyJWK]]:  # noqa: ANN401 - JSON
    """The keys that sign with an allowed algorithm, by their id."""
    keys: dict[str | None, tuple[str, jwt.PyJWK]] = {}
    for entry in document["keys"] if isinstance(document, dict) and isinstance(document.get("keys"), list) else ():
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        algorithm = _ALGORITHMS.get((str(entry.get("kty")), entry.get("crv")))
        if algorithm is None or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if algorithm == "RS256" and key.key.key_size < _MIN_RSA_BITS:
            continue
        keys[entry.get("kid")] = (algorithm, key)
    return keys


class TokenVerifier:
    """Turn tokens of the configured issuer into principals."""

    def __init__(self, settings: Settings, keys: PublicKeys) -> None:
        self._settings, self._keys = settings, keys
        words = (pair.strip().partition("=") for pair in (settings.americano_jwt_scopes or "").split(",") if pair)
        self._scope_of = {word: scope for word, _, scope in words}

    @classmethod
    def configured(cls, settings: Settings) -> "TokenVerifier | None":
        """A verifier for the issuer of the settings, None without one."""
        return cls(settings, PublicKeys(settings.americano_jwt_jwks)) if settings.americano_jwt_jwks else None

    def principal(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            Problem: 401, the token is not valid here, with the reason; 503, the public keys cannot be read.
        """
        settings = self._settings
        try:
            header = jwt.get_unverified_header(token)
            known = self._keys.find(header.get("kid"))
            if known is None:
                raise unauthenticated("the token is signed by no key of the issuer")
            algorithm, key = known
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=settings.americano_jwt_issuer,
                audience=settings.americano_jwt_audience,
                leeway=SKEW_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            # Its message names a claim or an algorithm, and no value of the token.
            raise unauthenticated(f"the token is not valid: {_reason(error)}") from None
        return self._of_claims(claims)

    def _of_claims(self, claims: Mapping[str, Any]) -> Principal:
        settings = self._settings
        words = _texts(_claim(claims, settings.americano_jwt_scopes_claim))
        learner = _claim(claims, settings.americano_jwt_learner_claim)
        subject = sha256_hex(f"{claims['iss']}\n{claims['sub']}".encode())[:12]
        # Without a mapping there are no tenants, and researchers see all learners.
        tenants = tuple(_texts(_claim(claims, settings.americano_jwt_tenants_claim)))
        return Principal(
            f"token {subject}",
            scopes_of(self._scope_of.get(word, word) for word in words),
            tenants if settings.americano_tenants is not None else None,
            learner if isinstance(learner, str) and learner else None,
        )


def _reason(error: jwt.PyJWTError) -> str:
    names = {
        jwt.ExpiredSignatureError: "it has expired",
        jwt.ImmatureSignatureError: "it is not valid yet",
        jwt.InvalidAudienceError: "it is for another audience",
        jwt.InvalidIssuerError: "it is of another issuer",
        jwt.InvalidAlgorithmError: "it is signed by another algorithm than its key allows",
        jwt.InvalidSignatureError: "its signature is wrong",
        jwt.MissingRequiredClaimError: "it lacks one of the claims exp, iss, aud and sub",
    }
    return next((words for kind, words in names.items() if isinstance(error, kind)), "it is malformed")


def _claim(claims: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - JSON
    """The value of a claim; dots in a name lead into objects, unless the token has a claim of the whole name."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - JSON
    """A list of texts, or the words of a text."""
    if isinstance(value, str):
        return value.split()
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
