"""Translate DuckDB's errors about Postgres into permanent or transient errors that name the server and the table."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import is_resource_error, is_statement_error
from americano_pipelines.common.quoted_values import outside_quotes, redact_values, without_last_quotation
from americano_pipelines.errors import LockedSourceError, SourceError, TransientSourceError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.sources.snapshot_connections import NO_MORE_CONNECTIONS
from americano_pipelines.sources.transient_errors import is_lost, is_transient

_SEVERITIES = ("ERROR:", "FATAL:", "PANIC:")
_ENCODING = ("invalid byte sequence for encoding", "has no equivalent in encoding")
# Messages about a value. Postgres gives them also where a view computes the value, or where its page is damaged.
_VALUE = (
    *_ENCODING,
    "out of range",
    "does not match the schema",  # an array with more dimensions than its column says
    "invalid input syntax for",
    "invalid input value for enum",
    "division by zero",
    "value too long for type",
    "field overflow",
    "malformed array literal",
    "malformed record literal",
    "cannot cast jsonb",
    "unsupported Unicode escape sequence",
    "missing chunk number",
    "unexpected chunk",
    "data is corrupt",
    "invalid page in block",
)
# Messages of libpq and OpenSSL about certificates and keys, the server's and ours.
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
# Permanent errors whose message does not say what to do.
_REMEDIES = {
    "is not permitted to log in": "Allow it (ALTER ROLE {role} LOGIN)",
    "not currently accepting connections": "Allow them (ALTER DATABASE {database} ALLOW_CONNECTIONS true)",
    "has not been populated": "Fill it (REFRESH MATERIALIZED VIEW)",
    "temp_file_limit": "Raise it for this role (ALTER ROLE {role} SET temp_file_limit)",
    "access to non-system": "Reset restrict_nonsystem_relation_kind for this role (ALTER ROLE {role} RESET ...)",
}
# Our session disables the last two timeouts; a server or pooler that does not pass settings on may apply them.
_ENDED_BY = {
    "transaction timeout": "transaction_timeout",
    "idle-in-transaction timeout": "idle_in_transaction_session_timeout",
    "idle-session timeout": "idle_session_timeout",
}


class UnreadableValueError(SourceError):
    """A value of a table cannot be read; `reason` is Postgres's message, without the address and the table.

    Never shown directly: `unreadable_values.py` adds the column and the row.
    """

    def __init__(self, message: str, reason: str, table: str) -> None:
        super().__init__(message)
        self.reason, self.table = reason, table

    @property
    def is_encoding(self) -> bool:
        """Whether the bytes are not valid in the database's encoding."""
        return any(sign in self.reason for sign in _ENCODING)


@contextmanager
def postgres_errors(target: PostgresTarget, table: str | None = None) -> Iterator[None]:
    """Turn DuckDB's errors about Postgres into ours, with the address and the table, never the password."""
    try:
        yield
    except duckdb.Error as error:
        if is_resource_error(error):
            raise
        reason = _reason(str(error))
        text = reason.replace(target.password, "***") if target.password else reason
        what = f"{target.label}{f', table {table}' if table else ''}"
        words = outside_quotes(reason)
        of_server = any(severity in str(error) for severity in _SEVERITIES)
        # The extension raises a BinderException also where it could not prepare a statement in Postgres.
        own = is_statement_error(error) and not of_server and "Failed to " not in str(error)
        if not own and (refusal := _refusal(target, words, what) or _interruption(target, words, what, table)):
            refusal_type, explanation = refusal
            raise refusal_type(f"{explanation}: {text}") from None
        broken = not of_server and isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException)
        broken = broken or any(sign in words for sign in _VALUE)
        text = redact_values(text) if broken else without_last_quotation(text)
        if broken and table is not None:
            raise UnreadableValueError(f"{what}: {text}", text, table) from None
        if not broken and not own and is_transient(reason, of_server=of_server):
            raise TransientSourceError(f"{what}: {text}") from None
        remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in reason), "")
        remedy = remedy.format(role=sql.quote(target.user), database=sql.quote(target.database))
        raise SourceError(f"{what}: {text}{f'. Nothing was copied. {remedy}' if remedy else ''}") from None


def _refusal(target: PostgresTarget, words: str, what: str) -> tuple[type[SourceError], str] | None:
    """The error type and the message where the role or the address cannot be used as they are."""
    if "row-level security" in words:
        return SourceError, (
            f"{what}: the role {target.user!r} is subject to row-level security, so it would see only "
            "part of the rows. Nothing was copied. Give it BYPASSRLS "
            f"(ALTER ROLE {sql.quote(target.user)} BYPASSRLS). Postgres said"
        )
    if any(sign in words for sign in NO_MORE_CONNECTIONS):
        # The limit of a role or database is permanent; a full server may have room later.
        return SourceError if "too many connections for" in words else TransientSourceError, (
            f"{what}: Postgres admits no further connection. Nothing was copied. Set AMERICANO_THREADS=1 or "
            "connection_limit=1 in DATABASE_URL, which need a single one; end other sessions of this role, or "
            f"raise its limit (ALTER ROLE {sql.quote(target.user)} CONNECTION LIMIT). Postgres said"
        )
    if "unsupported startup parameter" in words:
        return SourceError, (
            f"{what}: a connection pooler refuses the session's start parameters. Nothing was copied. Connect to the "
            "server itself, or add options and extra_float_digits to ignore_startup_parameters of pgbouncer: what "
            "it drops is set within the transaction and checked. The pooler said"
        )
    if any(sign in words for sign in _TLS) and not is_lost(words):
        return SourceError, (
            f"{what}: TLS could not be set up as DATABASE_URL requires (sslmode, sslaccept, sslcert, "
            "sslrootcert, sslkey). Nothing was copied. The client said"
        )
    return None


def _interruption(
    target: PostgresTarget, words: str, what: str, table: str | None
) -> tuple[type[SourceError], str] | None:
    """The error type and the message where a time limit ended the session or the statement."""
    if "statement timeout" in words:
        return SourceError, (
            f"{what}: a statement took longer than the {target.statement_timeout} seconds of PG_STATEMENT_TIMEOUT. "
            "Nothing was copied. Raise it if the server is only slow. Postgres said"
        )
    if "lock timeout" in words:
        return LockedSourceError, (
            f"{what}: another session locks {'it' if table else 'a table'}, as a migration does. Nothing was copied. "
            "Run the sync again when that session has ended its transaction, or end it. Postgres said"
        )
    if ended_by := next((name for sign, name in _ENDED_BY.items() if sign in words), None):
        return SourceError, (
            f"{what}: the server's {ended_by} ended the session. Nothing was copied. Raise it for this role "
            f"(ALTER ROLE {sql.quote(target.user)} SET {ended_by}), or connect past the pooler that sets it. "
            "Postgres said"
        )
    return None


def _reason(text: str) -> str:
    """Postgres's message, without the statement that DuckDB quotes before it and the line it points at after."""
    reason = text
    for prefix in ("ERROR:", 'Unable to connect to Postgres at "', "FATAL:", "Failed to "):
        _, separator, after = text.partition(prefix)
        if separator and prefix == "Failed to ":
            # The connection broke: the whole statement comes first.
            reason = text.rpartition('": ')[2]
        elif separator:
            # A failed connection quotes all its options first, and ends them with a quote and a colon.
            reason = after.partition('": ')[2] if prefix.endswith('"') else after
        if separator:
            break
    return " ".join(reason.split("\nLINE ")[0].split())
