"""Chain the cards of snapshots that expire: each names the card before, and new records name the last card.

A card names the hash of each finding that was kept of its snapshot; retention removes no snapshot without a card.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pydantic import AwareDatetime, Field, ValidationError

from americano_pipelines.common import atomic_files
from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.provenance.record import ExpiryHead
from americano_pipelines.settings import DataFolder


class ExpiryCard(FrozenModel):
    """What was kept when a snapshot was about to expire.

    Attributes:
        number: place in the chain, from 1 on.
        previous: hash of the card before, None for the first.
        snapshot_id: the snapshot; one that stayed after all may have further cards.
        checked_at: when, UTC.
        findings: hash of a record to the hash of the finding that was kept of its extract.
        earlier: of the first card, the same of all findings from before there were cards; else empty.
    """

    number: int = Field(ge=1)
    previous: str | None
    snapshot_id: str
    checked_at: AwareDatetime
    findings: dict[str, str]
    earlier: dict[str, str]


@dataclass(frozen=True)
class ExpiryChain:
    """All cards of an archive.

    Attributes:
        cards: number to the card and the hash of its file.
    """

    cards: Mapping[int, tuple[ExpiryCard, str]]

    @property
    def end(self) -> ExpiryHead | None:
        """The last card, None without any."""
        if not self.cards:
            return None
        last = max(self.cards)
        return ExpiryHead(number=last, sha256=self.cards[last][1])

    @cached_property
    def findings(self) -> dict[str, tuple[int, str]]:
        """Hash of a record to the number of the card that names its finding, and the hash of the finding."""
        return {
            record: (number, sha256)
            for number, (card, _) in sorted(self.cards.items(), reverse=True)
            for record, sha256 in {**card.earlier, **card.findings}.items()
        }

    def last_of(self, snapshot_id: str) -> ExpiryCard | None:
        """The last card of a snapshot, None without one."""
        cards = [card for _, (card, _) in sorted(self.cards.items()) if card.snapshot_id == snapshot_id]
        return cards[-1] if cards else None

    def gap(self, end: ExpiryHead | None, start: int = 1) -> str:
        """What is gone or was changed between a card and the one that a record names, in words; else nothing.

        Args:
            end: the card that a record names, None where none does.
            start: number of the first card that matters.
        """
        last = max([*self.cards, end.number if end is not None else 0])
        named = {end.number: end.sha256} if end is not None else {}
        for number in range(last, start - 1, -1):
            if number not in self.cards:
                return f"card {number} of the snapshots that expired is gone or was changed"
            card, sha256 = self.cards[number]
            previous = card.previous or ""
            if named.get(number, sha256) != sha256 or named.setdefault(number - 1, previous) != previous:
                return f"card {number} of the snapshots that expired was changed"
        return ""


def read_expiry(paths: DataFolder) -> ExpiryChain:
    """Read the cards; one that cannot be read counts as gone."""
    cards: dict[int, tuple[ExpiryCard, str]] = {}
    for path in _files(paths):
        with suppress(OSError):
            cards |= _read(path)
    return ExpiryChain(cards)


def _files(paths: DataFolder) -> Iterator[Path]:
    return paths.expired_snapshots.glob("[!.]*.json")


def _read(path: Path) -> dict[int, tuple[ExpiryCard, str]]:
    """A card by its number, with the hash of its file; nothing where it is none."""
    try:
        content = path.read_bytes()
        card = ExpiryCard.model_validate_json(content)
    except (FileNotFoundError, ValidationError):
        return {}
    return {card.number: (card, sha256_hex(content))} if path.name == f"{card.number}.json" else {}


def add_card(paths: DataFolder, snapshot_id: str, findings: Mapping[str, str]) -> None:
    """Add a card to the chain.

    Args:
        paths: whose archive.
        snapshot_id: the snapshot that expires.
        findings: hash of a record to the hash of its finding.

    Raises:
        OSError: a card cannot be read at the moment, so its hash cannot be named, or none can be written.
    """
    folder = paths.expired_snapshots
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        cards: dict[int, tuple[ExpiryCard, str]] = {}
        for path in _files(paths):
            cards |= _read(path)
        end = ExpiryChain(cards).end
        # A card that was changed keeps its number, and shows as a gap.
        numbers = [int(path.stem) for path in _files(paths) if path.stem.isdecimal()]
        card = ExpiryCard(
            number=max(numbers, default=0) + 1,
            previous=None if end is None else end.sha256,
            snapshot_id=snapshot_id,
            checked_at=datetime.now(UTC),
            findings=dict(findings),
            earlier=_findings_without_card(paths, findings) if end is None else {},
        )
        # Another process may have taken the number.
        if atomic_files.create_text(folder / f"{card.number}.json", card.model_dump_json(indent=1)):
            return


def _findings_without_card(paths: DataFolder, findings: Mapping[str, str]) -> dict[str, str]:
    """The findings from before there were cards."""
    files = paths.extract_checks.glob("[!.]*.json")
    return {path.stem: sha256_hex(path.read_bytes()) for path in files if path.stem not in findings}
