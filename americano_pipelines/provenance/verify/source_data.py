"""Compare an extract with its snapshot, or give the finding that was kept before the snapshot expired.

A card names each finding, and later records name the card (see `provenance/snapshot_expiry.py`).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.provenance.chain import discard_edited_index, locked, named_expiry, read_chain
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import find_records
from americano_pipelines.provenance.snapshot_expiry import ExpiryChain, add_card, read_expiry
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.provenance.verify.integrity import snapshot_purged
from americano_pipelines.provenance.verify.snapshot_comparison import (
    FINDING_NAME,
    compare_with_snapshot,
    compare_with_snapshot_now,
    input_snapshot,
    intact_file,
)
from americano_pipelines.settings import DataFolder, Settings


class KeptFinding(FrozenModel):
    """Result of comparing an extract with its snapshot, written when the snapshot is about to expire.

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
    if len({(source.snapshot_id, source.snapshot_sha256) for source in record.inputs}) != 1:
        yield Finding(
            "data", FINDING_NAME, Status.DRIFT, "an analysis reads one snapshot, and the record names another number"
        )
        return
    path = intact_file(settings.paths, record)
    if path is not None and (settings.paths.extracts / f"{record.extract_sha256}.json").exists():
        yield compare_with_snapshot_now(settings, record, path)
    elif path is None and not (settings.paths.snapshots / input_snapshot(record)[0]).is_dir():
        yield _expired_finding(settings.paths, sha256, record)


def keep_findings(settings: Settings, folder: Path) -> int:
    """Read again the extracts of a snapshot that expires, and keep what was found.

    Args:
        settings: whose archive.
        folder: the snapshot's folder.

    Returns:
        How many were read; one that a card names already is not read again.

    Raises:
        OSError, duckdb.Error: the snapshot cannot be read at the moment, or a finding cannot be written.
        LockHeldError: another process writes a record, and does not end.
    """
    findings: dict[str, str] = {}
    # A snapshot is hashed once, for it may have hundreds of megabytes and many records.
    files: dict[str, Path | None] = {}
    while True:
        with locked(settings.paths):  # a record that is added later names the card
            discard_edited_index(settings.paths)
            expiry = read_expiry(settings.paths)
            pending = [
                (sha256, record)
                for sha256, record in find_records(settings.paths, "snapshot_id", folder.name)
                if sha256 not in findings and not (sha256 in expiry.findings and _path(settings.paths, sha256).exists())
            ]
            if not pending:
                if findings or expiry.last_of(folder.name) is None:
                    add_card(settings.paths, folder.name, findings)
                return len(findings)
        for sha256, record in pending:
            snapshot_sha256 = input_snapshot(record)[1]
            if snapshot_sha256 not in files:
                files[snapshot_sha256] = intact_file(settings.paths, record)
            findings[sha256] = _keep(settings, sha256, record, files[snapshot_sha256])


def _path(paths: DataFolder, sha256: str) -> Path:
    return paths.extract_checks / f"{sha256}.json"


def _keep(settings: Settings, sha256: str, record: Record, snapshot: Path | None) -> str:
    """Write the finding of a record and return its hash.

    A file that is there is replaced: no card names it, so a process ended before it could, or it was added.
    """
    if snapshot is None:
        status, detail = Status.DRIFT, "the snapshot had been changed, so nothing could be compared"
    else:
        finding = compare_with_snapshot(settings, record, snapshot)
        status, detail = finding.status, finding.detail
    kept = KeptFinding(
        record_sha256=sha256,
        extract_sha256=record.extract_sha256,
        snapshot_id=input_snapshot(record)[0],
        status=status,
        detail=detail,
        read_at=datetime.now(UTC),
    )
    content = kept.model_dump_json(indent=1).encode()
    path = _path(settings.paths, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_files.atomic_write_path(path) as aside:
        aside.touch(mode=0o600)
        aside.write_bytes(content)
    return sha256_hex(content)


def _expired_finding(paths: DataFolder, sha256: str, record: Record) -> Finding:
    """The finding that was kept of a snapshot that is gone, or whether there should be one."""
    path, expiry = _path(paths, sha256), read_expiry(paths)
    number, named_sha256 = expiry.findings.get(sha256, (1, None))
    gap = expiry.gap(named_expiry(paths, read_chain(paths, from_files=True)), number)
    if named_sha256 is not None and not path.exists():
        return _expired(Status.MISSING, f"the snapshot is gone, and the finding that card {number} names is too")
    if not path.exists() or (named_sha256 is None and expiry.cards):
        # A file that no card names is no finding: a process ended too early, or it was added.
        return _without_finding(paths, record, expiry, gap)
    content = path.read_bytes()
    if why := gap or _wrong(path, content, named_sha256, (sha256, record)):
        return _expired(Status.DRIFT, why)
    kept = KeptFinding.model_validate_json(content)
    unnamed = "" if expiry.cards else "no card names this finding, for it is from before there were cards"
    return _expired(kept.status, "; ".join(filter(None, (f"on {kept.read_at:%Y-%m-%d}", kept.detail, unnamed))))


def _wrong(path: Path, content: bytes, named_sha256: str | None, of: tuple[str, Record]) -> str:
    """Why a file is not the finding that was kept of a record, whose hash a card may name; nothing where it is."""
    if named_sha256 not in {None, sha256_hex(content)}:
        return f"{path} was changed or added: it is not the finding that was kept"
    try:
        kept = KeptFinding.model_validate_json(content)
    except ValidationError:
        return f"{path} is no finding any more"
    sha256, record = of
    expected = (sha256, record.extract_sha256, input_snapshot(record)[0])
    if (kept.record_sha256, kept.extract_sha256, kept.snapshot_id) != expected:
        return f"{path} is of another record, extract or snapshot"
    return ""


def _without_finding(paths: DataFolder, record: Record, expiry: ExpiryChain, gap: str) -> Finding:
    """Why there is no finding of a snapshot that is gone."""
    snapshot_id = input_snapshot(record)[0]
    card = expiry.last_of(snapshot_id)
    if snapshot_purged(paths, snapshot_id, record):
        return _expired(Status.NOT_RECORDED, "the snapshot was erased, and no finding was kept")
    if record.chain is None:
        return _expired(Status.NOT_RECORDED, "the snapshot is gone, and no finding was kept, as for all older records")
    if gap:
        return _expired(Status.MISSING, f"the snapshot is gone without a finding; {gap}")
    if card is None:
        return _expired(Status.MISSING, "the snapshot is gone without a finding, and retention did not remove it")
    # Cards and records are added one at a time, so a record that does not name the card was there before it.
    if record.chain.expiry is None or record.chain.expiry.number < card.number:
        return _expired(Status.MISSING, "the snapshot expired, and no finding of this record was kept")
    return _expired(Status.NOT_RECORDED, "recorded while its snapshot expired, so it was not compared")


def _expired(status: Status, detail: str) -> Finding:
    return Finding("data", f"{FINDING_NAME}, before it expired", status, detail)
