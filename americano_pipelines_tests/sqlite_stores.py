"""Open the sqlite stores of Dagster and MLflow sooner, in a process of the tests; what they hold is the same."""

import sqlite3
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, event

_create_engine = sqlalchemy.create_engine
_read_migrations = ScriptDirectory.from_config
_upgrade = command.upgrade
_engines: dict[tuple[str, str], Engine] = {}
_migrations: dict[str, ScriptDirectory] = {}
_upgraded: dict[tuple[str, str], sqlite3.Connection] = {}


def open_sooner() -> None:
    """Change this process. Dagster takes `create_engine` when it is imported, so this comes first."""
    event.listen(Engine, "connect", _without_fsync)
    setattr(sqlalchemy, "create_engine", _engine)  # noqa: B010 - mypy refuses an assignment to a function
    setattr(ScriptDirectory, "from_config", _scripts)  # noqa: B010
    setattr(command, "upgrade", _upgrade_once)  # noqa: B010


def _without_fsync(connection: Any, _record: Any) -> None:
    """Do not wait for the disk: a sync with Dagster commits 300 times. A killed process loses nothing by it."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def _engine(url: Any, **options: Any) -> Engine:
    """Make an engine of a sqlite file once, if it keeps no connection open.

    Dagster makes one for each event that it stores, and each compiles the same statements: a quarter of a sync.
    """
    if options.get("poolclass") is not NullPool or not str(url).startswith("sqlite:"):
        return _create_engine(url, **options)
    key = (str(url), repr(options))
    if key not in _engines:
        _engines[key] = _create_engine(url, **options)
    return _engines[key]


def _scripts(config: Config) -> ScriptDirectory:
    """Read the migrations of a store once: to open one reads them all, each time."""
    location = _location(config)
    if location not in _migrations:
        _migrations[location] = _read_migrations(config)
    return _migrations[location]


def _upgrade_once(config: Config, revision: str) -> None:
    """Migrate an empty store once, and copy it over the next one: fifty migrations take a second."""
    connection = config.attributes.get("connection")
    store = connection.connection.driver_connection if isinstance(connection, Connection) else None
    if not isinstance(store, sqlite3.Connection) or not _is_empty(store):
        _upgrade(config, revision)
        return
    key = (_location(config), revision)
    if key in _upgraded:
        _upgraded[key].backup(store)
        return
    _upgrade(config, revision)
    # Another thread may copy it.
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    store.backup(copy)
    _upgraded[key] = copy


def _is_empty(store: sqlite3.Connection) -> bool:
    """Whether it has no row and was never migrated."""
    tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = (store.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in tables)
    return "alembic_version" not in tables and not any(rows)


def _location(config: Config) -> str:
    return str(config.get_main_option("script_location"))
