"""Remember which crates with days were written, so that a purge finds them."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.provenance.crate.contents import CrateContents
from americano_pipelines.settings import DataFolder


class CrateCard(FrozenModel):
    """The card of a crate with days.

    Attributes:
        path: where it was written, absolute.
        sha256: hash of the file.
        record_sha256: of which record.
        extract_sha256: of which extract.
        protocol_id: of which protocol.
        written_at: when.
    """

    path: str
    sha256: str
    record_sha256: str
    extract_sha256: str
    protocol_id: str | None
    written_at: AwareDatetime


def write_card(paths: DataFolder, contents: CrateContents, target: Path, sha256: str) -> None:
    """Note a crate with days; the card of one that it replaced goes."""
    for path, card in read_cards(paths).items():
        if card is not None and card.path == str(target.absolute()):
            path.unlink(missing_ok=True)
    folder = paths.crate_cards
    folder.mkdir(parents=True, exist_ok=True)
    card = CrateCard(
        path=str(target.absolute()),
        sha256=sha256,
        record_sha256=contents.sha256,
        extract_sha256=contents.record.extract_sha256,
        protocol_id=contents.record.identity.protocol_id,
        written_at=datetime.now(UTC),
    )
    atomic_files.write_text(folder / f"{sha256}.json", card.model_dump_json(indent=1))


def read_cards(paths: DataFolder) -> dict[Path, CrateCard | None]:
    """Path of each card to its content; None where it cannot be read."""
    cards: dict[Path, CrateCard | None] = {}
    for path in sorted(paths.crate_cards.glob("[!.]*.json")):
        try:
            cards[path] = CrateCard.model_validate_json(path.read_bytes())
        except ValidationError:
            cards[path] = None
    return cards
