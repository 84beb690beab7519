"""API keys: 256 bits, shown once, stored by their hash, refused when expired or revoked."""

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from americano_pipelines.errors import ConfigError
from americano_pipelines.serving.api_keys import KeyCard, create_key
from americano_pipelines.serving.principals import Scope
from americano_pipelines.settings import Settings
from americano_pipelines_tests.cli.conftest import cli  # noqa: F401 - a fixture
from americano_pipelines_tests.conftest import Done
from americano_pipelines_tests.serving.conftest import Api


def test_a_key_is_shown_once_and_stored_by_its_hash(cli: Callable[..., Done], tmp_path: Path) -> None:  # noqa: F811
    created = cli("api", "key", "create", "Excel", "--scope", "read", "--tenant", "school-1", "--days", "30")
    key = created.out.strip()
    listed = cli("api", "key", "list", "--json").json
    folder = tmp_path / "data" / "api_keys"
    files = list(folder.iterdir())

    assert created.code == 0
    assert len(key.removeprefix("americano_")) == 43  # 32 bytes in base64
    assert [file.stem for file in files] == [sha256(key.encode()).hexdigest()]
    assert key not in files[0].read_text() + json.dumps(listed) + created.err
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (listed[0]["name"], listed[0]["scopes"], listed[0]["tenants"]) == ("Excel", ["read"], ["school-1"])
    assert listed[0]["id"] == files[0].stem[:12]


def test_the_group_of_the_data_folder_does_not_read_the_cards(settings_for: Callable[..., Settings]) -> None:
    import grp
    import os

    from americano_pipelines.common import file_permissions

    settings = settings_for(americano_group=grp.getgrgid(os.getegid()).gr_name)
    create_key(settings, KeyCard(name="n", scopes=frozenset({Scope.READ}), created_at=datetime.now(UTC)))
    file_permissions.protect(settings)

    for path in (settings.paths.api_keys, *settings.paths.api_keys.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_revoked_key_is_refused_at_once(api: Api) -> None:
    from americano_pipelines.serving.api_keys import revoke_key

    card = KeyCard(name="to revoke", scopes=frozenset({Scope.READ}), created_at=datetime.now(UTC))
    key = create_key(api.settings, card)
    before = api.get("/v1/protocols", key)
    revoke_key(api.settings.paths, sha256(key.encode()).hexdigest()[:12])
    after = api.get("/v1/protocols", key)

    assert (before.status_code, after.status_code) == (200, 401)
    assert after.json()["code"] == "unauthenticated"


def test_an_expired_key_is_refused(api: Api) -> None:
    moment = datetime.now(UTC)
    card = KeyCard(name="old", scopes=frozenset({Scope.READ}), created_at=moment, expires_at=moment + timedelta(days=1))
    expired = card.model_copy(update={"expires_at": moment - timedelta(seconds=1)})

    assert api.get("/v1/protocols", create_key(api.settings, card)).status_code == 200
    assert api.get("/v1/protocols", create_key(api.settings, expired)).status_code == 401


def test_without_a_key_only_health_answers(api: Api) -> None:
    from americano_pipelines.serving.application import build_application

    assert build_application(api.settings) is not None
    described = api.get("/v1/openapi.json").json()["paths"]
    assert "post" in described["/v1/syncs"]
    # What only starts something answers no GET; `test_trigger.py` asks it without a key.
    paths = [path for path, entry in described.items() if "get" in entry and path != "/v1/health"]
    hidden = ["/v1/openapi.json", "/v1/docs", "/v1/docs/start.js", "/v1/protocols.csv", "/v1/reports/daily?limit=0"]

    assert httpx.get(f"{api.url}/health").json() == {"status": "ok"}
    for path in [*paths, *hidden]:
        for key in ("", "wrong", "americano_", "americano_" + "A" * 43):
            answer = api.get(path, key) if key else httpx.get(api.url.removesuffix("/v1") + path)
            assert answer.status_code == 401, (path, key)
            challenges = answer.headers.get_list("www-authenticate")
            assert [challenge.partition(" ")[0] for challenge in challenges] == ["Basic", "Bearer"]


def test_the_key_may_come_as_a_password(api: Api) -> None:
    answer = httpx.get(f"{api.url}/protocols", auth=("anything", api.key("read")))

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [("Basic !!!", 401), ("Basic " + "QQ==", 401), ("Digest x", 401), ("Bearer", 401), ("Bearer \xe9", 401)],
)
def test_malformed_credentials_are_refused(api: Api, header: str, status: int) -> None:
    answer = httpx.get(f"{api.url}/protocols", headers=[(b"authorization", header.encode("latin-1"))])

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--scope", "learner"), "--learner"),
        (("--scope", "read", "--learner", "l"), "--learner"),
        (("--scope", "admin", "--tenant", "t"), "--tenant"),
        (("--scope", "learner", "--learner", "l", "--tenant", "t"), "--tenant"),
    ],
)
def test_contradictions_are_refused(cli: Callable[..., Done], arguments: tuple[str, ...], words: str) -> None:  # noqa: F811
    done = cli("api", "key", "create", "k", *arguments)

    assert done.code == 2
    assert words in done.err


def test_revoking_takes_an_id_that_means_one_key(settings_for: Callable[..., Settings]) -> None:
    from americano_pipelines.serving.api_keys import revoke_key

    settings = settings_for()
    for _ in range(2):
        create_key(settings, KeyCard(name="n", scopes=frozenset({Scope.READ}), created_at=datetime.now(UTC)))

    for wrong in ("", "zz"):
        with pytest.raises(ConfigError, match="key list"):
            revoke_key(settings.paths, wrong)
    assert len(list(settings.paths.api_keys.iterdir())) == 2


def test_local_programs_read_without_a_key_where_a_setting_says_so(
    example: Settings, serve: Callable[..., Api]
) -> None:
    api = serve(example, americano_api_open="true")

    assert httpx.get(f"{api.url}/protocols").status_code == 200
    assert httpx.get(f"{api.url}/analyses/run-learner-1").status_code == 200
    # Behind a proxy everybody comes from this machine.
    assert httpx.get(f"{api.url}/protocols", headers={"x-forwarded-for": "10.0.0.1"}).status_code == 401
    # A wrong key is no missing key.
    assert api.get("/v1/protocols", "wrong").status_code == 401
