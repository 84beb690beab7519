"""Record which files were handed out, to whom, and of whom, so that a purge finds them.

When an erasure removed the files, what stays of their record names no learner.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.file_permissions import file_mode
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.errors import TamperedError
from americano_pipelines.provenance import archive
from americano_pipelines.settings import DataFolder, Settings


class HandedOutFile(FrozenModel):
    """A file.

    Attributes:
        path: where it was written, absolute.
        sha256: hash of its bytes.
        bytes: its size.
    """

    path: str
    sha256: str
    bytes: int


class ExportCard(FrozenModel):
    """The record of an export.

    Attributes:
        tenant: for which tenant; None for a protocol.
        protocol_id: which protocol; None for a tenant.
        format: `duckdb`, `parquet` or `csv`.
        tables: table to number of rows.
        snapshot_id: the snapshot that the rows are from.
        snapshot_sha256: hash of its file.
        instant: the instant of the source that it holds.
        written_at: when.
        files: the files.
        protocols: whose protocols are in them.
        learners: pseudonyms of the learners, as extracts have them; the files have others.
    """

    tenant: str | None
    protocol_id: str | None
    format: str
    tables: Mapping[str, int]
    snapshot_id: str
    snapshot_sha256: str
    instant: str
    written_at: AwareDatetime
    files: tuple[HandedOutFile, ...]
    protocols: tuple[str, ...]
    learners: tuple[str, ...]


def keep_card(settings: Settings, card: ExportCard) -> str:
    """Keep the record of an export; its hash."""
    content = json.dumps(card.model_dump(mode="json"), ensure_ascii=False, sort_keys=True, indent=1)
    settings.paths.export_cards.mkdir(parents=True, exist_ok=True)
    return archive.put(settings.paths.export_cards, content.encode(), file_mode(settings.americano_group))[1]


def read_cards(paths: DataFolder) -> dict[Path, ExportCard | None]:
    """Path of each record to its content; None where it was changed or cannot be read."""
    cards: dict[Path, ExportCard | None] = {}
    for path in sorted(paths.export_cards.glob("[!.]*.json")):
        try:
            cards[path] = ExportCard.model_validate_json(archive.get(path.parent, path.stem))
        except (TamperedError, ValidationError):
            cards[path] = None
    return cards


def mark_purged(paths: DataFolder, path: Path, card: ExportCard) -> None:
    """Replace a record by what stays of it: what was written, when and from which snapshot, but not of whom."""
    of_one_learner = len(card.learners) == 1
    remainder = {
        "tenant": None if of_one_learner else card.tenant,
        "format": card.format,
        "tables": dict(card.tables),
        "snapshot_id": card.snapshot_id,
        "snapshot_sha256": card.snapshot_sha256,
        "instant": card.instant,
        "written_at": card.written_at.isoformat(),
        "files": [{"sha256": file.sha256, "bytes": file.bytes} for file in card.files],
        "purged_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    paths.purged_exports.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(paths.purged_exports / path.name, json.dumps(remainder, indent=1))
    path.unlink()
    atomic_files.sync_folder(path.parent)
