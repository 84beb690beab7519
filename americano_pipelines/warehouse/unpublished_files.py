"""List the external files that differ from the published ones (parquet mode), without reading them.

A file that was only touched counts as well: only its bytes show that nothing changed, and a sync reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.errors import UnreadableRecordError
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.contracts import CONTRACTS
from americano_pipelines.sources.parquet_files import stamp_of
from americano_pipelines.sources.path_expansion import expand
from americano_pipelines.warehouse import snapshots

STAMPS = "stamps"
"""Where the record of a published file keeps the stamps of the files it was built from: table, path, stamp."""


@dataclass(frozen=True)
class FileChange:
    """A file that is new, was written to or was removed since it was published.

    Attributes:
        table: the source table it belongs to.
        path: the file.
        stamp: size, times and inode now; None when it is gone.
    """

    table: str
    path: Path
    stamp: tuple[int, ...] | None


@dataclass(frozen=True)
class Unpublished:
    """The files that are not published.

    Attributes:
        snapshot_id: the published file that this is compared with, empty when there is none.
        changes: the files, in order of their tables and names.
    """

    snapshot_id: str
    changes: Sequence[FileChange]

    @property
    def sha256(self) -> str:
        """Hash of it: equal for as long as neither the files nor the published file change."""
        states = [(change.table, str(change.path), change.stamp) for change in self.changes]
        return sha256_hex(canonical_json([self.snapshot_id, states], ascii_only=True, spaced=True))


def unpublished(settings: Settings) -> Unpublished:
    """Compare the present files with those that the published file was built from.

    A table without any file is left out: it stays as it was published.

    Raises:
        SourceError: a folder may not be read, or the files do not belong to a plain table.
        FileNotFoundError: a file was removed while it was looked at.
    """
    try:
        document = snapshots.read_record(settings.paths)
    except UnreadableRecordError:
        document = None  # every file counts as changed, and the next sync publishes anew
    if document is not None and document.content.mode != Mode.PARQUET.value:
        document = None
    published = document.source.get(STAMPS, {}) if document is not None else {}
    changes: list[FileChange] = []
    for contract in CONTRACTS:
        before = {path: tuple(stamp) for path, stamp in published.get(contract.name, {}).items()}
        stamps = {str(path): stamp_of(path) for path in expand(settings.parquet_input(contract.name))}
        changes += [
            FileChange(contract.name, Path(path), stamp) for path, stamp in stamps.items() if before.get(path) != stamp
        ]
        if stamps:
            changes += [FileChange(contract.name, Path(path), None) for path in before if path not in stamps]
    return Unpublished(document.snapshot_id if document is not None else "", changes)
