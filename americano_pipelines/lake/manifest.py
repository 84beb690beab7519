"""Read and replace the lake's manifest, which alone decides which Parquet files belong to the lake.

Remove files that it does not name: they are orphans of interrupted exports.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.errors import LakeDamagedError
from americano_pipelines.settings import DataFolder
from americano_pipelines.sources.change_detection import State, state_sha256
from americano_pipelines.sources.checksums import BucketChecksum
from americano_pipelines.sources.column_roles import Column, SourceTable
from americano_pipelines.sources.contracts import BY_NAME

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
        identity: hash that distinguishes the relation from another of its name.
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
        """The table as the export read it."""
        return SourceTable(BY_NAME[name], self.found_as, tuple(self.columns), self.roles, identity=self.identity)


class Manifest(FrozenModel):
    """What the lake holds: one instant of the source.

    Attributes:
        version: of this format.
        snapshot_id: identifies the export.
        taken_at: the instant, by Postgres's clock, ISO 8601.
        source: system identifier, timeline, database, xmin and xmax of the snapshot, and whatever else distinguishes
            histories.
        tables: warehouse name to content.
        skipped: warehouse name to the reason why the source has no such table.
    """

    version: Literal[3] = 3
    snapshot_id: str
    taken_at: str
    source: dict[str, Any]
    tables: dict[str, LakeTable]
    skipped: dict[str, str]


def read(paths: DataFolder) -> Manifest | None:
    """The manifest, None when there is none.

    Raises:
        LakeDamagedError: it is empty or malformed.
    """
    path = paths.manifest
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError):
        raise LakeDamagedError(
            f"{path} is no manifest of this version, so the content of the lake is unknown; `americano sync` in "
            "postgres mode exports everything anew",
            path,
        ) from None


def exists(paths: DataFolder) -> bool:
    """Whether there is a manifest at all, readable or not."""
    return paths.manifest.exists()


def replace(paths: DataFolder, manifest: Manifest) -> None:
    """Make this manifest the lake's."""
    atomic_files.write_text(paths.manifest, manifest.model_dump_json(indent=1))


def files(paths: DataFolder, bucket: Bucket) -> list[Path]:
    """Absolute paths of a bucket's files."""
    return [paths.lake / file.path for file in bucket.files]


def damaged(paths: DataFolder, manifest: Manifest) -> dict[str, dict[str, str]]:
    """Buckets with a file that is not there or not as long as it was: table to bucket to the file's path.

    Length, not hash: a sync that changes nothing should not read the whole lake. Wrong bytes of the right length
    are found by the hash when the file is loaded.
    """
    damaged_paths: dict[str, dict[str, str]] = {}
    for name, table in manifest.tables.items():
        for bucket, content in table.buckets.items():
            for file in content.files:
                path = paths.lake / file.path
                if not path.is_file() or path.stat().st_size != file.bytes:
                    damaged_paths.setdefault(name, {})[bucket] = file.path
    return damaged_paths


def sweep(paths: DataFolder) -> None:
    """Remove our own files that the manifest does not name: older exports and what failed or interrupted ones left.

    Files that no export made stay, for the folder may be older than the lake. While the manifest cannot be read,
    everything stays.
    """
    try:
        manifest = read(paths)
    except LakeDamagedError:
        return
    tables = manifest.tables.values() if manifest is not None else ()
    named = {file.path for table in tables for bucket in table.buckets.values() for file in bucket.files}
    for path in _ours(paths.lake):
        if path.relative_to(paths.lake).as_posix() not in named:
            path.unlink()
            if path.parent != paths.lake and not any(path.parent.iterdir()):
                path.parent.rmdir()


def holds_files(paths: DataFolder) -> bool:
    """Whether the lake's folder has any exported file or a manifest."""
    return exists(paths) or any(True for _ in _ours(paths.lake))


def clear(paths: DataFolder) -> None:
    """Remove the lake: our files, then the manifest that names them; files of other programs stay."""
    for path in _ours(paths.lake):
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    paths.manifest.unlink(missing_ok=True)


def _ours(folder: Path) -> Iterator[Path]:
    """Every exported file."""
    for table in BY_NAME:
        for path in list(folder.glob(f"{table}/*/*.parquet")):
            if _EXPORTED.fullmatch(path.name):
                yield path
