"""Find and remove a learner in kept snapshots; look for them in the published file, which follows the source."""

# A kept file goes as a whole: its hash is in the records of analyses, and a rewritten file would have another. A card
# in `snapshots/purged/` says that it was purged, so that it does not count as lost or expired. Files that were patched
# go too, whatever their tables show: DuckDB leaves a deleted row's bytes where they were.

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from americano_pipelines.erasure.store import ErasureAction, Item, Learner
from americano_pipelines.erasure.table_search import in_snapshot, owners_in
from americano_pipelines.errors import UnreadableRecordError
from americano_pipelines.provenance.purge_cards import PurgedSnapshot
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.warehouse import snapshots

KIND = "snapshot"
OTHER_NAME = "published under another name"


class SnapshotFiles:
    """The published file and the kept ones, as a store of an erasure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, learner: Learner) -> list[Item]:
        """Where the published file has the learner, and the kept files that hold them or may."""
        published = snapshots.current(self._settings.paths)
        items = self._in_published(published, learner.id) if published is not None else []
        for path in _files(self._settings.paths):
            if published is None or not path.samefile(published):
                item = self._kept(path, learner)
                items += [item] if item is not None else []
        for path in _under_other_names(self._settings.paths):
            reason = f"{path} was {OTHER_NAME} and not looked at: purge once more with that DUCKDB_DB_PATH"
            items.append(Item(OTHER_NAME, str(path), reason, ErasureAction.CANNOT_REMOVE, path=path))
        return items

    def remove(self, items: Sequence[Item]) -> list[Item]:
        """Remove kept files for good; a process that has one open keeps its bytes on the disk until it ends."""
        for item in items:
            if item.path is None:
                continue
            card = PurgedSnapshot(snapshot_id=item.name, reason=item.reason, purged_at=datetime.now(UTC))
            card.write(self._settings.paths.purged_snapshots / f"{item.name}.json")
            snapshots.remove_snapshot(item.path)
        return []

    def _in_published(self, path: Path, learner_id: str) -> list[Item]:
        try:
            document = snapshots.record_beside(path)
        except UnreadableRecordError as error:
            reason = f"whether the published file has the learner is not known: {error}"
            return [Item("published file", str(path), reason, ErasureAction.CANNOT_REMOVE, path=path)]
        return items_in_source(in_snapshot(self._settings, path, document, learner_id))

    def _kept(self, path: Path, learner: Learner) -> Item | None:
        """The item of a kept file, None where it holds nothing of the learner."""
        holds: dict[str, int] = {}
        may_hold = None
        try:
            document = snapshots.record_beside(path)
        except UnreadableRecordError:
            may_hold = "its record is missing or cannot be read, so what it holds is not known"
        else:
            holds = in_snapshot(self._settings, path, document, learner.id, learner.protocols)
            if document.built.startswith("patch"):
                may_hold = "was patched, and what was deleted before may still be in the file"
        if not holds and may_hold is None:
            return None
        reason = describe_rows(holds) if holds else str(may_hold)
        folder = path.parent
        return Item(
            KIND, folder.name, reason, names_learner=bool(holds), bytes=size_of_folder(folder), path=folder
        )  # fmt: skip


def items_in_source(counts: dict[str, int], prefix: str = "") -> list[Item]:
    """Items of what follows the source.

    Args:
        counts: `<table>.<column>` to the rows that name the learner.
        prefix: what comes before that in the name.
    """
    return [
        Item("row", f"{prefix}{column}", "the source has it", ErasureAction.IN_SOURCE, names_learner=True, rows=rows)
        for column, rows in counts.items()
    ]


def describe_rows(counts: dict[str, int]) -> str:
    """Why a file goes that has rows of the learner."""
    return f"holds rows of the learner: {', '.join(f'{column} {rows:,}' for column, rows in counts.items())}"


def size_of_folder(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def protocol_owners(settings: Settings) -> dict[str, set[str]]:
    """Protocol to the ids of those who own it in any published file that is kept.

    Raises:
        ResourceError: a file cannot be looked into for want of memory or disk.
    """
    owners: dict[str, set[str]] = {}
    for path in _files(settings.paths):
        try:
            document = snapshots.record_beside(path)
        except UnreadableRecordError:
            continue  # it goes as a whole
        for protocol_id, ids in owners_in(settings, path, document).items():
            owners.setdefault(protocol_id, set()).update(ids)
    return owners


def snapshots_without(paths: DataFolder, items: Iterable[Item]) -> set[str]:
    """Ids of the snapshots that are there, can be looked into, and show no row of the learner.

    Args:
        paths: where they are.
        items: what `SnapshotFiles` holds about the learner.
    """
    published, name = snapshots.current(paths), snapshots.file_name(paths)
    readable = {folder.name for folder in snapshots.snapshots(paths) if _has_record(folder / name)}
    named = {item.name for item in items if item.kind == KIND and item.names_learner}
    if published is not None and any(item.action is ErasureAction.IN_SOURCE for item in items):
        named.add(published.parent.name)
    return readable - named


def _has_record(path: Path) -> bool:
    try:
        snapshots.record_beside(path)
    except UnreadableRecordError:
        return False
    return True


def _files(paths: DataFolder) -> list[Path]:
    return sorted(paths.snapshots.glob(f"[!.]*/{snapshots.file_name(paths)}"))


def _under_other_names(paths: DataFolder) -> list[Path]:
    """Files in the folder of snapshots that were published under another name."""
    files = paths.snapshots.glob("[!.]*/*.duckdb")
    return sorted(path for path in files if path.name != snapshots.file_name(paths))
