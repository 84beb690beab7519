"""A value that cannot be read is named by table, column and row, by the sync and by `americano doctor`."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from americano_pipelines.doctor import examine
from americano_pipelines.errors import SourceError
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import SYNC_ROLE, Database, Server, fill_prisma
from americano_pipelines_tests.sync.faults import BOTH, SCANNER_SLOW
from americano_pipelines_tests.sync.support import sync

MakeSettings = Callable[..., Settings]
MIDDLE = "(SELECT id FROM behavioral_events ORDER BY ctid OFFSET 2500 LIMIT 1)"
VIEW = """
ALTER TABLE behavioral_events RENAME TO base;
CREATE VIEW behavioral_events AS SELECT *, {} AS x FROM base;
GRANT SELECT ON behavioral_events TO americano_sync;
"""
LAST = "id = (SELECT max(id) FROM base)"


def refusal(settings: Settings) -> str:
    with pytest.raises(SourceError) as raised:
        sync(settings)
    assert type(raised.value) is SourceError, "neither tried again nor without the column"
    return str(raised.value)


@SCANNER_SLOW
def test_the_row_is_named_whose_value_no_duckdb_type_holds(
    prisma: Database, settings_for: MakeSettings, *, scanner: bool
) -> None:
    prisma.execute("ALTER TABLE behavioral_events ADD plain json, ADD x json, ADD numbers integer[]")
    settings = settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner))
    assert sync(settings).blocked_by == []
    (name,) = prisma.execute(MIDDLE)[0]

    # Postgres keeps the text of half a character, DuckDB refuses it.
    prisma.execute(r"""UPDATE behavioral_events SET x = '"\ud800"' WHERE id = %s""", (name,))
    message = refusal(settings)
    assert "table public.behavioral_events, column 'x' (json)" in message
    assert f"row with the id {name!r}" in message
    assert "no low surrogate" in message

    prisma.execute("UPDATE behavioral_events SET x = NULL, numbers = '{{1},{2}}' WHERE id = %s", (name,))
    message = refusal(settings)
    assert "'numbers'" in message
    assert f"row with the id {name!r}" in message

    prisma.execute("UPDATE behavioral_events SET numbers = NULL")
    assert sync(settings).changed


@BOTH
@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (f"CASE WHEN {LAST} THEN 1 / (length(id) - length(id)) END", "division by zero"),
        (f"CASE WHEN {LAST} THEN id::interval END", "invalid input"),
    ],
    ids=["scanned", "read as text"],
)
def test_the_column_of_a_view_that_cannot_be_computed_is_named(
    prisma: Database, settings_for: MakeSettings, expression: str, reason: str, *, scanner: bool
) -> None:
    prisma.execute(VIEW.format(expression))

    message = refusal(settings_for(**prisma.variables(duckdb_use_postgres_scanner=scanner)))

    assert "table public.behavioral_events, column 'x'" in message
    assert reason in message


@pytest.mark.parametrize(
    "expression",
    ["id::uuid", "id::integer", "id::text[]", "(id || 'x')::\"char\"::text::numeric", '(\'{"by": "\' || id)::jsonb'],
)
def test_no_value_of_a_row_is_in_the_message(prisma: Database, settings_for: MakeSettings, expression: str) -> None:
    prisma.execute(
        """UPDATE behavioral_events SET id = 'leaver "a" 1' WHERE id = (SELECT max(id) FROM behavioral_events)"""
    )
    prisma.execute(VIEW.format(f"CASE WHEN id LIKE 'leaver%' THEN {expression} END"))

    message = refusal(settings_for(**prisma.variables()))

    assert "table public.behavioral_events, column 'x'" in message
    assert "leaver" not in message


@pytest.fixture
def without_encoding(server: Server) -> Iterator[Database]:
    """A database that takes any bytes for text."""
    database = Database(server, f"ascii_{secrets.token_hex(4)}")
    outside = Database(server, "postgres")
    outside.execute(
        f"CREATE DATABASE {database.name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    fill_prisma(server, database.name, "ascii")
    database.execute(
        f"GRANT CONNECT ON DATABASE {database.name} TO {SYNC_ROLE};"
        "CREATE DOMAIN note AS text; ALTER TABLE behavioral_events ADD x note"
    )
    yield database
    outside.execute(f"DROP DATABASE {database.name} WITH (FORCE)")


def write_bytes(database: Database, statement: str) -> None:
    """Run a statement whose escapes are bytes."""
    with closing(database.server.connect(database.name)) as link, link.cursor() as cursor:
        link.set_client_encoding("SQL_ASCII")
        cursor.execute(statement)


@SCANNER_SLOW
def test_bytes_that_are_no_text_are_named_without_an_encoding(
    without_encoding: Database, settings_for: MakeSettings, *, scanner: bool
) -> None:
    database = without_encoding
    settings = settings_for(**database.variables(duckdb_use_postgres_scanner=scanner))
    write_bytes(database, r"""UPDATE behavioral_events SET "contentType" = E'\xc3\xa9', x = E'\xc3\xa9'""")
    assert sync(settings).blocked_by == [], "what is UTF-8 can be read"
    (name,) = database.execute(MIDDLE)[0]
    for column in ('"contentType"', "x"):
        write_bytes(database, f"UPDATE behavioral_events SET {column} = E'caf\\xe9' WHERE id = '{name}'")

        message = refusal(settings)
        assert f"table public.behavioral_events, column '{column.strip(chr(34))}'" in message
        assert f"row with the id {name!r}" in message
        assert "server_encoding is SQL_ASCII" in message

        database.execute(f"UPDATE behavioral_events SET {column} = 'x'")

    write_bytes(database, f"UPDATE behavioral_events SET id = E'caf\\xe9' WHERE id = '{name}'")
    failed = [finding.detail for finding in examine(settings) if finding.level == "FAIL"]
    assert len(failed) == 1
    assert "bytes that are no UTF-8 in 'id' in 1 rows" in failed[0]
    assert "server_encoding is SQL_ASCII" in failed[0]
    message = refusal(settings)
    assert "column 'id' (text), for example in the row with the id 'caf\\\\351'" in message


def test_a_view_that_names_the_encoding_can_be_read(without_encoding: Database, settings_for: MakeSettings) -> None:
    database = without_encoding
    write_bytes(database, r"UPDATE behavioral_events SET x = E'caf\xe9'")
    database.execute(
        VIEW.format("convert_from(convert(convert_to(base.x, 'SQL_ASCII'), 'LATIN1', 'UTF8'), 'UTF8')").replace(
            "*", 'id, "userId", "timestamp"'
        )
    )

    assert sync(settings_for(**database.variables())).blocked_by == []
