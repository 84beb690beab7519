"""Parse and compare the addresses of Postgres, from `DATABASE_URL` or from the `PG_*` variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

DEFAULT_PORT = 5432
# Parameters that Prisma reads from the URL itself and libpq refuses as unknown. `connection_limit`, `schema` and
# `sslaccept` are honoured. The others tune Prisma's own pool and its prepared statements, of which there are none
# here: the server's settings show a pooler, and PG_STATEMENT_TIMEOUT ends a statement.
PRISMA_ONLY = frozenset({"pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size"})
LIBPQ_OPTIONS = frozenset(
    {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "sslsni", "sslnegotiation", "require_auth"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version", "connect_timeout", "target_session_attrs"}
    | {"channel_binding", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"}
    | {"tcp_user_timeout", "application_name", "options"}
)
# The values that libpq knows, where it knows only some. It looks at them no sooner than when it connects.
_VALUES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslsni": ("0", "1"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_METHODS = ("password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none")
_NUMBERS = frozenset(
    {"connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
)
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir")
_PKCS12 = frozenset({"sslidentity", "sslpassword"})
_WITHOUT_TLS, _VERIFYING = ("disable", "allow"), ("verify-ca", "verify-full")
_UNPARSABLE = (
    "cannot be parsed: the port must be a number from 1 to 65535, and characters such as / ? # [ ] @ in the password "
    "percent-encoded"
)
_ACCEPTS = ("strict", "accept_invalid_certs")
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
        schema: the schema to look in first (`?schema=` of a Prisma URL), by default `public`.
        options: further libpq parameters from the URL, such as `sslmode`.
        connections: most connections at once (`?connection_limit=` of a Prisma URL), None for as many as are useful.
        statement_timeout: seconds after which the server ends a statement of ours.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    schema: str = "public"
    options: tuple[tuple[str, str], ...] = ()
    connections: int | None = None
    statement_timeout: int = 3600

    @property
    def label(self) -> str:
        """The address for messages and metadata: no password in it."""
        return f"{self.user}@{self.host}:{self.port}/{self.database}"


def split_table(name: str) -> tuple[str | None, str]:
    """Split `table`, `schema.table` or `"Schema"."Table"`; case is kept, quoted or not.

    Raises:
        ValueError: it is none of these.
    """
    match = _TABLE.fullmatch(name.strip())
    if match is None:
        raise ValueError('is not a table name; allowed are table, schema.table and, quoted, "schema"."table"')
    schema, table = match.groups()
    return schema and schema.strip('"'), table.strip('"')


def parse_url(url: str, folder: Path = Path()) -> PostgresTarget:
    """Read a `postgres://` or `postgresql://` address, as Prisma and libpq write it.

    Args:
        url: the address.
        folder: where paths of certificates start that are not absolute.

    Raises:
        ValueError: naming the wrong part. The text never quotes the address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The message of urlsplit may quote the password.
        raise ValueError(_UNPARSABLE) from None
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ValueError("must start with postgresql:// or postgres://")
    query = _parameters(parts.query)
    # `u:1/a?b@h`: the password is cut after the 1, which passes for a port, and its rest for a database or a parameter.
    if "@" in parts.path or parts.fragment or any("@" in name for name in query):
        raise ValueError(_UNPARSABLE)
    names = list(query)
    if "port" in query:
        port = _whole_number(query.pop("port"), "the port must be a number from 1 to 65535", 65535)
    if port == 0:
        raise ValueError("the port must be a number from 1 to 65535")
    host = query.pop("host", "") or unquote(parts.hostname or "")
    database = query.pop("dbname", "") or unquote(parts.path.lstrip("/"))
    user = query.pop("user", "") or unquote(parts.username or "")
    password = query.pop("password", "") or unquote(parts.password or "")
    if not host:
        raise ValueError("names no host (a socket folder goes into ?host=/folder)")
    if not database:
        raise ValueError("names no database")
    schema = query.pop("schema", "") or "public"
    limit = query.pop("connection_limit", "")
    connections = _whole_number(limit, "connection_limit must be a number from 1 on") if limit else None
    options = _in_folder(_certificates(query), folder)
    if unknown := options.keys() - PRISMA_ONLY - LIBPQ_OPTIONS:
        # By number: the names may be parts of the password.
        numbers = ", ".join(str(number) for number, name in enumerate(names, start=1) if name in unknown)
        raise ValueError(f"has unknown parameters: number {numbers} after the question mark")
    _check_values(options)
    return PostgresTarget(
        host=host,
        port=port or DEFAULT_PORT,
        user=user or "postgres",
        password=password,
        database=database,
        schema=schema,
        options=tuple(sorted((key, value) for key, value in options.items() if key in LIBPQ_OPTIONS)),
        connections=connections,
    )


def _check_values(options: Mapping[str, str]) -> None:
    """Refuse values that libpq would refuse when it connects. An empty one is its default.

    Raises:
        ValueError: naming the parameter and its values.
    """
    for name, value in options.items():
        if value and name in _VALUES and value not in _VALUES[name]:
            # What node-postgres calls `no-verify`.
            like = "; `require` checks no certificate either" if (name, value) == ("sslmode", "no-verify") else ""
            raise ValueError(f"{name} must be one of {', '.join(_VALUES[name])}{like}")
        if value and name in _NUMBERS and re.fullmatch("-?[0-9]{1,9}", value) is None:
            raise ValueError(f"{name} must be a whole number")
    methods = options.get("require_auth", "")
    if methods and not {method.strip().removeprefix("!") for method in methods.split(",")} <= set(_METHODS):
        raise ValueError(f"require_auth must be a list of {', '.join(_METHODS)}")


def _parameters(query: str) -> dict[str, str]:
    """The part after the question mark as libpq and Prisma read it: a plus is a plus, as in paths."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _whole_number(text: str, reason: str, most: int | None = None) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0 or (most is not None and int(text) > most):
        raise ValueError(reason)
    return int(text)


def _certificates(query: dict[str, str]) -> dict[str, str]:
    """Translate Prisma's TLS parameters to libpq's: its `sslcert` is the authority, its `strict` checks the name.

    Raises:
        ValueError: a parameter cannot be honoured. Without it the connection would be less safe than requested.
    """
    options = dict(query)
    if refused := sorted(_PKCS12 & options.keys()):
        raise ValueError(
            f"has {' and '.join(refused)}, a PKCS #12 file, which libpq cannot read; write the client's certificate "
            "and key to two PEM files and name them as sslcert and sslkey"
        )
    accept = options.pop("sslaccept", "")
    if accept and accept not in _ACCEPTS:
        raise ValueError(f"sslaccept must be {' or '.join(_ACCEPTS)}")
    if "sslcert" in options and not options.keys() & {"sslkey", "sslrootcert"}:
        options["sslrootcert"] = options.pop("sslcert")
    mode = options.get("sslmode", "")
    if accept == "strict":
        if mode in _WITHOUT_TLS:
            raise ValueError(f"sslaccept=strict contradicts sslmode={mode}")
        options["sslmode"] = "verify-full"
        # Without a file of its own, the authorities that the machine trusts.
        options.setdefault("sslrootcert", "system")
    elif accept:
        if mode in _VERIFYING:
            raise ValueError(f"sslaccept={accept} contradicts sslmode={mode}")
        # With an authority libpq would check the certificate in any case.
        options.pop("sslrootcert", None)
    elif options.get("sslrootcert") and mode in {"", "prefer", "require"}:
        # Without the file libpq would check nothing, and with `prefer` connect without TLS.
        options["sslmode"] = "verify-full" if options["sslrootcert"] == "system" else "verify-ca"
    return options


def _in_folder(options: dict[str, str], folder: Path) -> dict[str, str]:
    """The parameters with the paths of files made absolute."""
    paths = {name for name in _FILES if options.get(name) and (name, options[name]) != ("sslrootcert", "system")}
    return {name: str(folder / value) if name in paths else value for name, value in options.items()}
