"""Helpers of the lake's and the warehouse's tests: a sync in this process, and queries on its result."""

import os
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.lake.export import export
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.refresh import RefreshResult, refresh


def synced(settings: Settings, *, full: bool = False) -> RefreshResult:
    """Do what the nightly job does, without Dagster."""
    if settings.mode is Mode.POSTGRES:
        export(settings, StageTimer(), full=full)
    return refresh(settings, StageTimer(), full=full)


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    """Ask the published file as it is at this moment."""
    path = snapshots.current(settings.paths)
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute("SET TimeZone = 'UTC'").execute(query).fetchall()


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and link below a folder with size and modification time; a link counts by its target's name."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            name = f"{name} -> {os.readlink(path)}"  # noqa: PTH115 - as text
        if path.is_file():
            files[name] = (path.stat().st_size, path.stat().st_mtime_ns)
    return files


def published(settings: Settings) -> dict[str, tuple[int, int]]:
    """The published folder, to compare before and after."""
    return tree(settings.paths.published.parent)


def write_parquet(path: Path, query: str) -> Path:
    """An export made by somebody else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path
