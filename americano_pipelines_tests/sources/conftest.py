"""Fixtures of the tests of external files."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from americano_pipelines.common import duckdb_session
from americano_pipelines.settings import Settings
from americano_pipelines.sources.parquet_files import FileTable, find_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


@pytest.fixture
def duck(settings_for: Callable[..., Settings]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb_session.connect(settings_for()) as connection:
        yield connection


@pytest.fixture
def find(
    duck: duckdb.DuckDBPyConnection, settings_for: Callable[..., Settings], folder: Path
) -> Callable[..., FileTable]:
    """The events table that a location gives, the folder unless told."""

    def find(location: Path = folder, **values: Any) -> FileTable:
        tables, _ = find_files(duck, settings_for(behavioral_events_parquet=str(location), **values))
        return tables["behavioral_events"]

    return find
