"""Which errors of Postgres are worth another try: real ones where a server can be brought to them, else their words."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing

import duckdb
import pytest

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.demo.postgres.cluster import SUPERUSER
from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.lake.export import export
from americano_pipelines.settings import Settings
from americano_pipelines.sources.postgres_errors import postgres_errors
from americano_pipelines.sources.postgres_snapshot import APPLICATION_NAME
from americano_pipelines_tests.conftest import SYNC_ROLE, Database
from americano_pipelines_tests.sources.helpers import opened, target_of

MakeSettings = Callable[..., Settings]


@pytest.fixture
def reader(prisma: Database) -> Iterator[str]:
    """A role of this test's own that may read everything."""
    name = f"reader_{secrets.token_hex(4)}"
    prisma.execute(f"CREATE ROLE {name} LOGIN BYPASSRLS PASSWORD %s", (prisma.server.password,))
    prisma.execute(f"GRANT {SYNC_ROLE} TO {name}")
    yield name
    prisma.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


EVENTS_AS = """
ALTER TABLE behavioral_events RENAME TO kept_events;
CREATE {} behavioral_events AS SELECT {} FROM kept_events {};
GRANT SELECT ON behavioral_events TO {{role}}
"""
PERMANENT = {
    "no login": ("ALTER ROLE {role} NOLOGIN", 'is not permitted to log in.*ALTER ROLE "{role}" LOGIN'),
    "an expired password": ("ALTER ROLE {role} VALID UNTIL '2020-01-01'", "password authentication failed"),
    "no right to connect": ("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC, americano_sync", "permission denied"),
    "an empty materialized view": (
        EVENTS_AS.format("MATERIALIZED VIEW", "*", "WITH NO DATA"),
        r"table public\.behavioral_events: .*has not been populated.*REFRESH MATERIALIZED VIEW",
    ),
    "a view that raises": (
        "CREATE FUNCTION boom(id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'boom'; END $$;"
        + EVENTS_AS.format("VIEW", 'id, "userId", "timestamp", boom(id) AS b', ""),
        r"table public\.behavioral_events: .*boom",
    ),
    "no views": (
        EVENTS_AS.format("VIEW", "*", "") + "; ALTER ROLE {role} SET restrict_nonsystem_relation_kind = 'view'",
        "access to non-system view .*restrict_nonsystem_relation_kind for this role",
    ),
    "no temporary files": (
        EVENTS_AS.format("VIEW", "*, count(*) OVER (ORDER BY id)", "")
        + "; ALTER ROLE {role} SET temp_file_limit = 0; ALTER ROLE {role} SET work_mem = '64kB'",
        'exceeds "temp_file_limit".*Raise it for this role',
    ),
}


@pytest.mark.parametrize(("fault", "message"), PERMANENT.values(), ids=PERMANENT)
def test_what_needs_a_person_is_not_tried_again(
    prisma: Database, settings_for: MakeSettings, reader: str, fault: str, message: str
) -> None:
    prisma.execute(fault.format(role=reader, database=prisma.name))

    with pytest.raises(SourceError, match=message.format(role=reader)) as failed:
        export(settings_for(**prisma.variables(pg_user=reader)), StageTimer())

    assert type(failed.value) is SourceError
    assert str(failed.value).startswith(f"{reader}@127.0.0.1:")


def test_a_database_that_accepts_no_connections_is_not_tried_again(
    prisma: Database, settings_for: MakeSettings
) -> None:
    with closing(prisma.server.connect("postgres")) as link, link.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {prisma.name} ALLOW_CONNECTIONS false")
        try:
            with (
                pytest.raises(SourceError, match="ALLOW_CONNECTIONS true") as failed,
                opened(settings_for(**prisma.variables())),
            ):
                pytest.fail("it opened")
        finally:
            cursor.execute(f"ALTER DATABASE {prisma.name} ALLOW_CONNECTIONS true")
    assert type(failed.value) is SourceError


ENDING = """
SELECT pg_{}_backend(pid) FROM pg_stat_activity WHERE application_name = '{}' AND datname = current_database()
"""


@pytest.mark.parametrize("end", ["terminate", "cancel"])
def test_what_somebody_ended_is_tried_again(prisma: Database, settings_for: MakeSettings, end: str) -> None:
    prisma.execute("CREATE FUNCTION slow() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(30)'")
    settings = settings_for(**prisma.variables(pg_user=SUPERUSER))

    with pytest.raises(TransientSourceError), opened(settings) as snapshot:
        snapshot.query(ENDING.format(end, APPLICATION_NAME) + "UNION ALL SELECT slow() = 1")


WORDS = {
    'connection to server at "h" (1.2.3.4), port 5432 failed: Connection refused': True,
    'connection to server at "h" (1.2.3.4), port 5432 failed: timeout expired': True,
    'could not translate host name "h" to address: Name or service not known': True,
    'connection to server at "h", port 5432 failed: FATAL:  the database system is starting up': True,
    'connection to server at "h", port 5432 failed: FATAL:  the database system is not yet accepting connections': True,
    'connection to server at "h" (::1) failed: Connection refused\n'
    'connection to server at "h" (127.0.0.1) failed: FATAL:  password authentication failed for user "u"': False,
    "FATAL:  terminating connection due to administrator command\nserver closed the connection unexpectedly": True,
    "BEENDEN:  Verbindung wird abgebrochen\nserver closed the connection unexpectedly": True,
    "SSL error: unexpected eof while reading": True,
    "SSL error: certificate verify failed": False,
    "SSL SYSCALL error: EOF detected": True,
    "ERROR:  could not serialize access due to concurrent update": True,
    "ERROR:  canceling statement due to conflict with recovery": True,
    "ERROR:  deadlock detected": True,
    "ERROR:  out of shared memory": True,
    'ERROR:  could not extend file "base/1/2": No space left on device': True,
    "ERROR:  could not open relation with OID 16385": True,
    'ERROR:  could not open file "base/1/2": No such file or directory': False,
    'ERROR:  temporary file size exceeds "temp_file_limit" (0kB)': False,
    'ERROR:  permission denied for table "t"': False,
    "ERROR:  permission denied for table temporarily": False,
    'ERROR:  column "could not obtain lock" does not exist': False,
    "FEHLER:  Spalte »lock timeout« existiert nicht": False,
    "ERROR:  function raised 'try again'": False,
    "ERROR:  it can't be: deadlock detected, it won't go on": True,
    "ERROR:  Verbindung ging verloren": False,
    'FATAL:  role "u" is not permitted to log in': False,
    "FATAL:  client_login_timeout": False,
    "FATAL:  query_wait_timeout": True,
    "FATAL:  Max client connections reached": True,
    "Something that DuckDB says: Connection refused by a value": True,
    "Could not map ENUM value x": False,
}


@pytest.mark.parametrize(("words", "again"), WORDS.items())
def test_the_words_decide_and_unknown_ones_are_permanent(settings_for: MakeSettings, words: str, again: bool) -> None:  # noqa: FBT001
    start = (
        'Unable to connect to Postgres at "host=h": '
        if "connection to" in words
        else 'Failed to execute query "SELECT 1": '
    )

    with pytest.raises(SourceError) as failed, postgres_errors(target_of(settings_for(pg_host="h"))):
        raise duckdb.IOException(start + words)

    assert isinstance(failed.value, TransientSourceError) is again


@pytest.mark.parametrize(
    "statement",
    ['SELECT "timed out" FROM (SELECT 1 AS "unreachable")', 'FROM "lock timeout"', "SELECT no_function('unreachable')"],
)
def test_a_statement_that_duckdb_refuses_is_not_tried_again(settings_for: MakeSettings, statement: str) -> None:
    with pytest.raises(SourceError) as failed, postgres_errors(target_of(settings_for(pg_host="h"))):
        duckdb.sql(statement)

    assert type(failed.value) is SourceError


def test_an_unprepared_statement_is_retried_if_the_connection_broke(
    settings_for: MakeSettings,
) -> None:
    words = 'Failed to prepare query "SELECT 1": server closed the connection unexpectedly'

    with pytest.raises(TransientSourceError), postgres_errors(target_of(settings_for(pg_host="h"))):
        raise duckdb.BinderException(words)
