"""Erasing a learner from the extracts, which are kept although snapshots expire.

Here belongs deciding which extracts go, and removing them; MLflow's copies are `copies.py`. Provenance records stay:
they hold results and no rows. A card in `extracts/purged/` says that an extract was purged, so that nobody takes it
for lost; it never names the learner.
"""

import hashlib
import json
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from americano_pipelines import durable
from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.archive import extracts_dir
from americano_pipelines.tracking.history import records
from americano_pipelines.warehouse.purge import PURGED

_HASH_DIGITS = 64


@dataclass(frozen=True)
class Said:
    """What an extract says of itself.

    Attributes:
        learners: pseudonyms of those whose events it holds, None when it does not say.
        protocol_id: the protocol, None when it is of none.
        intact: whether its bytes are those it was named by.
    """

    learners: frozenset[str] | None
    protocol_id: str | None
    intact: bool


@dataclass(frozen=True)
class CondemnedExtract:
    """An extract that has to go, or what a killed process left of one.

    Attributes:
        sha256: the hash that it is named by.
        path: the file, None when only an MLflow run has it.
        protocol_id: the learner's protocol; None when it is of none, or not surely theirs.
        holds: whether it surely holds the learner's events.
        reason: why it has to go, for people; never the learner's id.
        bytes: its size.
    """

    sha256: str
    path: Path | None
    protocol_id: str | None
    holds: bool
    reason: str
    bytes: int


def pseudonyms(settings: Settings, learner: str) -> frozenset[str]:
    """The pseudonyms of an id, as given and as DuckDB writes it: without padding, UUIDs and bytes in lower case."""
    spelled = {learner, learner.rstrip(" ")}
    if learner.startswith("\\x"):
        spelled.add(learner.lower())
    with suppress(ValueError):
        spelled.add(str(uuid.UUID(learner)))
    return frozenset(pseudonym(settings, one) for one in spelled)


def said(content: bytes, sha256: str) -> Said:
    """What an extract that was named by a hash says of itself."""
    intact = hashlib.sha256(content).hexdigest() == sha256
    try:
        found = json.loads(content)
    except ValueError:
        return Said(None, None, intact=False)
    protocol = found.get("protocol") if isinstance(found, dict) else None
    if isinstance(protocol, dict):
        return Said(frozenset({str(protocol.get("learner"))}), str(protocol.get("protocol_id")), intact)
    learners = found.get("learners") if isinstance(found, dict) else None
    return Said(frozenset(map(str, learners)) if isinstance(learners, list) else None, None, intact)


def condemned_extracts(settings: Settings, learner: str, clean: Collection[str]) -> list[CondemnedExtract]:
    """The kept extracts that hold a learner's events, or may.

    Args:
        settings: where they lie.
        learner: the learner's id, as the source writes it.
        clean: the snapshots that are there and show no row of the learner: what was read from them is not theirs.
    """
    paths = [path for path in sorted(extracts_dir(settings).glob("*")) if path.is_file()]
    if not paths:
        return []
    theirs = pseudonyms(settings, learner)
    read_from: dict[str, set[str]] = {}
    for _, record in records(settings):
        read_from.setdefault(record.extract_sha256, set()).update(one.snapshot_id for one in record.inputs)
    found = []
    for path in paths:
        # What was being written when its process was killed has a dot before its name.
        sha256, content = path.name.lstrip(".")[:_HASH_DIGITS], path.read_bytes()
        it = said(content, sha256)
        holds = it.learners is not None and not theirs.isdisjoint(it.learners)
        snapshots = read_from.get(sha256, set())
        if holds:
            reason = "holds the learner's events"
        elif not it.intact:
            reason = "is damaged, so what it holds is not known"
        elif it.learners is None and not (snapshots and snapshots.issubset(clean)):
            reason = "does not say whose events it holds, and not every snapshot it was read from is known to be clean"
        else:
            continue
        protocol_id = it.protocol_id if holds else None
        found.append(CondemnedExtract(sha256, path, protocol_id, holds, reason, len(content)))
    return found


def remove_extract(settings: Settings, one: CondemnedExtract) -> None:
    """Remove a condemned extract for good, its card first. The caller holds the writer lock.

    Of an extract that only an MLflow run has, there is nothing to remove here but to write the card.
    """
    left_behind = one.path is not None and one.path.name.startswith(".")
    if one.holds or not left_behind:
        folder = extracts_dir(settings) / PURGED
        folder.mkdir(parents=True, exist_ok=True)
        card = {
            "extract_sha256": one.sha256,
            "protocol_id": one.protocol_id,
            "reason": one.reason,
            "purged_at": datetime.now(UTC).isoformat(),
        }
        durable.write_text(folder / f"{one.sha256}.json", json.dumps(card, indent=1))
    if one.path is not None:
        one.path.unlink(missing_ok=True)
        durable.sync_folder(one.path.parent)


def purged_extracts(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """The hash of every extract that was purged, and the protocol that it surely was of."""
    for path in sorted((extracts_dir(settings) / PURGED).glob("[!.]*.json")):
        try:
            yield path.stem, json.loads(path.read_bytes()).get("protocol_id")
        except ValueError:
            yield path.stem, None
