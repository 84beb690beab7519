"""Addresses with TLS, against a server with a certificate of a private authority."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from americano_pipelines.demo.postgres.cluster import give_to_system_user
from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.settings import load_settings
from americano_pipelines_tests.conftest import new_password
from americano_pipelines_tests.postgres_servers import PostgresOfVersion, programs_of
from americano_pipelines_tests.sources.helpers import opened

USES_TLS = "SELECT ssl AS tls FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def certificates(server_folder: Path) -> Path:
    """An authority, a certificate of it for the name localhost, and an authority that has nothing to do with it."""
    folder = server_folder / "certificates"
    folder.mkdir()
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    for name in ("a+b", "other"):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN=authority {name[0]}"]
        subprocess.run([*new, *files], cwd=folder, check=True, capture_output=True)
    signed = ["-CA", "a+b.pem", "-CAkey", "a+b.key", "-subj", "/CN=localhost"]
    signed += ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", "server.key", "-out", "server.crt"]
    subprocess.run([*new, *files, *signed], cwd=folder, check=True, capture_output=True)
    (folder / "server.key").chmod(0o600)
    for path in (folder, *folder.iterdir()):
        give_to_system_user(path)
    return folder


@pytest.fixture(scope="module")
def address(server_folder: Path, certificates: Path) -> Iterator[str]:
    """The address of a server that speaks TLS, without parameters; Debian's has OpenSSL, the demo's has not."""
    password = new_password()
    files = {"ssl_cert_file": str(certificates / "server.crt"), "ssl_key_file": str(certificates / "server.key")}
    server = PostgresOfVersion(programs_of("15"), server_folder / "tls", password, {"ssl": "on"} | files)
    try:
        server.start()
        yield f"postgresql://postgres:{quote(password, safe='')}@localhost:{server.port}/postgres"
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("sslmode=require", ""),
        ("sslmode=require&sslaccept=accept_invalid_certs&sslcert={other}", ""),
        ("sslmode=require&sslaccept=strict&sslcert={authority}", ""),
        ("sslmode=verify-full&sslrootcert={authority}", ""),
        ("sslaccept=strict&sslcert={authority}&host=127.0.0.1", "does not match host name"),
        ("sslmode=require&sslcert={authority}", ""),
        ("sslmode=require&sslaccept=strict&sslcert={other}", "certificate verify failed"),
        ("sslmode=require&sslcert={other}", "certificate verify failed"),
        ("sslmode=require&sslaccept=strict", "certificate verify failed"),
        ("sslmode=require&sslcert={authority}.not", "does not exist"),
    ],
)
def test_the_server_s_certificate_is_looked_at_as_the_address_asks(
    address: str, certificates: Path, tmp_path: Path, parameters: str, reason: str
) -> None:
    # A plus in a path is a plus.
    query = parameters.format(authority=certificates / "a+b.pem", other=certificates / "other.pem")
    settings = load_settings(database_url=f"{address}?{query}", americano_data_dir=tmp_path)

    if reason:
        with pytest.raises(SourceError, match=reason) as failed, opened(settings):
            pytest.fail("it opened")
        assert not isinstance(failed.value, TransientSourceError)
        assert "sslrootcert" in str(failed.value)
    else:
        with opened(settings) as snapshot:
            assert snapshot.query(USES_TLS) == [(True,)]


def test_what_else_the_app_s_address_says_is_kept(address: str, tmp_path: Path) -> None:
    host, _, rest = address.partition("@localhost:")
    port, _, database = rest.partition("/")
    query = "host=localhost&application_name=nightly&options=-c%20search_path%3Dapp%20-c%20DateStyle%3DGerman"
    url = (
        f"{host}@/{database}?{query}&port={port}&pgbouncer=true&statement_cache_size=0&socket_timeout=9&pool_timeout=9"
    )
    query = "SELECT application_name AS a, current_setting('search_path') AS b, current_setting('DateStyle') AS c "
    query += "FROM pg_stat_activity WHERE pid = pg_backend_pid()"

    with opened(load_settings(database_url=url, americano_data_dir=tmp_path)) as snapshot:
        assert snapshot.query(query) == [("nightly", "app", "ISO, MDY")]
