"""Bearer tokens: of the configured issuer only, for this audience, in time, by an allowed algorithm and a known key."""

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from americano_pipelines.errors import ConfigError
from americano_pipelines.serving import json_web_tokens
from americano_pipelines.serving.json_web_tokens import PublicKeys, TokenVerifier
from americano_pipelines.serving.principals import Scope
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.settings import Settings
from americano_pipelines_tests.serving.conftest import Api

ISSUER, AUDIENCE = "https://issuer.example", "americano"
ALGORITHMS = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}


@dataclass(frozen=True)
class Offset:
    """A time that is so many seconds after the token is made."""

    seconds: int


class Issuer:
    """An issuer of tokens with a key of each kind."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.keys: dict[str, Any] = {}
        for algorithm in ALGORITHMS:
            self.rotate(algorithm, "1")

    def rotate(self, algorithm: str, number: str) -> None:
        """Replace the key of an algorithm."""
        makers: dict[str, Callable[[], Any]] = {
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }
        self.keys = {name: key for name, key in self.keys.items() if not name.startswith(algorithm)}
        self.keys[f"{algorithm}-{number}"] = makers[algorithm]()
        self.write()

    def write(self, *more: dict[str, Any]) -> None:
        self.file.write_text(json.dumps({"keys": [*(self.public(name) for name in self.keys), *more]}))

    def public(self, name: str) -> dict[str, Any]:
        algorithm = jwt.get_algorithm_by_name(name.partition("-")[0])
        document: dict[str, Any] = algorithm.to_jwk(self.keys[name].public_key(), as_dict=True)
        return document | {"kid": name, "use": "sig"}

    def token(self, kid: str = "RS256-1", *, key: Any = None, algorithm: str | None = None, **claims: Any) -> str:
        moment = int(time.time())
        known = {"iss": ISSUER, "aud": AUDIENCE, "sub": "learner-1", "exp": moment + 600, "iat": moment}
        claims = known | {"scope": "learner"} | claims
        whole = {
            name: moment + value.seconds if isinstance(value, Offset) else value
            for name, value in claims.items()
            if value is not None
        }
        signing = self.keys[kid] if key is None else key
        return jwt.encode(whole, signing, algorithm or kid.partition("-")[0], headers={"kid": kid})


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "jwks.json")


@pytest.fixture
def configured(settings_for: Callable[..., Settings]) -> Callable[..., TokenVerifier]:
    def make(issuer: Issuer, **values: Any) -> TokenVerifier:
        settings = settings_for(
            americano_jwt_issuer=ISSUER,
            americano_jwt_audience=AUDIENCE,
            americano_jwt_jwks=str(issuer.file),
            **values,
        )
        verifier = TokenVerifier.configured(settings)
        assert verifier is not None
        return verifier

    return make


def refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(Problem) as raised:
        verifier.principal(token)
    assert raised.value.status == 401
    assert not token or token not in raised.value.detail
    return raised.value.detail


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_each_algorithm_is_accepted(
    issuer: Issuer, configured: Callable[..., TokenVerifier], algorithm: str
) -> None:
    principal = configured(issuer).principal(issuer.token(f"{algorithm}-1"))

    assert (principal.learner, principal.scopes) == ("learner-1", {Scope.LEARNER})
    assert principal.visible == ["learner:learner-1"]
    assert "learner-1" not in principal.name  # it goes into logs


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": Offset(-31)}, "expired"),
        ({"nbf": Offset(600)}, "not valid yet"),
        ({"iat": Offset(600)}, "not valid yet"),
        ({"aud": "another"}, "another audience"),
        ({"aud": None}, "audience|lacks"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": None}, "issuer|lacks"),
        ({"exp": None}, "lacks"),
        ({"sub": None}, "lacks"),
        ({"exp": "never"}, "malformed"),
    ],
)
def test_claims_that_do_not_fit_are_refused(
    issuer: Issuer, configured: Callable[..., TokenVerifier], claims: dict[str, Any], words: str
) -> None:
    assert re.search(words, refusal(configured(issuer), issuer.token(**claims)))


def test_clocks_may_differ_by_half_a_minute(issuer: Issuer, configured: Callable[..., TokenVerifier]) -> None:
    moment = int(time.time())

    assert configured(issuer).principal(issuer.token(exp=moment - 25)).learner == "learner-1"
    assert configured(issuer).principal(issuer.token(nbf=moment + 25)).learner == "learner-1"


def test_the_algorithm_follows_from_the_key(issuer: Issuer, configured: Callable[..., TokenVerifier]) -> None:
    public = issuer.keys["RS256-1"].public_key()
    text = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    verifier = configured(issuer)
    moment = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "exp": moment + 600, "scope": "admin"}
    # The library refuses to sign with a public key, so the two parts are made by hand.
    head = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "kid": "RS256-1"}).encode())
    body = jwt.utils.base64url_encode(json.dumps(claims).encode())
    mac = jwt.utils.base64url_encode(hmac.new(text, head + b"." + body, hashlib.sha256).digest())
    none_head = jwt.utils.base64url_encode(json.dumps({"alg": "none", "kid": "RS256-1"}).encode())

    refusal(verifier, (head + b"." + body + b"." + mac).decode())
    refusal(verifier, (none_head + b"." + body + b".").decode())
    refusal(verifier, issuer.token("RS256-1", algorithm="RS384"))
    refusal(verifier, issuer.token("RS256-1", algorithm="PS256"))
    refusal(verifier, issuer.token("RS256-1", key=issuer.keys["ES256-1"], algorithm="ES256"))


@pytest.mark.filterwarnings("ignore:.*1024 bits")
def test_keys_of_other_kinds_are_not_used(issuer: Issuer, configured: Callable[..., TokenVerifier]) -> None:
    secret = b"x" * 32
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    of_weak = jwt.get_algorithm_by_name("RS256").to_jwk(weak.public_key(), as_dict=True)
    symmetric = {"kty": "oct", "k": jwt.utils.base64url_encode(secret).decode(), "kid": "HS256-1", "alg": "HS256"}
    issuer.write(symmetric, {**of_weak, "kid": "RS256-weak"})
    issuer.keys |= {"HS256-1": secret, "RS256-weak": weak}
    verifier = configured(issuer)

    assert "no key" in refusal(verifier, issuer.token("HS256-1"))
    assert "no key" in refusal(verifier, issuer.token("RS256-weak"))


def test_a_signature_of_somebody_else_is_refused(issuer: Issuer, configured: Callable[..., TokenVerifier]) -> None:
    verifier = configured(issuer)
    token = issuer.token()
    head, body, signature = token.split(".")

    assert "signature" in refusal(verifier, issuer.token(key=rsa.generate_private_key(65537, 2048)))
    for wrong in ("", "a.b.c", f"{head}.{body}.", f"{head}.{body[:-4]}abcd.{signature}", token + "x", "é.é.é"):
        refusal(verifier, wrong)


def test_a_rotated_key_is_accepted_and_the_old_one_is_not(
    issuer: Issuer, configured: Callable[..., TokenVerifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_web_tokens, "REFRESH_SECONDS", 0.0)
    verifier = configured(issuer)
    old = issuer.token()
    assert verifier.principal(old).learner == "learner-1"

    issuer.rotate("RS256", "2")

    assert verifier.principal(issuer.token("RS256-2")).learner == "learner-1"
    assert "no key" in refusal(verifier, old)


def test_unknown_keys_do_not_make_us_ask_the_issuer_each_time(
    issuer: Issuer, configured: Callable[..., TokenVerifier]
) -> None:
    verifier = configured(issuer)
    token = issuer.token()
    verifier.principal(token)
    issuer.keys["RS256-9"] = rsa.generate_private_key(65537, 2048)
    unknown = issuer.token("RS256-9")
    issuer.file.unlink()  # reading it again would be a 503

    for _ in range(3):
        refusal(verifier, unknown)
    assert verifier.principal(token).learner == "learner-1"


def test_keys_that_cannot_be_read_are_no_fault_of_the_token(
    issuer: Issuer, configured: Callable[..., TokenVerifier]
) -> None:
    verifier = configured(issuer)
    for content in ("", "[]x", "\xff"):
        issuer.file.write_text(content)
        with pytest.raises(Problem) as raised:
            verifier.principal(issuer.token())
        assert (raised.value.status, raised.value.headers["Retry-After"]) == (503, "30")


def test_claims_are_mapped(issuer: Issuer, configured: Callable[..., TokenVerifier]) -> None:
    verifier = configured(
        issuer,
        americano_jwt_learner_claim="app_metadata.learner",
        americano_jwt_scopes_claim="role",
        americano_jwt_scopes="authenticated=learner, researcher=read",
        americano_jwt_tenants_claim="https://claims.example/schools",
        americano_tenants="experiment_protocols.school",
    )
    schools = {"https://claims.example/schools": ["school-1", 7]}

    learner = verifier.principal(issuer.token(role="authenticated", app_metadata={"learner": "l9"}))
    researcher = verifier.principal(issuer.token(role="researcher", **schools))
    stranger = verifier.principal(issuer.token(role="service_role"))
    nameless = verifier.principal(issuer.token(role="authenticated", app_metadata={"learner": 7}))

    assert learner.visible == ["learner:l9"]
    assert researcher.visible == ["tenant:school-1"]
    assert stranger.scopes == frozenset()
    assert nameless.visible == []
    # With tenants configured, a researcher whose token names none sees none.
    assert verifier.principal(issuer.token(role="researcher")).visible == []


def test_without_tenants_researchers_see_all(issuer: Issuer, configured: Callable[..., TokenVerifier]) -> None:
    principal = configured(issuer).principal(issuer.token(scope="openid read", tenants=["school-1"]))

    assert principal.visible is None


@pytest.fixture
def address(issuer: Issuer) -> Iterator[str]:
    """The issuer's keys by HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(issuer.file.read_bytes())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    server.shutdown()


def test_keys_of_an_address_and_no_secret_in_the_log(
    example: Settings, issuer: Issuer, address: str, serve: Callable[..., Api]
) -> None:
    api = serve(
        example,
        americano_jwt_issuer=ISSUER,
        americano_jwt_audience=AUDIENCE,
        americano_jwt_jwks=address,
        log_level="DEBUG",
    )
    good, expired = issuer.token(), issuer.token(exp=int(time.time()) - 100)
    key = api.key("read")

    assert [row["learner_id"] for row in api.rows("/v1/protocols", good)] == ["learner-1"]
    assert api.get("/v1/protocols", expired).status_code == 401
    assert api.get("/v1/protocols/protocol-learner-3", key).status_code == 200
    assert api.get(f"/v1/analyses?protocol={good}", key).status_code in {200, 422}
    api.stop()
    log = api.log.read_text()
    assert "/v1/protocols/{protocol} 200" in log
    for secret in (good, good.split(".")[2], expired, key, "learner-1", "learner-3"):
        assert secret not in log


def test_public_keys_come_by_https_only() -> None:
    with pytest.raises(ConfigError, match="https"):
        PublicKeys("http://issuer.example/jwks.json")


@pytest.mark.parametrize("missing", ["issuer", "audience", "jwks"])
def test_a_part_of_an_issuer_is_refused(settings_for: Callable[..., Settings], missing: str) -> None:
    whole = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": "jwks.json"}
    values = {f"americano_jwt_{name}": value for name, value in whole.items() if name != missing}

    with pytest.raises(ConfigError, match=f"AMERICANO_JWT_{missing.upper()}"):
        settings_for(**values)
