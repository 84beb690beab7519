"""Parse `MLFLOW_TRACKING_URI`: check the address, and resolve a relative sqlite file. Connect to nothing."""

import os
from pathlib import Path
from urllib.parse import urlsplit

_SERVERS = frozenset({"http", "https"})
# Databases that MLflow supports. It does not know `postgres://`.
_DATABASES = frozenset({"postgresql", "mysql", "mssql"})
_ALLOWED = (
    "allowed are http://host:port, https://host, sqlite:///file.db, and postgresql+psycopg2://, mysql+<driver>:// or "
    "mssql+<driver>://user:password@host/database"
)


def parse_tracking_uri(value: str, root: Path) -> str:
    """Check an address, and make a relative sqlite file absolute, as all paths of the settings.

    Args:
        value: the address as it was set.
        root: the folder that a relative file starts at.

    Returns:
        The address to pass to MLflow.

    Raises:
        ValueError: the address is wrong. The text never quotes it, for it may hold a password.
    """
    uri = value.strip()
    scheme, colon, _ = uri.partition(":")
    kind, _, driver = scheme.lower().partition("+")
    if not colon or "/" in scheme or kind == "file":
        raise ValueError(
            "is a folder, or no address that MLflow knows; MLflow 3 has no store in a folder of files. "
            f"For records on this machine use sqlite:///mlflow.db; {_ALLOWED}"
        )
    if scheme.lower() in _SERVERS:
        _check_server(uri)
        return uri
    if kind == "sqlite":
        return _sqlite(uri, driver, root)
    if kind in _DATABASES:
        _check_database(uri)
        return uri
    raise ValueError(f"is not an MLflow server or store that this project can use; {_ALLOWED}")


def sqlite_file(uri: str) -> Path | None:
    """The file of a sqlite address, None for any other."""
    if not uri.startswith("sqlite:"):
        return None
    return Path(uri.partition("///")[2].partition("?")[0])


def _check_server(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        # The message of urlsplit may quote the password.
        raise ValueError("cannot be parsed: the port must be a number from 1 to 65535") from None
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        # `http://u:1/a@h`: a password is cut after the 1, which passes for a port, and its rest for a path.
        raise ValueError("cannot be parsed: characters such as / ? # [ ] @ in the password must be percent-encoded")
    if not host or any(character.isspace() for character in parts.netloc):
        raise ValueError("names no host, as http://host:port does")
    if port == 0:
        raise ValueError("the port must be a number from 1 to 65535")


def _sqlite(uri: str, driver: str, root: Path) -> str:
    start, slashes, rest = uri.partition("///")
    name, question, parameters = rest.partition("?")
    if not slashes or "/" in start or not name or name == ":memory:" or name.startswith("file:"):
        raise ValueError(
            "names no file; sqlite:///runs.db is one in the project's folder, sqlite:////var/lib/runs.db (four "
            "slashes) one by its full path, and records in memory are gone with the process"
        )
    if driver not in {"", "pysqlite"}:
        raise ValueError("asks for a sqlite driver that MLflow cannot use; write sqlite:///")
    path = (root / os.path.expanduser(name)).absolute()  # noqa: PTH111 - Path.expanduser raises for an unknown user
    if os.path.isdir(path) or name.endswith("/"):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        place, example = ("its path", "") if "@" in name else (path, f", such as sqlite:///{path / 'mlflow.db'}")
        raise ValueError(f"{place} is a folder; name a file in it{example}")
    return f"sqlite:///{path}{question}{parameters}"


def _check_database(uri: str) -> None:
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        address = make_url(uri)
        dialect = address.get_dialect()
    except (SQLAlchemyError, ValueError):
        raise ValueError(f"cannot be parsed, or names a driver that is unknown; {_ALLOWED}") from None
    if not address.host and not address.query.get("host"):
        raise ValueError("names no host (a socket folder goes into ?host=/folder)")
    if not address.database:
        raise ValueError("names no database")
    if address.port is not None and not 1 <= address.port <= 65535:  # noqa: PLR2004 - TCP's
        raise ValueError("the port must be a number from 1 to 65535")
    try:
        dialect.import_dbapi()
    except ImportError as error:
        remedy = (
            "write postgresql+psycopg2://, which is installed"
            if address.get_backend_name() == "postgresql"
            else "install it, or run an MLflow server over that database and name the server"
        )
        raise ValueError(
            f"needs the Python package {error.name or dialect.driver}, which is not installed; {remedy}"
        ) from None
