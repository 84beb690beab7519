"""Find and remove a learner in kept snapshots; look for them in the published file and the lake.

The published file and the lake follow the source: what the source still has would be back with the next sync.

A kept file goes as a whole. Its hash stands in the records of analyses, and a rewritten file would have another;
a card in `snapshots/purged/` says that it was purged, so that nobody takes it for lost or merely expired. Files
that were patched go too, whatever their tables show: DuckDB leaves a deleted row's bytes where they were.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from americano_pipelines.common import atomic_files
from americano_pipelines.erasure.table_search import in_lake, in_snapshot, owners_in
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshots import PURGED


@dataclass(frozen=True)
class SnapshotToErase:
    """A kept file and what it has of a learner.

    Attributes:
        what: the snapshot's id, or `lake` for the one of a way in that is not used any more.
        path: its folder.
        holds: `<table>.<column>` to the rows that name the learner.
        may_hold: why it may hold rows of theirs that no table shows, None when it cannot.
        bytes: its size.
    """

    what: str
    path: Path
    holds: dict[str, int]
    may_hold: str | None
    bytes: int

    @property
    def reason(self) -> str:
        """Why it has to go, for people; never the learner's id."""
        rows = ", ".join(f"{place} {rows:,}" for place, rows in self.holds.items())
        return f"holds rows of the learner: {rows}" if rows else str(self.may_hold)


def find_published(settings: Settings, learner: str) -> dict[str, int]:
    """Where the published file and the lake in use have a learner.

    Args:
        settings: where they lie.
        learner: the learner's id, as the source writes it.

    Returns:
        `<table>.<column>` to the number of rows; empty when there is nothing.

    Raises:
        ResourceError: the file cannot be looked into for want of memory or disk.
    """
    now = snapshots.current(settings)
    document = snapshots.record_beside(now) if now is not None else None
    counts = in_snapshot(settings, now, document, learner) if now is not None and document is not None else {}
    if settings.mode is Mode.POSTGRES:
        counts |= {f"lake: {place}": rows for place, rows in in_lake(settings, learner).items()}
    return counts


def find_snapshots(settings: Settings, learner: str) -> list[SnapshotToErase]:
    """The kept files that hold a learner, or may: of this published name, and the lake if it is not in use.

    Args:
        settings: where they lie.
        learner: the learner's id, as the source writes it.

    Raises:
        ResourceError: as `find_published`.
    """
    now = snapshots.current(settings)
    to_erase = []
    for path in sorted(snapshots.snapshots_dir(settings).glob(f"[!.]*/{snapshots.file_name(settings)}")):
        if now is not None and path.samefile(now):
            continue
        document = snapshots.record_beside(path)
        holds = in_snapshot(settings, path, document, learner) if document is not None else {}
        may_hold = None
        if document is None:
            may_hold = "its record is missing or cannot be read, so what it holds is not known"
        elif document.built.startswith("patch"):
            may_hold = "was patched, and what was deleted before may still be in the file"
        if holds or may_hold:
            to_erase.append(SnapshotToErase(path.parent.name, path.parent, holds, may_hold, _size(path.parent)))
    # Nothing keeps the lake up to date in another mode.
    if settings.mode is not Mode.POSTGRES and lake.holds_files(settings):
        unknown = lake.read(settings) is None
        holds = in_lake(settings, learner)
        if holds or unknown:
            why = "its manifest is missing or cannot be read" if unknown else None
            to_erase.append(SnapshotToErase("lake", settings.lake_dir, holds, why, _size(settings.lake_dir)))
    return to_erase


def protocol_owners(settings: Settings) -> dict[str, set[str]]:
    """Protocol to the ids of those who own it in any published file that is kept.

    Raises:
        ResourceError: as `find_published`.
    """
    owners: dict[str, set[str]] = {}
    for path in sorted(snapshots.snapshots_dir(settings).glob(f"[!.]*/{snapshots.file_name(settings)}")):
        document = snapshots.record_beside(path)
        for protocol_id, ids in (owners_in(settings, path, document) if document is not None else {}).items():
            owners.setdefault(protocol_id, set()).update(ids)
    return owners


def clean_snapshots(settings: Settings, published: Mapping[str, int], to_erase: Iterable[SnapshotToErase]) -> set[str]:
    """Ids of the snapshots that are there, can be looked into, and show no row of the learner.

    Args:
        settings: where they lie.
        published: what `find_published` gave.
        to_erase: what `find_snapshots` gave.
    """
    now, name = snapshots.current(settings), snapshots.file_name(settings)
    clean = {folder.name for folder in snapshots.snapshots(settings) if snapshots.record_beside(folder / name)}
    if now is not None and published:
        clean.discard(now.parent.name)
    return clean - {item.what for item in to_erase if item.holds}


def under_other_names(settings: Settings) -> list[Path]:
    """Files in the folder of snapshots that were published under another name: they are not looked at."""
    paths = snapshots.snapshots_dir(settings).glob("[!.]*/*.duckdb")
    return sorted(path for path in paths if path.name != snapshots.file_name(settings))


def remove_snapshot_files(settings: Settings, item: SnapshotToErase) -> None:
    """Remove a condemned file for good. The caller holds the writer lock.

    A process that has it open keeps its bytes on the disk until it ends.
    """
    if item.path == settings.lake_dir:
        lake.clear(settings)
        return
    card = {"snapshot_id": item.what, "reason": item.reason, "purged_at": datetime.now(UTC).isoformat()}
    folder = snapshots.snapshots_dir(settings) / PURGED
    folder.mkdir(exist_ok=True)
    atomic_files.write_text(folder / f"{item.what}.json", json.dumps(card, indent=1))
    snapshots.remove_snapshot(item.path)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
