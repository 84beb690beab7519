"""The lake's manifest: the only truth about which Parquet files belong to the lake and what they hold.

A file that the manifest does not name is an orphan of an interrupted export.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.errors import LakeDamagedError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.change_detection import State, state_sha256
from americano_pipelines.sources.checksums import BucketChecksum
from americano_pipelines.sources.column_roles import Column, SourceTable
from americano_pipelines.sources.contracts import BY_NAME

NAME = "manifest.json"
# `<snapshot id>-<part>.parquet`, as an export names its files.
_EXPORTED = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}-.+\.parquet")


class LakeFile(FrozenModel):
    """A Parquet file: its path below the lake's folder, rows, bytes, sha256."""

    path: str
    rows: int
    bytes: int
    sha256: str


class Bucket(FrozenModel):
    """One month of a table, or all of a small one.

    Attributes:
        rows: rows in the source and in the files.
        fingerprint: the state in the source that was exported.
        figures: what a copy of these rows must reconcile with.
        files: where the rows are.
    """

    rows: int
    fingerprint: str
    figures: BucketChecksum
    files: list[LakeFile]


class LakeTable(FrozenModel):
    """A table in the lake.

    Attributes:
        found_as: schema and name in Postgres.
        columns: its columns with source and DuckDB types.
        roles: role name to column name.
        identity: hash of what tells the relation apart from another under its name.
        schema_sha256: hash of the columns, types, defaults and enum labels.
        snapshot_id: the export that last wrote any of it.
        buckets: month (`2026-01`, `none` for rows without a time, `all` for a small table) to its content.
    """

    found_as: str
    columns: list[Column]
    roles: dict[str, str]
    identity: str
    schema_sha256: str
    snapshot_id: str
    buckets: dict[str, Bucket]

    @property
    def rows(self) -> int:
        """Rows in all buckets."""
        return sum(bucket.rows for bucket in self.buckets.values())

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for bucket in self.buckets.values() for file in bucket.files)

    @property
    def state_sha256(self) -> str:
        """The table's data version."""
        return state_sha256(self.identity, self.schema_sha256, self.state)

    @property
    def state(self) -> dict[str, State]:
        """State of every bucket."""
        return {name: State(bucket.rows, bucket.fingerprint) for name, bucket in self.buckets.items()}

    def source_table(self, name: str) -> SourceTable:
        """The table as the export found it."""
        return SourceTable(BY_NAME[name], self.found_as, tuple(self.columns), self.roles, identity=self.identity)


class Manifest(FrozenModel):
    """What the lake holds: one instant of the source.

    Attributes:
        version: of this format.
        snapshot_id: identifies the export.
        taken_at: the instant, by Postgres's clock, ISO 8601.
        source: system identifier, timeline, database, xmin and xmax of the snapshot and what else tells histories
            apart.
        tables: warehouse name to content.
        skipped: warehouse name to the reason why the source has no such table.
    """

    version: Literal[3] = 3
    snapshot_id: str
    taken_at: str
    source: dict[str, Any]
    tables: dict[str, LakeTable]
    skipped: dict[str, str]


def read(settings: Settings) -> Manifest | None:
    """The manifest, None when there is none.

    Raises:
        LakeDamagedError: it is empty or malformed.
    """
    path = settings.lake_dir / NAME
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError):
        raise LakeDamagedError(
            f"{path} is no manifest of this version, so what the lake holds is not known; `americano sync` in postgres "
            "mode exports everything anew",
            path,
        ) from None


def is_there(settings: Settings) -> bool:
    """Whether there is a manifest at all, readable or not."""
    return (settings.lake_dir / NAME).exists()


def replace(settings: Settings, manifest: Manifest) -> None:
    """Make this manifest the lake's."""
    atomic_files.write_text(settings.lake_dir / NAME, manifest.model_dump_json(indent=1))


def paths(settings: Settings, bucket: Bucket) -> list[Path]:
    """Absolute paths of a bucket's files."""
    return [settings.lake_dir / file.path for file in bucket.files]


def damaged(settings: Settings, manifest: Manifest) -> dict[str, dict[str, str]]:
    """Buckets with a file that is not there or not as long as it was: table to bucket to the file's path.

    Length, not hash: a sync that changes nothing should not read the whole lake. Wrong bytes of the right length
    are found by the hash when the file is loaded.
    """
    damaged_paths: dict[str, dict[str, str]] = {}
    for name, table in manifest.tables.items():
        for bucket, content in table.buckets.items():
            for file in content.files:
                path = settings.lake_dir / file.path
                if not path.is_file() or path.stat().st_size != file.bytes:
                    damaged_paths.setdefault(name, {})[bucket] = file.path
    return damaged_paths


def sweep(settings: Settings) -> None:
    """Remove our own files that the manifest does not name: older exports and what failed or interrupted ones left.

    What we did not make stays: the folder may have been there before us. So does everything while there is a
    manifest that cannot be read.
    """
    try:
        manifest = read(settings)
    except LakeDamagedError:
        return
    tables = manifest.tables.values() if manifest is not None else ()
    named = {file.path for table in tables for bucket in table.buckets.values() for file in bucket.files}
    for path in _ours(settings.lake_dir):
        if path.relative_to(settings.lake_dir).as_posix() not in named:
            path.unlink()
            if path.parent != settings.lake_dir and not any(path.parent.iterdir()):
                path.parent.rmdir()


def holds_files(settings: Settings) -> bool:
    """Whether there is anything of ours in the lake's folder, named by a manifest or not."""
    return is_there(settings) or any(True for _ in _ours(settings.lake_dir))


def clear(settings: Settings) -> None:
    """Remove the lake: our files, then the manifest that names them; files of others stay."""
    for path in _ours(settings.lake_dir):
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    (settings.lake_dir / NAME).unlink(missing_ok=True)


def _ours(folder: Path) -> Iterator[Path]:
    """Every exported file."""
    for table in BY_NAME:
        for path in list(folder.glob(f"{table}/*/*.parquet")):
            if _EXPORTED.fullmatch(path.name):
                yield path
