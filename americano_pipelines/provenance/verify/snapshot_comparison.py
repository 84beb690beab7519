"""Read an extract again from its snapshot and compare the two: a hash that agrees does not show where rows are from."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.analysis.extract import BaseExtract
from americano_pipelines.analysis.registry import KINDS, Kind
from americano_pipelines.common.duckdb_session import connect_to_read
from americano_pipelines.common.temporary_folders import reader_temporary_folder
from americano_pipelines.errors import AmericanoError, PseudonymKeyError, TamperedError
from americano_pipelines.provenance.archive import get
from americano_pipelines.provenance.input_reading import read_input, recorded_request
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.warehouse import snapshots

FINDING_NAME = "extract, read again from its snapshot"
# The file is locked by a process that has it open for writing, or the machine lacks memory or room.
_TRANSIENT = (OSError, duckdb.IOException, duckdb.OutOfMemoryException)


def input_snapshot(record: Record) -> tuple[str, str]:
    """Id and hash of the snapshot that the extract was read from: one, for it is read in one session."""
    return record.inputs[0].snapshot_id, record.inputs[0].snapshot_sha256


def intact_file(paths: DataFolder, record: Record) -> Path | None:
    """The file of the snapshot that the extract was read from, None where it is gone or is not the recorded one."""
    snapshot_id, sha256 = input_snapshot(record)
    path = paths.snapshots / snapshot_id / snapshots.file_name(paths)
    return path if snapshots.is_intact(path, sha256) else None


def compare_with_snapshot(settings: Settings, record: Record, path: Path) -> Finding:
    """Compare an extract with the rows of its snapshot.

    Args:
        settings: whose archive.
        record: the record of the extract.
        path: the snapshot's file, with the recorded hash.

    Raises:
        OSError, duckdb.IOException, duckdb.OutOfMemoryException: the file cannot be read at the moment.
    """
    kind = KINDS.get(record.identity.analysis)
    if kind is None:
        return _finding(Status.UNKNOWN, f"there is no analysis {record.identity.analysis!r} any more")
    try:
        extract = _read_again(settings, record, kind, path)
    except _TRANSIENT:
        raise
    except duckdb.Error as error:
        return _finding(Status.UNKNOWN, f"this release cannot read the snapshot: {error}")
    except AmericanoError as error:
        # The hash of the snapshot is the recorded one, so its rows do not give this extract.
        return _finding(Status.DRIFT, f"it cannot be read from snapshot {input_snapshot(record)[0]}: {error}")
    if extract is None:
        return _finding(Status.UNKNOWN, "the snapshot has no record of itself")
    if extract.sha256 == record.extract_sha256:
        return _finding(Status.MATCH)
    return _differing(settings.paths, record, json.loads(extract.canonical()))


def compare_with_snapshot_now(settings: Settings, record: Record, path: Path) -> Finding:
    """Compare an extract with the rows of its snapshot; a file that cannot be read at the moment is a finding too."""
    try:
        return compare_with_snapshot(settings, record, path)
    except _TRANSIENT as error:
        return _finding(Status.UNKNOWN, f"the snapshot cannot be read now: {error}")


def _read_again(settings: Settings, record: Record, kind: Kind, path: Path) -> BaseExtract | None:
    """The extract that the snapshot gives, None where it has no record of itself."""
    with connect_to_read(settings, path) as connection:
        # The record inside the file, which the recorded hash covers.
        document = snapshots.record_of(connection)
        if document is None:
            return None
        request = recorded_request(kind, record)
        try:
            return read_input(settings, connection, document, request)
        except PseudonymKeyError:
            # Only pseudonyms need the key, and these are not compared.
            with reader_temporary_folder(settings.paths.spill, "key") as folder:
                elsewhere = settings.model_copy(update={"americano_data_dir": folder})
                return read_input(elsewhere, connection, document, request, archive=settings.paths)


def _differing(paths: DataFolder, record: Record, present: Mapping[str, Any]) -> Finding:
    """Whether the rows differ, or only what this release adds to an extract, or the key of the pseudonyms."""
    try:
        recorded = json.loads(get(paths.extracts, record.extract_sha256))
    except (FileNotFoundError, TamperedError):
        return _finding(Status.DRIFT, "the snapshot gives another extract, and the recorded one is gone")
    if names := sorted(_differences("", recorded, present)):
        return _finding(Status.DRIFT, f"the snapshot gives another {', '.join(names)}")
    return _finding(Status.MATCH, "in all that was recorded; this release reads more, or under another key")


def _differences(path: str, recorded: Mapping[str, Any], present: Mapping[str, Any]) -> Iterator[str]:
    """Names of recorded fields that the snapshot gives otherwise; without pseudonyms, which another key may make."""
    for name, value in recorded.items():
        field, other = f"{path}{name}", present.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _differences(f"{field}.", value, other)
        elif name == "learner" or field == "learners":
            continue
        elif isinstance(value, list) and isinstance(other, list) and _all_objects(value, other):
            for index, (item, counterpart) in enumerate(zip(value, other, strict=True)):
                yield from _differences(f"{field}[{index}].", item, counterpart)
        elif repr(value) != repr(other):  # NaN is equal to itself here
            yield field


def _all_objects(recorded: list[Any], present: list[Any]) -> bool:
    return len(recorded) == len(present) and all(isinstance(item, dict) for item in (*recorded, *present))


def _finding(status: Status, detail: str = "") -> Finding:
    return Finding("data", FINDING_NAME, status, detail)
