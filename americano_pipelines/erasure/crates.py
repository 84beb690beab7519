"""Find and remove the crates that hold a learner's days, where they were written.

A copy that somebody took elsewhere cannot be reached; the card says that there is one.
"""

from collections.abc import Sequence
from pathlib import Path

from americano_pipelines.common import atomic_files
from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.erasure.extracts import KIND as EXTRACT
from americano_pipelines.erasure.store import ErasureAction, Item, Learner
from americano_pipelines.provenance.crate.crate_cards import CrateCard, read_cards
from americano_pipelines.settings import Settings

KIND = "crate"


class Crates:
    """The crates with days that were written, as a store of an erasure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, learner: Learner) -> list[Item]:
        """The crates of the learner's protocols and extracts, and cards that cannot be read."""
        extracts = {item.extract_sha256 for item in learner.items if item.kind == EXTRACT and item.names_learner}
        items = []
        for path, card in read_cards(self._settings.paths).items():
            if card is None:
                reason = f"{path} cannot be read, so its learner is unknown: check the crate, then remove both"
                items.append(Item(KIND, path.stem, reason, ErasureAction.CANNOT_REMOVE, path=path))
            elif card.protocol_id in learner.protocols or card.extract_sha256 in extracts:
                items.append(_item(path, card))
        return items

    def remove(self, items: Sequence[Item]) -> list[Item]:
        """Remove crates for good, and then their cards."""
        cards = {card.path: path for path, card in read_cards(self._settings.paths).items() if card is not None}
        for item in items:
            if item.path is None:
                continue
            atomic_files.remove_durably(item.path)
            if (card := cards.get(str(item.path))) is not None:
                card.unlink(missing_ok=True)
        return []


def _item(path: Path, card: CrateCard) -> Item:
    crate = Path(card.path)
    if crate.is_file() and file_sha256(crate) == card.sha256:
        return Item(
            KIND,
            str(crate),
            "holds the learner's days",
            names_learner=True,
            bytes=crate.stat().st_size,
            path=crate,
            protocol_id=card.protocol_id,
            extract_sha256=card.extract_sha256,
        )
    reason = (
        f"a crate with the learner's days was written to {crate}, and is not there any more: remove every copy, then "
        f"{path}"
    )
    return Item(KIND, str(crate), reason, ErasureAction.CANNOT_REMOVE, names_learner=True, path=path)
