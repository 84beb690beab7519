"""Load DuckDB's extensions sooner, in a process of the tests; they are the same."""

from pathlib import Path

from americano_pipelines.common import duckdb_session
from americano_pipelines.settings import Settings

_config = duckdb_session.config


def load_sooner() -> None:
    """Change this process; modules that import the function by name come later.

    DuckDB hashes the 40 MB of the Postgres extension for its signature whenever a session loads it: 0.15 s, a tenth of
    a sync. Commands in processes of their own still do.
    """
    setattr(duckdb_session, "config", _without_signature)  # noqa: B010 - mypy refuses an assignment to a function


def _without_signature(settings: Settings, folder: Path | None) -> dict[str, str | bool | int | float | list[str]]:
    return {**_config(settings, folder), "allow_unsigned_extensions": True}
