"""Where the source Postgres is, from `DATABASE_URL` or from the `PG_*` variables.

Only the parsing and comparing of addresses belongs here; connecting is `sources/postgres.py`.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

DEFAULT_PORT = 5432
# Parameters that Prisma reads from the URL itself and libpq refuses as unknown. `schema` is kept apart.
PRISMA_ONLY = frozenset(
    {"connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size", "sslidentity"}
    | {"sslaccept", "sslpassword"}
)
LIBPQ_OPTIONS = frozenset(
    {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "connect_timeout", "target_session_attrs"}
    | {"channel_binding", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval"}
)
_TABLE = re.compile(r'(?:("[^"]+"|[^".]+)\.)?("[^"]+"|[^".]+)')


@dataclass(frozen=True)
class PostgresTarget:
    """Address of one Postgres database.

    Attributes:
        host: a host name, or the folder of a unix socket.
        port: TCP port, also the number in the socket's name.
        user: the role to read as.
        password: its password, empty for none; never shown.
        database: the database's name.
        schema: the schema to look in first (`?schema=` of a Prisma URL), `public` unless told.
        options: further libpq parameters from the URL, such as `sslmode`.
        statement_timeout: seconds after which the server ends a statement of ours.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    schema: str = "public"
    options: tuple[tuple[str, str], ...] = ()
    statement_timeout: int = 3600

    @property
    def label(self) -> str:
        """The address for messages and metadata: no password in it."""
        return f"{self.user}@{self.host}:{self.port}/{self.database}"


def split_table(name: str) -> tuple[str | None, str]:
    """Take `table`, `schema.table` or `"Schema"."Table"` apart; case is kept, quoted or not.

    Raises:
        ValueError: it is none of these.
    """
    match = _TABLE.fullmatch(name.strip())
    if match is None:
        raise ValueError('is not a table name; allowed are table, schema.table and, quoted, "schema"."table"')
    schema, table = match.groups()
    return schema and schema.strip('"'), table.strip('"')


def parse_url(url: str) -> PostgresTarget:
    """Read a `postgres://` or `postgresql://` address, as Prisma and libpq write it.

    Raises:
        ValueError: saying which part is wrong. The address itself is never in the text.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # What urlsplit itself says may quote the password.
        raise ValueError(
            "cannot be taken apart: the port must be a number from 1 to 65535, and characters such as / ? # [ ] @ "
            "in the password percent-encoded"
        ) from None
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ValueError("must start with postgresql:// or postgres://")
    if port == 0:
        raise ValueError("the port must be a number from 1 to 65535")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = query.pop("host", "") or unquote(parts.hostname or "")
    database = unquote(parts.path.lstrip("/"))
    if not host:
        raise ValueError("names no host (a socket folder goes into ?host=/folder)")
    if not database:
        raise ValueError("names no database")
    schema = query.pop("schema", "") or "public"
    if unknown := sorted(query.keys() - PRISMA_ONLY - LIBPQ_OPTIONS):
        raise ValueError(f"has parameters that are not understood: {', '.join(unknown)}")
    return PostgresTarget(
        host=host,
        port=port or DEFAULT_PORT,
        user=unquote(parts.username or "") or "postgres",
        password=unquote(parts.password or ""),
        database=database,
        schema=schema,
        options=tuple(sorted((key, value) for key, value in query.items() if key in LIBPQ_OPTIONS)),
    )
