"""What DuckDB says when Postgres fails, in our words: lasting or passing, with the address, never the password.

Only the telling apart belongs here; what is done about it is Dagster's retry and the reader's business.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from americano_pipelines import sql
from americano_pipelines.engine import is_about_room
from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.sources.connections import NO_MORE_CONNECTIONS

# DuckDB hands on what Postgres said, not its SQLSTATE. A server that speaks another language makes these look
# transient: retried twice, then told all the same. Only a superuser could set lc_messages for the session.
_PERMANENT = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "permission denied",
    "no pg_hba.conf entry",
    "invalid connection option",
    "invalid sslmode value",
    "does not support SSL",
    "out of range",
    # An array with more dimensions than its column says.
    "does not match the schema",
    "unrecognized configuration parameter",
    "invalid value for parameter",
)
# Said by libpq and OpenSSL of certificates and keys, the server's and ours.
_TLS = (
    "certificate verify failed",
    "server certificate for",
    "root certificate",
    "certificate file",
    "private key file",
    "certificate present",
    "SSL error",
    "weak sslmode",
)
# The session asks for none of the last two; a server or pooler that passes nothing on may have them all the same.
_ENDED_BY = {
    "transaction timeout": "transaction_timeout",
    "idle-in-transaction timeout": "idle_in_transaction_session_timeout",
    "idle-session timeout": "idle_session_timeout",
}


@contextmanager
def translated(target: PostgresTarget, table: str | None = None) -> Iterator[None]:
    """Turn DuckDB's errors about Postgres into ours, with the address and the table, never the password."""
    try:
        yield
    except duckdb.Error as error:
        if is_about_room(error):
            raise
        said = _reason(str(error))
        text = said.replace(target.password, "***") if target.password else said
        what = f"{target.label}{f', table {table}' if table else ''}"
        if "row-level security" in said:
            raise SourceError(
                f"{what}: the role {target.user!r} is subject to row-level security, so it would see only "
                "part of the rows. Nothing was copied. Give it BYPASSRLS "
                f"(ALTER ROLE {sql.quote(target.user)} BYPASSRLS). Postgres said: {text}"
            ) from None
        if "statement timeout" in said:
            raise SourceError(
                f"{what}: a statement took longer than the {target.statement_timeout} seconds of PG_STATEMENT_TIMEOUT. "
                f"Nothing was copied. Raise it if the server is only slow. Postgres said: {text}"
            ) from None
        if any(sign in said for sign in NO_MORE_CONNECTIONS):
            # A role's or a database's limit stays; a server that is full may have room later.
            lasting = "too many connections for" in said
            raise (SourceError if lasting else TransientSourceError)(
                f"{what}: Postgres admits no further connection. Nothing was copied. Set AMERICANO_THREADS=1 or "
                "connection_limit=1 in DATABASE_URL, which need a single one; end other sessions of this role, or "
                f"raise its limit (ALTER ROLE {sql.quote(target.user)} CONNECTION LIMIT). Postgres said: {text}"
            ) from None
        if "unsupported startup parameter" in said:
            raise SourceError(
                f"{what}: a connection pooler refuses what the session starts with. Nothing was copied. Connect to the "
                "server itself, or add options and extra_float_digits to ignore_startup_parameters of pgbouncer: what "
                f"it drops is set within the transaction and looked at. It said: {text}"
            ) from None
        if any(sign in said for sign in _TLS):
            raise SourceError(
                f"{what}: TLS could not be set up as DATABASE_URL asks for it (sslmode, sslaccept, sslcert, "
                f"sslrootcert, sslkey). Nothing was copied. It said: {text}"
            ) from None
        if ended_by := next((name for sign, name in _ENDED_BY.items() if sign in said), None):
            raise SourceError(
                f"{what}: the server's {ended_by} ended the session. Nothing was copied. Raise it for this role "
                f"(ALTER ROLE {sql.quote(target.user)} SET {ended_by}), or connect past the pooler that sets it. "
                f"Postgres said: {text}"
            ) from None
        broken_value = isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException)
        if broken_value or any(sign in said for sign in _PERMANENT):
            raise SourceError(f"{what}: {text}") from None
        raise TransientSourceError(f"{what}: {text}") from None


def _reason(text: str) -> str:
    """What Postgres said, without the statement that DuckDB quotes before it and the line it points at after."""
    said = text
    for mark in ("ERROR:", 'Unable to connect to Postgres at "', "FATAL:", "Failed to "):
        _, found, after = text.partition(mark)
        if found and mark == "Failed to ":
            # The connection broke: the whole statement comes first.
            said = text.rpartition('": ')[2]
        elif found:
            # A failed connection quotes all its options first, and ends them with a quote and a colon.
            said = after.partition('": ')[2] if mark.endswith('"') else after
        if found:
            break
    return " ".join(said.split("\nLINE ")[0].split())
