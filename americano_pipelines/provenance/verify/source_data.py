"""Read an extract again from the snapshot that it was read from, and keep the finding before the snapshot expires.

An extract whose hash agrees with its record may still be made up; the snapshot beside it shows that.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from pydantic import AwareDatetime, ValidationError

from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.common import atomic_files
from americano_pipelines.common.duckdb_session import connect_to_read
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.errors import AmericanoError, PseudonymKeyError, TamperedError
from americano_pipelines.provenance.archive import extracts_dir, get
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import find_records
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots

FINDING_NAME = "extract, read again from its snapshot"


class KeptFinding(FrozenModel):
    """Result of comparing an extract with its snapshot, written once when the snapshot was about to expire.

    Attributes:
        record_sha256: hash of the record.
        extract_sha256: hash of the extract as it was recorded.
        snapshot_id: the snapshot.
        status: the finding.
        detail: what differed, empty if nothing did.
        read_at: when, UTC.
    """

    record_sha256: str
    extract_sha256: str
    snapshot_id: str
    status: Status
    detail: str
    read_at: AwareDatetime


def compare_extract(settings: Settings, sha256: str, record: Record) -> Iterator[Finding]:
    """Compare the extract with the rows of its snapshot; without the snapshot, give the finding that was kept.

    Args:
        settings: whose snapshots and archive.
        sha256: hash of the record.
        record: the record.
    """
    path = _file(settings, record)
    if path is not None and (extracts_dir(settings) / f"{record.extract_sha256}.json").exists():
        yield _compared(settings, record, path)
    elif path is None and not (snapshots.snapshots_dir(settings.paths) / _snapshot(record)[0]).is_dir():
        yield _kept_finding(settings, sha256, record)


def keep_findings(settings: Settings) -> int:
    """Read again the extracts of the snapshots that the next publication removes, and keep what was found.

    Returns:
        How many findings were written; one that is there already stays as it is.
    """
    kept = 0
    for folder in snapshots.expiring(settings):
        # A snapshot is hashed once, for it may have hundreds of megabytes and many records.
        files: dict[str, Path | None] = {}
        for sha256, record in find_records(settings, "snapshot_id", folder.name):
            card, snapshot_sha256 = settings.paths.extract_checks / f"{sha256}.json", _snapshot(record)[1]
            if card.exists():
                continue
            if snapshot_sha256 not in files:
                files[snapshot_sha256] = _file(settings, record)
            path = files[snapshot_sha256]
            if path is None:
                continue
            finding = _compared(settings, record, path)
            text = KeptFinding(
                record_sha256=sha256,
                extract_sha256=record.extract_sha256,
                snapshot_id=folder.name,
                status=finding.status,
                detail=finding.detail,
                read_at=datetime.now(UTC),
            ).model_dump_json(indent=1)
            card.parent.mkdir(parents=True, exist_ok=True)
            kept += atomic_files.create_text(card, text)
    return kept


def _snapshot(record: Record) -> tuple[str, str]:
    """Id and hash of the snapshot that the extract was read from: one, for it is read in one session."""
    return record.inputs[0].snapshot_id, record.inputs[0].snapshot_sha256


def _file(settings: Settings, record: Record) -> Path | None:
    """The snapshot's file, None where it is gone or is not the recorded one."""
    if not record.inputs:
        return None
    snapshot_id, sha256 = _snapshot(record)
    path = snapshots.snapshots_dir(settings.paths) / snapshot_id / snapshots.file_name(settings.paths)
    return path if snapshots.is_intact(path, sha256) else None


def _kept_finding(settings: Settings, sha256: str, record: Record) -> Finding:
    what = f"{FINDING_NAME}, before it expired"
    path = settings.paths.extract_checks / f"{sha256}.json"
    if not path.exists():
        return Finding("data", what, Status.NOT_RECORDED, "the snapshot is gone, and no finding was kept")
    try:
        card = KeptFinding.model_validate_json(path.read_bytes())
    except ValidationError:
        return Finding("data", what, Status.DRIFT, f"{path} is no finding any more")
    names = (card.record_sha256, card.extract_sha256, card.snapshot_id)
    if names != (sha256, record.extract_sha256, _snapshot(record)[0]):
        return Finding("data", what, Status.DRIFT, f"{path} is of another record, extract or snapshot")
    return Finding("data", what, card.status, "; ".join(filter(None, (f"on {card.read_at:%Y-%m-%d}", card.detail))))


def _compared(settings: Settings, record: Record, path: Path) -> Finding:
    kind = KINDS.get(record.identity.analysis)
    if kind is None:
        return Finding(
            "data", FINDING_NAME, Status.UNKNOWN, f"there is no analysis {record.identity.analysis!r} any more"
        )
    outcome = record.config.get("outcome")
    try:
        with connect_to_read(settings, path) as connection:
            # The record inside the file, which the recorded hash covers.
            document = snapshots.record_of(connection)
            if document is None:
                return Finding("data", FINDING_NAME, Status.UNKNOWN, "the snapshot has no record of itself")
            extract = kind.read_extract(
                connection, settings, document, record.identity.protocol_id, str(outcome) if outcome else None
            )
    except (PseudonymKeyError, duckdb.Error, OSError) as error:
        return Finding("data", FINDING_NAME, Status.UNKNOWN, f"the snapshot cannot be read now: {error}")
    except AmericanoError as error:
        # The hash of the snapshot is the recorded one, so its rows do not give this extract.
        return Finding(
            "data", FINDING_NAME, Status.DRIFT, f"it cannot be read from snapshot {_snapshot(record)[0]}: {error}"
        )
    if extract.sha256 == record.extract_sha256:
        return Finding("data", FINDING_NAME, Status.MATCH)
    return _differing(settings, record, json.loads(extract.canonical()))


def _differing(settings: Settings, record: Record, present: Mapping[str, Any]) -> Finding:
    """Whether the rows differ, or only what this release adds to an extract, or the key of the pseudonyms."""
    try:
        recorded = json.loads(get(extracts_dir(settings), record.extract_sha256))
    except (FileNotFoundError, TamperedError):
        return Finding(
            "data", FINDING_NAME, Status.DRIFT, "the snapshot gives another extract, and the recorded one is gone"
        )
    if names := sorted(_differences("", recorded, present)):
        return Finding("data", FINDING_NAME, Status.DRIFT, f"the snapshot gives another {', '.join(names)}")
    return Finding(
        "data", FINDING_NAME, Status.MATCH, "in all that was recorded; this release reads more, or under another key"
    )


def _differences(path: str, recorded: Mapping[str, Any], present: Mapping[str, Any]) -> Iterator[str]:
    """Names of recorded fields that the snapshot gives otherwise; without pseudonyms, which another key may make."""
    for name, value in recorded.items():
        place, other = f"{path}{name}", present.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _differences(f"{place}.", value, other)
        elif place in {"protocol.learner", "learners"}:
            continue
        elif isinstance(value, list) and isinstance(other, list) and _all_objects(value, other):
            for index, (item, counterpart) in enumerate(zip(value, other, strict=True)):
                yield from _differences(f"{place}[{index}].", item, counterpart)
        elif repr(value) != repr(other):  # NaN is equal to itself here
            yield place


def _all_objects(recorded: list[Any], present: list[Any]) -> bool:
    return len(recorded) == len(present) and all(isinstance(item, dict) for item in (*recorded, *present))
