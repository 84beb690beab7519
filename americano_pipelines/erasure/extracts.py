"""Find and remove the extracts that hold a learner."""

# They are kept although snapshots expire.
#
# An extract has a pseudonym and a protocol; snapshots and records say whose these are, also when the key was lost.
# Provenance records stay: they hold results and no rows. A card in `extracts/purged/` says that an extract was purged,
# so that it does not count as lost; the card never names the learner.

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from americano_pipelines.common import atomic_files
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.erasure.snapshot_files import snapshots_without
from americano_pipelines.erasure.store import ErasureAction, ExtractSummary, Item, Learner
from americano_pipelines.provenance.archive import records
from americano_pipelines.provenance.purge_cards import PurgedExtract
from americano_pipelines.settings import DataFolder, Settings

KIND = "extract"
_HASH_DIGITS = 64
# Earlier releases wrote unfinished extracts with a leading dot. Files of other names belong to other programs.
_NAMES = re.compile(r"\.?[0-9a-f]{64}\b.*")


class Extracts:
    """The archive's extracts, as a store of an erasure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, learner: Learner) -> list[Item]:
        """The extracts that hold the learner's events or may, and cards of earlier erasures that cannot be read."""
        clean = snapshots_without(self._settings.paths, learner.items)
        read_from: dict[str, set[str]] = {}
        for _, record in records(self._settings.paths):
            read_from.setdefault(record.extract_sha256, set()).update(source.snapshot_id for source in record.inputs)
        items = []
        for sha256, path, content in kept_extracts(self._settings.paths):
            snapshot_ids = read_from.get(sha256, set())
            is_clean = bool(snapshot_ids) and snapshot_ids <= clean
            item = _item_of_extract(learner, sha256, path, content, is_clean=is_clean)
            if item is not None:
                items.append(item)
        return items + _unreadable_cards(self._settings.paths)

    def remove(self, items: Sequence[Item]) -> list[Item]:
        """Remove extracts for good, each after its card was written."""
        for item in items:
            if item.path is None:
                continue
            # What an earlier release did not finish writing was no extract yet.
            if item.names_learner or not item.path.name.startswith("."):
                write_card(self._settings.paths, item)
            atomic_files.remove_durably(item.path)
        return []


def write_card(paths: DataFolder, item: Item) -> None:
    """Write that the extract of an item was purged; `americano verify` and later erasures read it."""
    card = PurgedExtract(
        extract_sha256=str(item.extract_sha256),
        protocol_id=item.protocol_id,
        reason=item.reason,
        purged_at=datetime.now(UTC),
    )
    card.write(paths.purged_extracts / f"{card.extract_sha256}.json")


def purged_extracts(paths: DataFolder) -> dict[str, str | None]:
    """The hash of every extract that was purged, and the protocol that it is confirmed to be of."""
    return {path.stem: _card_protocol(path) for path in _cards(paths)}


def kept_extracts(paths: DataFolder) -> Iterator[tuple[str, Path, bytes]]:
    """Hash, path and bytes of every extract, finished or not."""
    for path in sorted(paths.extracts.glob("*")):
        if path.is_file() and _NAMES.fullmatch(path.name):
            yield path.name.lstrip(".")[:_HASH_DIGITS], path, path.read_bytes()


def summarize_extract(content: bytes, sha256: str) -> ExtractSummary:
    """What an extract that was named by a hash says of itself."""
    intact = sha256_hex(content) == sha256
    try:
        document = json.loads(content)
    except ValueError:
        return ExtractSummary(None, None, intact=False)
    protocol = document.get("protocol") if isinstance(document, dict) else None
    if isinstance(protocol, dict):
        return ExtractSummary(frozenset({str(protocol.get("learner"))}), str(protocol.get("protocol_id")), intact)
    learners = document.get("learners") if isinstance(document, dict) else None
    return ExtractSummary(frozenset(map(str, learners)) if isinstance(learners, list) else None, None, intact)


def _item_of_extract(learner: Learner, sha256: str, path: Path, content: bytes, *, is_clean: bool) -> Item | None:
    """The item of an extract, None where it is confirmed not to be the learner's.

    Args:
        learner: the learner.
        sha256: the hash that it is named by.
        path: its file.
        content: its bytes.
        is_clean: whether every snapshot it was read from is there and shows no row of the learner.
    """
    extract = summarize_extract(content, sha256)
    holds = learner.owns(extract)
    action = ErasureAction.REMOVE
    # Pseudonyms made with another key do not match any learner here.
    unnamed = extract.learners is None or (learner.key_problem is not None and extract.protocol_id is None)
    if holds:
        reason = "holds the learner's events"
    elif not extract.intact:
        reason = "is damaged, so what it holds is not known"
    elif unnamed and not is_clean:
        reason = "does not say whose events it holds, and not every snapshot it was read from is known to be clean"
    elif extract.protocol_id is not None and not learner.is_not_of(extract):
        action = ErasureAction.CANNOT_REMOVE
        reason = (
            f"extract {sha256[:12]} may hold the learner's events: no kept snapshot has its protocol "
            f"{extract.protocol_id}, and its pseudonym is of another key. {learner.key_problem}. Purge once more with "
            "the key that made it"
        )
    else:
        return None
    protocol_id = extract.protocol_id if holds else None
    if holds and protocol_id is not None:
        reason = f"{reason} (protocol {protocol_id})"
    return Item(
        kind=KIND,
        name=sha256,
        reason=reason,
        action=action,
        names_learner=holds,
        bytes=len(content),
        path=path,
        protocol_id=protocol_id,
        extract_sha256=sha256,
    )


def _cards(paths: DataFolder) -> list[Path]:
    return sorted(paths.purged_extracts.glob("[!.]*.json"))


def _card_protocol(path: Path) -> str | None:
    """The protocol on a card; None where it has none or cannot be read."""
    try:
        card = json.loads(path.read_bytes())
    except ValueError:
        return None
    protocol_id = card.get("protocol_id") if isinstance(card, dict) else None
    return protocol_id if isinstance(protocol_id, str) else None


def _unreadable_cards(paths: DataFolder) -> list[Item]:
    items = []
    for path in _cards(paths):
        try:
            card = json.loads(path.read_bytes())
        except ValueError:
            card = None
        if not (isinstance(card, dict) and card.get("extract_sha256") == path.stem and "protocol_id" in card):
            reason = (
                f"{path} is no card of a purged extract, so its protocol is not known, and Dagster runs of it may be "
                "left: put it back from a backup, or remove it"
            )
            items.append(Item("card", path.stem, reason, ErasureAction.CANNOT_REMOVE, path=path))
    return items
