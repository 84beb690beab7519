"""The source's address, from `DATABASE_URL`, from `PG_*`, or from both."""

import traceback
from typing import Any

import pytest

from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import PROJECT_ROOT, Mode, PostgresTarget, load_settings, split_table
from americano_pipelines.settings.postgres_url import parse_url

BASE = {"host": "h", "port": 5432, "user": "u", "password": "", "database": "db"}
FORMS: list[tuple[str, dict[str, Any]]] = [
    ("postgres://u@h/db", {}),
    ("postgresql://u@h/db", {}),
    ("postgresql://u:p@h:6543/db", {"password": "p", "port": 6543}),
    ("postgresql://u:p%40%2F%3A%27%5C%25@h/db", {"password": "p@/:'\\%"}),
    ("postgresql://u%40x:p+q@h/d%20b", {"user": "u@x", "password": "p+q", "database": "d b"}),
    ("postgresql://u:p@ss@h/db", {"password": "p@ss"}),
    ("postgresql://u@[::1]:5433/db", {"host": "::1", "port": 5433}),
    ("postgresql://u@localhost/db?host=/Var/Run", {"host": "/Var/Run"}),
    ("postgresql://u@/db?host=/var/run", {"host": "/var/run"}),
    ("postgresql://u@%2FTmp%2Frun/db", {"host": "/Tmp/run"}),
    ("postgresql://h/db", {"user": "postgres"}),
    ("postgresql://u@h/db?schema=research", {"schema": "research"}),
    ("postgresql://u@h/db?schema=&connection_limit=5&pool_timeout=0&pgbouncer=true", {"connections": 5}),
    (
        "postgresql://u@h/db?sslmode=require&schema=s&connect_timeout=3",
        {"schema": "s", "options": (("connect_timeout", "3"), ("sslmode", "require"))},
    ),
    ("postgresql://u@/db?host=h&port=5433", {"port": 5433}),
    ("postgresql://h/db?user=u&password=p%2Bq&dbname=other", {"password": "p+q", "database": "other"}),
    (
        "postgresql://u@h/db?application_name=nightly&options=-c%20search_path%3Dapp",
        {"options": (("application_name", "nightly"), ("options", "-c search_path=app"))},
    ),
    (
        "postgresql://u@h/db?sslaccept=strict&sslmode=require&sslcert=/a+b.pem",
        {"options": (("sslmode", "verify-full"), ("sslrootcert", "/a+b.pem"))},
    ),
    ("postgresql://u@h/db?sslaccept=strict", {"options": (("sslmode", "verify-full"), ("sslrootcert", "system"))}),
    ("postgresql://u@h/db?sslcert=/ca.pem", {"options": (("sslmode", "verify-ca"), ("sslrootcert", "/ca.pem"))}),
    ("postgresql://u@h/db?sslaccept=accept_invalid_certs&sslcert=/ca.pem", {}),
    (
        "postgresql://u@h/db?sslmode=require&sslcert=/me.pem&sslkey=/me.key",
        {"options": (("sslcert", "/me.pem"), ("sslkey", "/me.key"), ("sslmode", "require"))},
    ),
]
BROKEN = [
    ("mysql://u:hush@h/db", "must start with postgresql:// or postgres://"),
    ("u:hush@h/db", "must start with"),
    ("postgresql://u:hush@/db", "names no host"),
    ("postgresql://u:hush@h", "names no database"),
    ("postgresql://u:hush@h/", "names no database"),
    ("postgresql://u:hush@h:99999/db", "number from 1 to 65535"),
    ("postgresql://u:hush@h:0/db", "number from 1 to 65535"),
    ("postgresql://u:hush@h:x/db", "number from 1 to 65535"),
    ("postgresql://u:hush/x@h/db", "percent-encoded"),
    ("postgresql://u:hush#x@h/db", "percent-encoded"),
    ("postgresql://u:hush[x@h/db", "percent-encoded"),
    ("postgresql://u:hush℀@h/db", "percent-encoded"),
    ("postgresql://u:hush@/db?host=h&port=x", "number from 1 to 65535"),
    ("postgresql://u:hush@h/db?connection_limit=0", "connection_limit must be a number from 1 on"),
    ("postgresql://u:hush@h/db?sslaccept=yes", "sslaccept must be strict or accept_invalid_certs"),
    ("postgresql://u:hush@h/db?sslaccept=strict&sslmode=disable", "sslaccept=strict contradicts sslmode=disable"),
    (
        "postgresql://u:hush@h/db?sslidentity=me.p12&sslpassword=hush",
        "has sslidentity and sslpassword, a PKCS",
    ),
    ("postgresql://u:hush@h/db?colour=red&sslmode=require", "unknown parameters: number 1 after"),
    # The password ends at the first of its characters that mean something in an address.
    ("postgresql://u:1/hush@h/db", "percent-encoded"),
    ("postgresql://u:1/a?hush@h/db", "percent-encoded"),
    ("postgresql://u:1/a?x=1&hush@h/db", "percent-encoded"),
    ("postgresql://u:1/a#hush@h/db", "percent-encoded"),
    ("postgresql://u:1/hush#x", "percent-encoded"),
    ("postgresql://h/db?sslmode=require&hush=1", "unknown parameters: number 2 after"),
    ("postgresql://h/db?sslaccept=accept_invalid_certs&sslmode=verify-full", "contradicts sslmode=verify-full"),
    ("postgresql://u:hush@h/db?sslmode=no-verify", "sslmode must be one of disable, allow, prefer, require, verify-"),
    ("postgresql://u:hush@h/db?sslmode=Require", "sslmode must be one of"),
    ("postgresql://u:hush@h/db?sslsni=yes", "sslsni must be one of 0, 1"),
    ("postgresql://u:hush@h/db?sslnegotiation=tls", "sslnegotiation must be one of postgres, direct"),
    ("postgresql://u:hush@h/db?ssl_min_protocol_version=1.2", "ssl_min_protocol_version must be one of TLSv1, "),
    ("postgresql://u:hush@h/db?channel_binding=on", "channel_binding must be one of"),
    ("postgresql://u:hush@h/db?gssencmode=on", "gssencmode must be one of"),
    ("postgresql://u:hush@h/db?target_session_attrs=write", "target_session_attrs must be one of any, read-write"),
    ("postgresql://u:hush@h/db?connect_timeout=10s", "connect_timeout must be a whole number"),
    ("postgresql://u:hush@h/db?keepalives=on", "keepalives must be a whole number"),
    ("postgresql://u:hush@h/db?require_auth=scram", "require_auth must be a list of password, md5"),
]
KNOWN = (
    "sslmode=verify-full",
    "sslmode=",
    "sslsni=0",
    "sslnegotiation=direct",
    "ssl_min_protocol_version=TLSv1.3",
    "gssencmode=disable",
    "channel_binding=require",
    "target_session_attrs=prefer-standby",
    "connect_timeout=5",
    "keepalives=1",
    "require_auth=!password,!none",
)


@pytest.mark.parametrize(("url", "parts"), FORMS)
def test_an_address_is_read_as_prisma_and_libpq_write_it(url: str, parts: dict[str, Any]) -> None:
    assert parse_url(url) == PostgresTarget(**(BASE | parts))


@pytest.mark.parametrize(("url", "reason"), BROKEN)
def test_a_broken_address_is_refused_without_being_quoted(url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(database_url=url)

    assert str(refused.value).startswith("DATABASE_URL: ")
    assert reason in str(refused.value)
    assert "hush" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("parameter", KNOWN)
def test_a_value_that_libpq_knows_is_passed_on(parameter: str) -> None:
    name, _, value = parameter.partition("=")

    assert dict(parse_url(f"postgresql://u@h/db?{parameter}").options)[name] == value


PARTS = {"pg_host": "h", "pg_port": 6543, "pg_user": "u", "pg_password": "hush", "pg_database": "db"}
URL = "postgresql://u:hush@h:6543/db"


def test_both_forms_alike_are_fine() -> None:
    assert load_settings(database_url=URL, **PARTS).postgres == load_settings(database_url=URL).postgres


@pytest.mark.parametrize(("variable", "value"), [(name, 1 if name == "pg_port" else "other") for name in PARTS])
def test_both_forms_different_are_refused_by_the_name_of_the_variable(variable: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(database_url=URL, **(PARTS | {variable: value}))

    assert str(refused.value).startswith(f"{variable.upper()}: differs from the {variable.removeprefix('pg_')} in")
    assert "hush" not in str(refused.value)


def test_a_default_of_the_parts_does_not_contradict_the_address() -> None:
    assert load_settings(database_url=URL, pg_host="h").postgres == load_settings(database_url=URL).postgres


def test_a_host_may_be_a_socket_folder_and_a_password_empty() -> None:
    target = load_settings(pg_host="/var/run/postgresql", pg_password="").postgres

    assert target == PostgresTarget("/var/run/postgresql", 5432, "postgres", "", "americano")


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({}, Mode.PARQUET),
        ({"pg_user": "u", "pg_port": 1, "pg_database": "d", "pg_password": "p"}, Mode.PARQUET),
        ({"pg_host": ""}, Mode.PARQUET),
        ({"pg_host": "h"}, Mode.POSTGRES),
        ({"database_url": URL}, Mode.POSTGRES),
        ({"database_url": URL, "duckdb_use_postgres_scanner": "true"}, Mode.SCANNER),
    ],
)
def test_postgres_counts_as_configured_by_an_address_or_a_host(values: dict[str, Any], mode: Mode) -> None:
    assert load_settings(**values).mode is mode


def test_the_scanner_without_a_postgres_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^DUCKDB_USE_POSTGRES_SCANNER: .* set DATABASE_URL or PG_HOST"):
        load_settings(duckdb_use_postgres_scanner=True)


def test_a_label_holds_no_password() -> None:
    target = parse_url(URL)

    assert target.label == "u@h:6543/db"
    assert "hush" not in repr(target)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("events", (None, "events")),
        ("BehavioralEvent", (None, "BehavioralEvent")),
        ('"BehavioralEvent"', (None, "BehavioralEvent")),
        ("app.events", ("app", "events")),
        ('"App"."BehavioralEvent"', ("App", "BehavioralEvent")),
        ('app."odd.name"', ("app", "odd.name")),
    ],
)
def test_a_table_name_is_taken_apart(name: str, parts: tuple[str | None, str]) -> None:
    assert split_table(name) == parts


def test_the_path_of_a_certificate_starts_at_the_project_s_folder() -> None:
    target = load_settings(database_url="postgresql://u@h/db?sslcert=certificates/ca.pem").postgres

    assert target is not None
    assert dict(target.options)["sslrootcert"] == str(PROJECT_ROOT / "certificates" / "ca.pem")
