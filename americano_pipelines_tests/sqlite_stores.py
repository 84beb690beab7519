"""Open the sqlite stores of Dagster and MLflow sooner, in a process of the tests; what they hold is the same."""

import sqlite3
from typing import Any

import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, NullPool, event

_create_engine = sqlalchemy.create_engine
_read_migrations = ScriptDirectory.from_config
_engines: dict[tuple[str, str], Engine] = {}
_migrations: dict[str, ScriptDirectory] = {}


def open_sooner() -> None:
    """Change this process. Dagster takes `create_engine` when it is imported, so this comes first."""
    event.listen(Engine, "connect", _without_fsync)
    setattr(sqlalchemy, "create_engine", _engine)  # noqa: B010 - mypy refuses an assignment to a function
    setattr(ScriptDirectory, "from_config", _scripts)  # noqa: B010


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
    location = str(config.get_main_option("script_location"))
    if location not in _migrations:
        _migrations[location] = _read_migrations(config)
    return _migrations[location]
