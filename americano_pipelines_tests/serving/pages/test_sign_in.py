"""Signing in and out: what the cookie is, when a session ends, and that no other page can use it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.requests import Request

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.serving import browser_sessions
from americano_pipelines.serving.api_keys import KeyCard, create_key, revoke_key
from americano_pipelines.serving.browser_sessions import COOKIE, BrowserSessions
from americano_pipelines.serving.principals import Scope
from americano_pipelines.settings import Settings
from americano_pipelines_tests.serving.conftest import Api
from americano_pipelines_tests.serving.pages.conftest import Pages, Visitor
from americano_pipelines_tests.serving.test_json_web_tokens import AUDIENCE, ISSUER, Issuer, Offset


def test_a_page_leads_to_the_sign_in_and_back(pages: Pages) -> None:
    visitor = Visitor(pages.url)
    away = visitor.get("/protocols/protocol-learner-1")
    assert (away.status_code, away.headers["location"]) == (303, "/sign-in?next=%2Fprotocols%2Fprotocol-learner-1")
    assert "www-authenticate" not in away.headers
    assert 'value="/protocols/protocol-learner-1"' in visitor.get(away.headers["location"]).text

    back = visitor.sign_in(pages.api.key("read"), "/protocols/protocol-learner-1")

    assert (back.status_code, back.headers["location"]) == (303, "/protocols/protocol-learner-1")
    assert visitor.get("/protocols/protocol-learner-1").status_code == 200


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nSet-Cookie: b"])
def test_the_sign_in_leads_to_no_other_site(pages: Pages, target: str) -> None:
    assert Visitor(pages.url).sign_in(pages.api.key("read"), target).headers["location"] == "/"


def test_the_cookie_holds_no_key(pages: Pages) -> None:
    key = pages.api.key("read")
    cookie = Visitor(pages.url).sign_in(key).headers["set-cookie"]

    name, value = cookie.partition(";")[0].split("=", 1)
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert name == COOKIE
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert "secure" not in attributes
    assert key not in value
    assert sha256_hex(key.encode()) not in value
    assert Visitor(pages.url).sign_in(key).headers["set-cookie"].partition(";")[0] != cookie.partition(";")[0]
    secure = Visitor(pages.url).sign_in(key, x_forwarded_proto="https").headers["set-cookie"]
    assert "; Secure" in secure


@pytest.mark.parametrize("credential", ["", "americano_wrong", "x.y.z", "ü" * 20, "a" * 40_000])
def test_nothing_but_a_valid_key_signs_in(pages: Pages, credential: str) -> None:
    answer = Visitor(pages.url).sign_in(credential)

    assert answer.status_code in {401, 413}
    assert "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.text
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site"},
    ],
)
def test_a_form_of_another_page_changes_nothing(pages: Pages, headers: dict[str, str]) -> None:
    visitor = pages.visitor("read")
    fields = {"form": visitor.token("/protocols")}

    assert visitor.send("/sign-out", fields, **headers).status_code == 403
    assert visitor.send(f"/analyses/{pages.record}", fields, **headers).status_code == 403
    assert visitor.sign_in(pages.api.key("admin"), **headers).status_code == 403
    assert visitor.get("/protocols").status_code == 200


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_without_the_token_of_the_session_changes_nothing(pages: Pages, token: str | None) -> None:
    visitor = pages.visitor("read")
    fields = {} if token is None else {"form": token}
    of_another = {"form": pages.visitor("read").token("/protocols")}

    for sent in (fields, of_another):
        assert visitor.send("/sign-out", sent).status_code == 403
        assert visitor.send(f"/analyses/{pages.record}", sent).status_code == 403
    assert visitor.get("/protocols").status_code == 200


def test_signing_out_ends_the_session(pages: Pages) -> None:
    visitor = pages.visitor("read")
    cookie = visitor.client.cookies[COOKIE]
    page = visitor.get("/protocols")

    assert visitor.send("/sign-out", {"form": visitor.token("/protocols")}).status_code == 303

    assert COOKIE not in visitor.client.cookies
    thief = Visitor(pages.url)
    thief.client.cookies.set(COOKIE, cookie)
    assert thief.get("/protocols").status_code == 303
    assert thief.get("/protocols", if_none_match=page.headers["etag"]).status_code == 303


def test_a_session_ends_with_its_key(pages: Pages) -> None:
    card = KeyCard(name="brief", scopes=frozenset({Scope.READ}), created_at=datetime.now(UTC))
    brief = card.model_copy(update={"expires_at": datetime.now(UTC) + timedelta(seconds=2.5)})
    keys = [create_key(pages.api.settings, card), create_key(pages.api.settings, brief)]
    visitors = [Visitor(pages.url), Visitor(pages.url)]
    for visitor, key in zip(visitors, keys, strict=True):
        assert visitor.sign_in(key).status_code == 303
        assert visitor.get("/v1/protocols").status_code == 200

    revoke_key(pages.api.settings.paths, sha256_hex(keys[0].encode())[:12])
    time.sleep(2.6)

    for visitor in visitors:
        assert visitor.get("/v1/protocols").status_code == 401
        away = visitor.get("/protocols")
        assert (away.status_code, away.headers["location"]) == (303, "/sign-in?next=%2Fprotocols&ended=yes")
        assert "You were signed out" in visitor.get(away.headers["location"]).text


def test_a_session_ends_with_its_token(example: Settings, serve: Callable[..., Api], tmp_path: Path) -> None:
    issuer = Issuer(tmp_path / "jwks.json")
    api = serve(example, americano_jwt_issuer=ISSUER, americano_jwt_audience=AUDIENCE, americano_jwt_jwks=issuer.file)
    visitor = Visitor(api.url.removesuffix("/v1"))
    # Clocks may be half a minute apart, so this one has some seconds left.
    assert visitor.sign_in(issuer.token(exp=Offset(-26))).status_code == 303
    assert "learner-1" in visitor.get("/protocols").text

    time.sleep(4.5)

    assert visitor.get("/protocols").status_code == 303


def test_local_programs_need_no_sign_in_where_a_setting_says_so(example: Settings, serve: Callable[..., Api]) -> None:
    visitor = Visitor(serve(example, americano_api_open=True).url.removesuffix("/v1"))

    assert visitor.get("/protocols").status_code == 200
    assert visitor.get("/protocols", x_forwarded_for="10.0.0.1").status_code == 303
    assert "Sign out" not in visitor.get("/protocols").text


def _request(cookie: str, method: str = "GET") -> Request:
    headers = [(b"cookie", f"{COOKIE}={cookie}".encode())]
    return Request({"type": "http", "method": method, "headers": headers, "path": "/"})


def test_a_cookie_alone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = BrowserSessions()
    cookie = sessions.begin("the key")

    assert sessions.credential(_request(cookie)) == "the key"
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert sessions.credential(_request(cookie, method)) is None
    assert "the key" not in repr(vars(sessions))
    present = time.monotonic()
    monkeypatch.setattr(browser_sessions.time, "monotonic", lambda: present + browser_sessions.LIFETIME_SECONDS + 1)
    assert sessions.credential(_request(cookie)) is None


def test_many_sign_ins_with_one_key_end_no_session_of_another() -> None:
    sessions = BrowserSessions()
    other, first = sessions.begin("another key"), sessions.begin("the key")

    for _ in range(30):
        last = sessions.begin("the key")

    assert sessions.credential(_request(other)) == "another key"
    assert sessions.credential(_request(last)) == "the key"
    assert sessions.credential(_request(first)) is None
