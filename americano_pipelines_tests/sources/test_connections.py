"""The connections of a snapshot: their number and settings, and refusal where one instant cannot be proved."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines.sources.postgres_snapshot import APPLICATION_NAME
from americano_pipelines_tests.conftest import SYNC_ROLE, Database, Server, cut
from americano_pipelines_tests.postgres_servers import Kinds
from americano_pipelines_tests.sources.helpers import opened

MakeSettings = Callable[..., Settings]
OURS = "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
# Settings that an app's administrator may have given the role or the database: each writes values in another way, or
# ends what lasts.
OTHERS = {
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "DateStyle": "German, DMY",
    "TimeZone": "Asia/Tokyo",
    "extra_float_digits": "-5",
    "xmlbinary": "hex",
    "xmloption": "document",
    "statement_timeout": "77s",
    "transaction_timeout": "78s",
    "idle_session_timeout": "79s",
    "idle_in_transaction_session_timeout": "80s",
    "default_transaction_read_only": "off",
}
VALUES = """
SELECT
    (interval '1 year 2 days 03:04:05')::text AS a, ('\\xdead'::bytea)::text AS b, (date '2025-03-04')::text AS c,
    (timestamptz '2025-01-01 00:00:00+00')::text AS d, (0.1::float8 + 0.2::float8)::text AS e,
    current_setting('transaction_timeout') AS f, current_setting('idle_session_timeout') AS g
"""
WRITTEN = ("1 year 2 days 03:04:05", "\\xdead", "2025-03-04", "2025-01-01 00:00:00+00", "0.30000000000000004", "0", "0")


@pytest.fixture(scope="module")
def large(server: Server) -> Iterator[Database]:
    """A database with a table that is worth several connections."""
    database = cut(server, "prisma")
    database.execute(
        'INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp") '
        "SELECT 'many' || i, 'l', 'CARD_REVIEWED', to_jsonb(repeat('x', 1500)), timestamp '2025-01-01' "
        "FROM generate_series(1, 14000) AS i"
    )
    database.execute("ANALYZE behavioral_events")
    yield database
    with closing(server.connect("postgres")) as link, link.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {database.name} WITH (FORCE)")


@pytest.fixture
def role(large: Database) -> Iterator[Callable[[str], str]]:
    """Make roles that may read everything: `role("CONNECTION LIMIT 1")`."""
    roles: list[str] = []

    def make(attributes: str = "") -> str:
        name = f"reader_{secrets.token_hex(4)}"
        large.execute(f"CREATE ROLE {name} LOGIN BYPASSRLS {attributes} PASSWORD %s", (large.server.password,))
        large.execute(f"GRANT {SYNC_ROLE} TO {name}")
        roles.append(name)
        return name

    yield make
    for name in roles:
        large.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def scanned(settings: Settings, database: Database) -> tuple[int, int]:
    """How many rows a scan of the large table gives, and how many connections it had."""
    with opened(settings) as snapshot:
        events = snapshot.relation("public", "behavioral_events")
        rows = snapshot.connection.execute(f'SELECT count(*), max("eventData") FROM {events}').fetchone()
        connections = database.execute(OURS, (APPLICATION_NAME,))[0][0]
    assert rows is not None
    return rows[0], connections


def run(settings: Settings, statement: str) -> None:
    """Run a statement of DuckDB in a snapshot."""
    with opened(settings) as snapshot:
        snapshot.connection.execute(statement).fetchall()


@pytest.mark.parametrize("limit", [1, 3])
def test_a_role_with_few_connections_is_read_over_as_many_as_it_has(
    large: Database, settings_for: MakeSettings, role: Callable[[str], str], limit: int
) -> None:
    settings = settings_for(**large.variables(pg_user=role(f"CONNECTION LIMIT {limit}"), americano_threads=4))

    assert scanned(settings, large) == (18_000, limit)


def test_the_limit_in_the_address_is_kept(large: Database, tmp_path: Path) -> None:
    server = large.server
    address = (
        f"postgresql://{SYNC_ROLE}:{quote(server.password, safe='')}@127.0.0.1:{server.postgres.port}/{large.name}"
    )
    values = {"americano_data_dir": tmp_path, "americano_threads": 4}

    for limit in (1, 2):
        settings = load_settings(database_url=f"{address}?connection_limit={limit}&schema=public", **values)
        assert scanned(settings, large) == (18_000, limit)
    assert scanned(load_settings(database_url=address, **values), large) == (18_000, 4)


def test_a_role_whose_connections_are_all_taken_is_told_what_helps(
    large: Database, settings_for: MakeSettings, role: Callable[[str], str]
) -> None:
    name = role("CONNECTION LIMIT 1")
    with closing(large.server.connect(large.name, name)), pytest.raises(SourceError) as failed:
        scanned(settings_for(**large.variables(pg_user=name)), large)

    assert not isinstance(failed.value, TransientSourceError)
    assert "AMERICANO_THREADS=1" in str(failed.value)
    assert f'ALTER ROLE "{name}" CONNECTION LIMIT' in str(failed.value)


@pytest.mark.parametrize("threads", [1, 4])
def test_no_setting_of_the_role_changes_how_values_are_written(
    large: Database, settings_for: MakeSettings, role: Callable[[str], str], threads: int
) -> None:
    name = role("")
    for setting, value in OTHERS.items():
        large.execute(f'ALTER ROLE {name} IN DATABASE {large.name} SET "{setting}" = %s', (value,))

    with opened(settings_for(**large.variables(pg_user=name, americano_threads=threads))) as snapshot:
        assert snapshot.query(VALUES) == [WRITTEN]
        assert large.execute(OURS, (APPLICATION_NAME,)) == [(threads,)]


def test_a_pooler_that_drops_the_session_s_settings_changes_nothing_either(
    postgres_kinds: Kinds, settings_for: MakeSettings
) -> None:
    database = postgres_kinds("pooler").database()
    for setting, value in OTHERS.items():
        database.execute(f'ALTER DATABASE {database.name} SET "{setting}" = %s', (value,))

    with opened(settings_for(**database.variables(americano_threads=4))) as snapshot:
        assert snapshot.query(VALUES) == [WRITTEN]


@pytest.mark.parametrize(
    ("setting", "other", "first"),
    [("IntervalStyle", "iso_8601", "postgres"), ("search_path", "pg_catalog", '"$user", public')],
)
def test_a_connection_with_other_settings_than_the_first_is_refused(
    large: Database, settings_for: MakeSettings, setting: str, other: str, first: str
) -> None:
    settings = settings_for(**large.variables(americano_threads=4))
    large.execute(
        f"""
        CREATE FUNCTION other_style() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM pg_stat_activity
                WHERE application_name = '{APPLICATION_NAME}' AND datname = current_database()) > 1
            THEN SET {setting} = '{other}'; END IF;
        END $$;
        CREATE EVENT TRIGGER other_style ON login EXECUTE FUNCTION other_style();
        ALTER EVENT TRIGGER other_style ENABLE ALWAYS
        """
    )
    try:
        with pytest.raises(SourceError, match=re.escape(f"{setting} is '{other}', not '{first}'")):
            scanned(settings, large)
    finally:
        large.execute("DROP EVENT TRIGGER other_style; DROP FUNCTION other_style")


def test_two_scans_in_one_statement_are_refused(large: Database, settings_for: MakeSettings) -> None:
    """DuckDB's extension reads the first of them without any transaction."""
    events = '"source"."public"."behavioral_events"'
    statement = f"SELECT count(*) FROM {events} AS a JOIN {events} AS b USING (id)"

    with pytest.raises(SourceError, match="read at one instant"):
        run(settings_for(**large.variables(americano_threads=4)), statement)


def test_a_transaction_that_was_ended_and_begun_anew_is_refused(large: Database, settings_for: MakeSettings) -> None:
    with pytest.raises(SourceError, match="read at one instant"):
        run(settings_for(**large.variables()), "COMMIT; BEGIN TRANSACTION")
