"""Read an extract again from the snapshot that it was read from, and keep the finding before the snapshot expires.

An extract whose hash agrees with its record may still be made up; the snapshot beside it shows that. A kept finding is
named by a card that later records name (see `provenance/snapshot_expiry.py`).
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
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.common.temporary_folders import reader_temporary_folder
from americano_pipelines.errors import AmericanoError, PseudonymKeyError, TamperedError
from americano_pipelines.provenance.archive import extracts_dir, get
from americano_pipelines.provenance.chain import named_expiry, read_chain
from americano_pipelines.provenance.input_reading import read_input, recorded_request
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import find_records
from americano_pipelines.provenance.snapshot_expiry import ExpiryChain, add_card, read_expiry
from americano_pipelines.provenance.verify.findings import Finding, Status
from americano_pipelines.provenance.verify.integrity import snapshot_purged
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
    if len({(source.snapshot_id, source.snapshot_sha256) for source in record.inputs}) != 1:
        yield Finding(
            "data", FINDING_NAME, Status.DRIFT, "an analysis reads one snapshot, and the record names another number"
        )
        return
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
        findings, chain = {}, read_expiry(settings)
        for sha256, record in find_records(settings, "snapshot_id", folder.name):
            path, snapshot_sha256 = settings.paths.extract_checks / f"{sha256}.json", _snapshot(record)[1]
            if path.exists() and (sha256 in chain.findings or not chain.cards):
                continue
            if snapshot_sha256 not in files:
                files[snapshot_sha256] = _file(settings, record)
            finding = _compared_before_expiry(settings, record, files[snapshot_sha256])
            text, is_new = _keep(path, sha256, record, finding)
            # Add no card for a file that says something else.
            if text is not None:
                findings[sha256] = sha256_hex(text)
            kept += is_new
        if findings or chain.last_of(folder.name) is None:
            add_card(settings, folder.name, findings)
    return kept


def _keep(path: Path, sha256: str, record: Record, finding: Finding) -> tuple[bytes | None, bool]:
    """Write a finding, unless one is there; its text, None where that says something else; and whether it is new."""
    text = KeptFinding(
        record_sha256=sha256,
        extract_sha256=record.extract_sha256,
        snapshot_id=_snapshot(record)[0],
        status=finding.status,
        detail=finding.detail,
        read_at=datetime.now(UTC),
    ).model_dump_json(indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if atomic_files.create_text(path, text):
        return text.encode(), True
    content = path.read_bytes()
    try:
        kept = KeptFinding.model_validate_json(content)
    except ValidationError:
        return None, False
    same = (kept.record_sha256, kept.status, kept.detail) == (sha256, finding.status, finding.detail)
    return content if same else None, False


def _compared_before_expiry(settings: Settings, record: Record, path: Path | None) -> Finding:
    if path is not None:
        return _compared(settings, record, path)
    return Finding("data", FINDING_NAME, Status.DRIFT, "the snapshot had been changed, so nothing could be compared")


def _snapshot(record: Record) -> tuple[str, str]:
    """Id and hash of the snapshot that the extract was read from: one, for it is read in one session."""
    return record.inputs[0].snapshot_id, record.inputs[0].snapshot_sha256


def _file(settings: Settings, record: Record) -> Path | None:
    """The snapshot's file, None where it is gone or is not the recorded one."""
    snapshot_id, sha256 = _snapshot(record)
    path = snapshots.snapshots_dir(settings.paths) / snapshot_id / snapshots.file_name(settings.paths)
    return path if snapshots.is_intact(path, sha256) else None


def _kept_finding(settings: Settings, sha256: str, record: Record) -> Finding:
    """The finding that was kept of a snapshot that is gone, or whether there should be one."""
    path, chain = settings.paths.extract_checks / f"{sha256}.json", read_expiry(settings)
    number, named_sha256 = chain.findings.get(sha256, (1, None))
    gap = chain.gap(named_expiry(settings, read_chain(settings, from_files=True)), number)
    if not path.exists():
        if named_sha256 is not None:
            return _expired(Status.MISSING, f"the snapshot is gone, and the finding that card {number} names is too")
        return _without_finding(settings, record, chain, gap)
    content = path.read_bytes()
    if why := gap or _wrong(path, content, named_sha256 if chain.cards else sha256_hex(content), (sha256, record)):
        return _expired(Status.DRIFT, why)
    card = KeptFinding.model_validate_json(content)
    unnamed = "" if chain.cards else "no card names this finding, for it is from before there were cards"
    return _expired(card.status, "; ".join(filter(None, (f"on {card.read_at:%Y-%m-%d}", card.detail, unnamed))))


def _wrong(path: Path, content: bytes, expected_sha256: str | None, of: tuple[str, Record]) -> str:
    """Why a file is not the finding that was kept of a record; nothing where it is."""
    if sha256_hex(content) != expected_sha256:
        return f"{path} was changed or added: it is not the finding that was kept"
    try:
        card = KeptFinding.model_validate_json(content)
    except ValidationError:
        return f"{path} is no finding any more"
    sha256, record = of
    expected = (sha256, record.extract_sha256, _snapshot(record)[0])
    if (card.record_sha256, card.extract_sha256, card.snapshot_id) != expected:
        return f"{path} is of another record, extract or snapshot"
    return ""


def _without_finding(settings: Settings, record: Record, chain: ExpiryChain, gap: str) -> Finding:
    """Why there is no finding of a snapshot that is gone."""
    snapshot_id = _snapshot(record)[0]
    card = chain.last_of(snapshot_id)
    if snapshot_purged(settings, snapshot_id, record):
        return _expired(Status.NOT_RECORDED, "the snapshot was erased, and no finding was kept")
    if record.chain is None:
        return _expired(Status.NOT_RECORDED, "the snapshot is gone, and no finding was kept, as for all older records")
    if gap:
        return _expired(Status.MISSING, f"the snapshot is gone without a finding; {gap}")
    if card is None:
        return _expired(Status.MISSING, "the snapshot is gone without a finding, and retention did not remove it")
    if datetime.fromisoformat(record.identity.ended_at) < card.checked_at:
        return _expired(Status.MISSING, "the snapshot expired, and no finding of this record was kept")
    return _expired(Status.NOT_RECORDED, "recorded while its snapshot expired, so it was not compared")


def _expired(status: Status, detail: str) -> Finding:
    return Finding("data", f"{FINDING_NAME}, before it expired", status, detail)


def _compared(settings: Settings, record: Record, path: Path) -> Finding:
    kind = KINDS.get(record.identity.analysis)
    if kind is None:
        return Finding(
            "data", FINDING_NAME, Status.UNKNOWN, f"there is no analysis {record.identity.analysis!r} any more"
        )
    try:
        with connect_to_read(settings, path) as connection:
            # The record inside the file, which the recorded hash covers.
            document = snapshots.record_of(connection)
            if document is None:
                return Finding("data", FINDING_NAME, Status.UNKNOWN, "the snapshot has no record of itself")
            request = recorded_request(kind, record)
            try:
                extract = read_input(settings, connection, document, request)
            except PseudonymKeyError:
                # Only pseudonyms need the key, and these are not compared.
                with reader_temporary_folder(settings.spill_dir, "key") as folder:
                    elsewhere = settings.model_copy(update={"americano_data_dir": folder})
                    extract = read_input(elsewhere, connection, document, request, archive=settings)
    except (duckdb.Error, OSError) as error:
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
        elif name == "learner" or place == "learners":
            continue
        elif isinstance(value, list) and isinstance(other, list) and _all_objects(value, other):
            for index, (item, counterpart) in enumerate(zip(value, other, strict=True)):
                yield from _differences(f"{place}[{index}].", item, counterpart)
        elif repr(value) != repr(other):  # NaN is equal to itself here
            yield place


def _all_objects(recorded: list[Any], present: list[Any]) -> bool:
    return len(recorded) == len(present) and all(isinstance(item, dict) for item in (*recorded, *present))
