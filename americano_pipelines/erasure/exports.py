"""Find and remove the files that were handed out for a tenant or a protocol, where they were written.

A file holds the rows of several learners, so it goes as a whole; copies that were taken elsewhere stay.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from americano_pipelines.common import atomic_files
from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.common.temporary_folders import has_owner, sweep, temporary_folders
from americano_pipelines.erasure.store import ErasureAction, Item, Learner
from americano_pipelines.provenance.export_cards import ExportCard, HandedOutFile, mark_purged, read_cards
from americano_pipelines.settings import Settings

KIND = "export"


class Exports:
    """The files that were handed out, as a store of an erasure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, learner: Learner) -> list[Item]:
        """The files with rows of the learner, those that may have some, and records that cannot be read."""
        items: list[Item] = []
        for path, card in read_cards(self._settings.paths).items():
            if card is None:
                reason = f"{path} cannot be read, so it is not known whose rows were handed out: find and remove them"
                items.append(Item(KIND, path.stem, reason, ErasureAction.CANNOT_REMOVE, path=path))
            elif learner.protocols & {*card.protocols} or learner.pseudonyms & {*card.learners}:
                items += [_item(path, file) for file in card.files]
                items += _interrupted(card)
            elif learner.key_problem is not None and not learner.other_pseudonyms >= {*card.learners}:
                reason = f"{path} may be of files with the learner's rows: {learner.key_problem}"
                items.append(Item(KIND, path.stem, reason, ErasureAction.CANNOT_REMOVE, path=path))
        return items

    def remove(self, items: Sequence[Item]) -> list[Item]:
        """Remove files for good; their record loses what names a learner when none of them is left."""
        # By card, not by path: another export may have been written to the same path.
        files = Counter(item.card for item in items)
        for item in items:
            if item.path is not None and item.path.is_dir():
                sweep(item.path.parent)
            elif item.path is not None:
                atomic_files.remove_durably(item.path)
        for path, card in read_cards(self._settings.paths).items():
            if card is not None and 0 < files[path] == len(card.files):
                mark_purged(self._settings.paths, path, card)
        return []


def _item(card_path: Path, file: HandedOutFile) -> Item:
    path = Path(file.path)
    if _is_there(file):
        return Item(
            KIND, file.path, "holds the learner's rows", names_learner=True, bytes=file.bytes, path=path, card=card_path
        )
    reason = (
        f"a file with the learner's rows was written to {path}, and is not there as it was any more: remove every "
        f"copy, then {card_path}"
    )
    return Item(KIND, file.path, reason, ErasureAction.CANNOT_REMOVE, names_learner=True, path=card_path)


def _interrupted(card: ExportCard) -> list[Item]:
    """Copies that a killed export left beside its files, on another file system than the data folder's."""
    folders = {Path(file.path).parent for file in card.files}
    return [
        Item(KIND, str(left), "an interrupted export may have left rows there", path=left)
        for folder in sorted(folders)
        for left in temporary_folders(folder)
        if not has_owner(left)
    ]


def _is_there(file: HandedOutFile) -> bool:
    """Whether the file is where it was written, with the same bytes."""
    path = Path(file.path)
    return path.is_file() and file_sha256(path) == file.sha256
