"""Every type, value by value: each way of reading, first sync and change, on each kind of server."""

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest

from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.conftest import SYNC_ROLE, Database
from americano_pipelines_tests.postgres_servers import Kinds
from americano_pipelines_tests.sync.support import sync

# DuckDB has a type that holds these exactly, so they can be scanned in parallel.
SCANNED = {
    "text": ["", " a ", 'q"uote\\', "é", "NULL"],
    "varchar(20)": ["", "x"],
    "boolean": ["true", "false"],
    "smallint": ["-32768", "32767"],
    "integer": ["-2147483648", "2147483647"],
    "bigint": ["-9223372036854775808", "9223372036854775807"],
    "real": ["NaN", "Infinity", "-Infinity", "-0", "1.17549435e-38", "0.1", "3.4028235e38"],
    "double precision": ["NaN", "Infinity", "-Infinity", "-0", "2.2250738585072014e-308", "0.1", "1.5e300"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "bytea": ["", r"\x00ff5c27", r"\xdeadbeef"],
    "date": ["infinity", "-infinity", "0044-03-15 BC", "1970-01-01", "9999-12-31", "20000-02-03"],
    "timestamp(3)": ["infinity", "-infinity", "0044-03-15 12:00:00 BC", "2025-03-30 02:30:00.123"],
    "timestamp": ["1969-12-31 23:59:59.999999", "294246-12-31 23:59:59.999999"],
    "timestamptz": ["infinity", "-infinity", "2025-03-30 02:30:00.123456+02", "0001-01-01 00:00:00+00"],
    "json": ['{"b": 1,  "a": [1.0, null]}', '"é"', "null"],
    "jsonb": ['{"b": 1,  "a": [1.0, null]}', '"é"', "null", "1e400"],
    "numeric(10,2)": ["-12345678.90", "0", "0.01"],
    "numeric(38,10)": ["9999999999999999999999999999.9999999999", "-0.0000000001"],
    "kind": ["plain", "with, comma", 'with "quote'],
    "kind[]": ["{}", '{plain,"with, comma",NULL}', '{"with \\"quote"}'],
    "text[]": ["{}", '{"",NULL,"NULL","a,b","{}"}'],
    "varchar(5)[]": ["{a,NULL}"],
    "integer[]": ["{}", "{1,NULL,-3}"],
    "bigint[]": ["{9223372036854775807}"],
    "boolean[]": ["{true,false,NULL}"],
    "uuid[]": ["{00000000-0000-0000-0000-000000000001,NULL}"],
    "double precision[]": ["{0.1,-0,NaN,Infinity,NULL}"],
}
# These arrive as Postgres's own text.
AS_TEXT = {
    "numeric": ["NaN", "1.10", "1e-30", "123456789012345678901234567890123456789012.5"],
    "numeric(65,30)": ["12345678901234567890123456789012345.000000000000000000000000000001"],
    "numeric(5,-2)": ["12345"],
    "numeric[]": ["{1.10,NaN,NULL}"],
    "interval": ["1 year 2 days 03:04:05.000006", "-1 mon +2 days", "0"],
    "time": ["24:00:00", "00:00:00.000001"],
    "timetz": ["12:00:00+02"],
    "timestamp[]": ["{2025-01-01,infinity,NULL}"],
    "timestamptz[]": ["{2025-01-01 00:00:00+02}"],
    "daterange": ["[2025-01-01,2025-02-01)", "empty"],
    "tstzrange": ['["2025-01-01 00:00:00+02",)'],
    "int4range[]": ['{"[1,3)",NULL}'],
    "nummultirange": ["{[1.5,2],(3,4)}"],
    "xml": ["<a>é</a>"],
    "money": ["1234.50", "-0.01"],
    "inet": ["10.0.0.1/8", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(3)": ["101"],
    "varbit": ["", "10101"],
    "char(5)": ["ab"],
    "name": ["a name"],
    '"char"': ["x"],
    "oid": ["4294967295"],
    "xid8": ["18446744073709551615"],
    "pg_lsn": ["16/B374D848"],
    "tsvector": ["'cat':1 'mat':2"],
    "tsquery": ["'cat' & 'mat'"],
    "jsonpath": ['$."a"[*]'],
    "jsonb[]": ['{"{\\"a\\": 1}",NULL}'],
    "bytea[]": [r'{"\\xdeadbeef",NULL}'],
    "point": ["(0.1,-0)"],
    "polygon": ["((0,0),(1,1),(2,0))"],
    "score": ["7"],
    "feeling": ["with, comma"],
    "feeling[]": ['{plain,"with, comma",NULL}'],
    "place": ['("a, b",plain,"{1,2}")'],
    "place[]": ['{"(x,plain,)",NULL}'],
    "score[]": ["{7,NULL}"],
    "spot": ['("a, b",plain,"{1,2}")'],
    "spot[]": ['{"(x,plain,)",NULL}'],
    "hstore": ['"a"=>"b, c", "d"=>NULL', ""],
    "feeling_range": ['[plain,"with, comma"]'],
}
TYPES = """
CREATE TYPE kind AS ENUM ('plain', 'with, comma', 'with "quote');
CREATE DOMAIN score AS integer CHECK (VALUE >= 0);
CREATE DOMAIN feeling AS kind;
CREATE TYPE place AS (street text, feels feeling, numbers integer[]);
CREATE DOMAIN spot AS place;
CREATE TYPE feeling_range AS RANGE (SUBTYPE = kind);
"""
# What touches no row, and shows in each column that it is below.
CHANGES = """
ALTER TYPE kind RENAME VALUE 'with, comma' TO 'with ,comma';
ALTER TYPE kind RENAME VALUE 'plain' TO 'other';
ALTER TYPE place ADD ATTRIBUTE more text CASCADE;
ALTER TYPE place DROP ATTRIBUTE street CASCADE;
"""
ROWS = 60
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("14", "15", "17", "standby", "pooler", "latin1")]


@dataclass(frozen=True)
class Source:
    """A database whose events have a column of each type."""

    database: Database
    types: dict[str, list[str]]

    def rows(self) -> dict[str, dict[str, Any]]:
        """Id to type to value, as psycopg2 gives Postgres's text."""
        values = ", ".join(_postgres(name, f"c{number}") for number, name in enumerate(self.types))
        read = self.database.execute(f"SELECT id, {values} FROM behavioral_events")
        return _comparable(self.types, read)


@pytest.fixture(params=["scanned", pytest.param("as text", marks=pytest.mark.slow)])
def types(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    return SCANNED if request.param == "scanned" else {**SCANNED, **AS_TEXT}


@pytest.mark.parametrize("kind", ["18", *SLOW])
@pytest.mark.timeout(600)
def test_every_value_of_every_type_arrives_at_first_and_after_changes(
    postgres_kinds: Kinds, tmp_path: Path, kind: str, types: dict[str, list[str]]
) -> None:
    database = postgres_kinds(kind).database()
    if kind == "14":
        # Scales below zero came with Postgres 15.
        types = {name: values for name, values in types.items() if name != "numeric(5,-2)"}
    if database.execute("SELECT FROM pg_available_extensions WHERE name = 'hstore'"):
        database.execute("CREATE EXTENSION hstore")
    else:
        # Embedded servers are built without it; Debian's and npm's have it.
        types = {name: values for name, values in types.items() if name != "hstore"}
    source = Source(database, types)
    columns = ", ".join(f"c{number} {name}" for number, name in enumerate(types))
    database.execute(
        f"DROP TABLE behavioral_events; {TYPES}"
        f'CREATE TABLE behavioral_events (id text PRIMARY KEY, "userId" text, "timestamp" timestamp(3), {columns});'
        f"GRANT SELECT ON behavioral_events TO {SYNC_ROLE};"
        "INSERT INTO behavioral_events SELECT 'é' || i, 'u', timestamp '2024-01-15' + i % 12 * interval '1 month' "
        f"FROM generate_series(0, {ROWS - 1}) AS i;"
    )
    for number, (name, values) in enumerate(types.items()):
        # Embedded servers are built without libxml and keep the column empty; Debian's has it.
        with suppress(psycopg2.errors.FeatureNotSupported):
            database.execute(
                f"UPDATE behavioral_events AS e SET c{number} = v.value::{name} "
                f"FROM unnest(%s::text[]) WITH ORDINALITY AS v (value, place) WHERE e.id = 'é' || v.place",
                (values,),
            )
    each = {
        scanner: load_settings(
            **database.variables(
                americano_data_dir=tmp_path / str(scanner),
                duckdb_use_postgres_scanner=scanner,
                americano_threads=2,
                log_level="WARNING",
            )
        )
        for scanner in (False, True)
    }

    _syncs_to_the_same(each, source, "build")
    # In one month of twelve, so that it is read by a query and put into a copy of the published file.
    database.execute("UPDATE behavioral_events SET \"userId\" = 'changed' WHERE id IN ('é1', 'é13')")
    _syncs_to_the_same(each, source, "patch")
    database.execute(CHANGES)
    _syncs_to_the_same(each, source, "build")


def _syncs_to_the_same(each: dict[bool, Settings], source: Source, built: str) -> None:
    expected = source.rows()
    for settings in each.values():
        outcome = sync(settings)
        assert outcome.blocked_by == []
        assert outcome.document.built.startswith(built)
        values = ", ".join(
            f"CAST(c{number} AS VARCHAR[])" if name.endswith("[]") and name in SCANNED else _duckdb(name, f"c{number}")
            for number, name in enumerate(source.types)
        )
        with duckdb.connect(str(settings.paths.published), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            read = connection.execute(f"SELECT id, {values} FROM analytics.behavioral_events").fetchall()
        published = _comparable(source.types, read)
        assert published.keys() == expected.keys()
        for identifier, row in expected.items():
            for name, value in row.items():
                assert published[identifier][name] == value, (identifier, name, settings.mode)


def _postgres(name: str, column: str) -> str:
    if name in SCANNED and name.endswith("[]"):
        return f"{column}::text[]"
    if name == "date":
        return f"CASE WHEN isfinite({column}) THEN ({column} - date '1970-01-01')::text ELSE {column}::text END"
    if name.startswith("timestamp") and name in SCANNED:
        micros = f"(extract(EPOCH FROM {column}) * 1000000)::bigint::text"
        return f"CASE WHEN isfinite({column}) THEN {micros} ELSE {column}::text END"
    return f"encode({column}, 'hex')" if name == "bytea" else f"{column}::text"


def _duckdb(name: str, column: str) -> str:
    text = f"CAST({column} AS VARCHAR)"
    if name == "date":
        days = f"CAST(date_diff('day', DATE '1970-01-01', {column}) AS VARCHAR)"
        return f"CASE WHEN isfinite({column}) THEN {days} ELSE {text} END"
    if name.startswith("timestamp") and name in SCANNED:
        return f"CASE WHEN isfinite({column}) THEN CAST(epoch_us({column}) AS VARCHAR) ELSE {text} END"
    return f"lower(hex({column}))" if name == "bytea" else text


def _comparable(types: dict[str, list[str]], rows: list[tuple[Any, ...]]) -> dict[str, dict[str, Any]]:
    """Ids to values, floats as their bits: engines write the same number differently."""
    readers: dict[str, Callable[[Any], Any]] = {
        "real": lambda text: struct.pack("f", float(text)),
        "double precision": lambda text: struct.pack("d", float(text)),
        "double precision[]": lambda items: [None if item is None else struct.pack("d", float(item)) for item in items],
    }
    return {
        row[0]: {
            name: readers.get(name, lambda value: value)(value) if value is not None else None
            for name, value in zip(types, row[1:], strict=True)
        }
        for row in rows
    }
