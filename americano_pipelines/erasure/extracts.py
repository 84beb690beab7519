"""Find and remove the extracts that hold a learner. They are kept although snapshots expire.

Provenance records stay: they hold results and no rows. A card in `extracts/purged/` says that an extract was
purged, so that it does not count as lost; the card never names the learner.

Deciding which extracts go, and removing them; MLflow's copies are `mlflow_runs.py`. An extract says whose it is by
a pseudonym, and of which protocol it is; snapshots say whose that protocol is, also when the pseudonyms' key was
lost. Provenance records stay: they hold results and no rows. A card in `extracts/purged/` says that an extract was
purged, so that nobody takes it for lost; it never names the learner.
"""

import hashlib
import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from americano_pipelines.analysis.pseudonym import existing_key, pseudonym_under
from americano_pipelines.common import atomic_files
from americano_pipelines.errors import PseudonymKeyError
from americano_pipelines.provenance.archive import extracts_dir, records
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.snapshots import PURGED

_HASH_DIGITS = 64


@dataclass(frozen=True)
class ExtractSummary:
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
class ExtractToErase:
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


@dataclass(frozen=True)
class Erased:
    """Whom a purge is for, by all that extracts say of people.

    Attributes:
        pseudonyms: theirs; none when there is no key that could make them.
        protocols: theirs, as snapshots say.
        other_protocols: those of which snapshots know only other owners.
        other_owners: pseudonyms of others who own a protocol of theirs in some snapshot.
        key_problem: why extracts cannot be told by pseudonym, None when they can.
    """

    pseudonyms: frozenset[str]
    protocols: frozenset[str] = frozenset()
    other_protocols: frozenset[str] = frozenset()
    other_owners: frozenset[str] = frozenset()
    key_problem: str | None = None

    def owns(self, extract: ExtractSummary) -> bool:
        """Whether an extract surely holds their events."""
        if extract.learners is None:
            return False
        if not self.pseudonyms.isdisjoint(extract.learners):
            return True
        return extract.protocol_id in self.protocols and self.other_owners.isdisjoint(extract.learners)

    def is_not_of(self, extract: ExtractSummary) -> bool:
        """Whether an extract surely holds none of their events."""
        if extract.learners is None or not extract.intact or self.owns(extract):
            return False
        return self.key_problem is None or extract.protocol_id in self.other_protocols


def whom(settings: Settings, learner: str, owners: Mapping[str, Collection[str]]) -> Erased:
    """Whom a purge is for.

    Args:
        settings: the data folder, whose key made the pseudonyms.
        learner: the learner's id, as the source writes it.
        owners: protocol to the ids of those who own it, in any snapshot.
    """
    spelled = _spelled(learner)
    protocols = {protocol_id for protocol_id, ids in owners.items() if not spelled.isdisjoint(ids)}
    key, problem = None, None
    try:
        key = existing_key(settings)
    except PseudonymKeyError as error:
        problem = str(error)
    if key is not None and problem is None:
        problem = _other_key(settings, key, owners)
    others = {one for protocol_id in protocols for one in owners[protocol_id]} - spelled
    return Erased(
        pseudonyms=frozenset(pseudonym_under(key, one) for one in spelled) if key else frozenset(),
        protocols=frozenset(protocols),
        other_protocols=frozenset(owners.keys() - protocols),
        other_owners=frozenset(pseudonym_under(key, one) for one in others) if key else frozenset(),
        key_problem=problem,
    )


def _other_key(settings: Settings, key: bytes, owners: Mapping[str, Collection[str]]) -> str | None:
    """Why the key cannot be the one of all extracts: one of a known owner's protocol has another pseudonym."""
    for sha256, _, content in _kept(settings):
        extract = summarize_extract(content, sha256)
        ids = owners.get(extract.protocol_id or "", ())
        known = {pseudonym_under(key, one) for owner in ids for one in _spelled(owner)}
        if extract.intact and known and extract.learners is not None and known.isdisjoint(extract.learners):
            return (
                f"extract {sha256[:12]} of protocol {extract.protocol_id} was not made with the present pseudonym.key: "
                "restore the key that made it from a backup"
            )
    return None


def pseudonyms(settings: Settings, learner: str) -> frozenset[str]:
    """The pseudonyms of an id, as given and as DuckDB writes it; none without a key.

    Raises:
        PseudonymKeyError: the key cannot be the one that made them.
    """
    key = existing_key(settings)
    return frozenset(pseudonym_under(key, spelling) for spelling in _spelled(learner)) if key else frozenset()


def _spelled(learner: str) -> set[str]:
    """An id as given and as DuckDB writes it: without padding, UUIDs and bytes in lower case."""
    spelled = {learner, learner.rstrip(" ")}
    if learner.startswith("\\x"):
        spelled.add(learner.lower())
    with suppress(ValueError):
        spelled.add(str(uuid.UUID(learner)))
    return spelled


def summarize_extract(content: bytes, sha256: str) -> ExtractSummary:
    """What an extract that was named by a hash says of itself."""
    intact = hashlib.sha256(content).hexdigest() == sha256
    try:
        document = json.loads(content)
    except ValueError:
        return ExtractSummary(None, None, intact=False)
    protocol = document.get("protocol") if isinstance(document, dict) else None
    if isinstance(protocol, dict):
        return ExtractSummary(frozenset({str(protocol.get("learner"))}), str(protocol.get("protocol_id")), intact)
    learners = document.get("learners") if isinstance(document, dict) else None
    return ExtractSummary(frozenset(map(str, learners)) if isinstance(learners, list) else None, None, intact)


def find_extracts(settings: Settings, erased: Erased, clean: Collection[str]) -> list[ExtractToErase]:
    """The kept extracts that hold a learner's events, or may.

    Args:
        settings: where they lie.
        erased: the learner.
        clean: the snapshots that are there and show no row of the learner: what was read from them is not theirs.
    """
    read_from: dict[str, set[str]] = {}
    for _, record in records(settings):
        read_from.setdefault(record.extract_sha256, set()).update(source.snapshot_id for source in record.inputs)
    to_erase = []
    for sha256, path, content in _kept(settings):
        it = summarize_extract(content, sha256)
        holds = erased.owns(it)
        # A list of learners under another key says as little as none.
        unnamed = it.learners is None or (erased.key_problem is not None and it.protocol_id is None)
        snapshots = read_from.get(sha256, set())
        if holds:
            reason = "holds the learner's events"
        elif not it.intact:
            reason = "is damaged, so what it holds is not known"
        elif unnamed and not (snapshots and snapshots.issubset(clean)):
            reason = "does not say whose events it holds, and not every snapshot it was read from is known to be clean"
        else:
            continue
        protocol_id = it.protocol_id if holds else None
        to_erase.append(ExtractToErase(sha256, path, protocol_id, holds, reason, len(content)))
    return to_erase


def unjudged_extracts(settings: Settings, erased: Erased, clean: Collection[str]) -> list[str]:
    """Hashes of the extracts that stay although neither pseudonym nor protocol can tell whose they are.

    Args:
        settings: where they lie.
        erased: the learner.
        clean: as for `find_extracts`.
    """
    if erased.key_problem is None:
        return []
    going = {one.path for one in find_extracts(settings, erased, clean)}
    kept = [(sha256, path, summarize_extract(content, sha256)) for sha256, path, content in _kept(settings)]
    return [
        sha256
        for sha256, path, extract in kept
        if path not in going and extract.protocol_id is not None and not erased.is_not_of(extract)
    ]


def _kept(settings: Settings) -> Iterator[tuple[str, Path, bytes]]:
    """Hash, path and bytes of every extract; what a killed process was writing has a dot before its name."""
    for path in sorted(extracts_dir(settings).glob("*")):
        if path.is_file():
            yield path.name.lstrip(".")[:_HASH_DIGITS], path, path.read_bytes()


def remove_extract(settings: Settings, extract: ExtractToErase) -> None:
    """Remove a condemned extract for good, its card first. The caller holds the writer lock.

    Of an extract that only an MLflow run has, there is nothing to remove here but to write the card.
    """
    left_behind = extract.path is not None and extract.path.name.startswith(".")
    if extract.holds or not left_behind:
        folder = extracts_dir(settings) / PURGED
        folder.mkdir(parents=True, exist_ok=True)
        card = {
            "extract_sha256": extract.sha256,
            "protocol_id": extract.protocol_id,
            "reason": extract.reason,
            "purged_at": datetime.now(UTC).isoformat(),
        }
        atomic_files.write_text(folder / f"{extract.sha256}.json", json.dumps(card, indent=1))
    if extract.path is not None:
        extract.path.unlink(missing_ok=True)
        atomic_files.sync_folder(extract.path.parent)


def purged_extracts(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """The hash of every extract that was purged, and the protocol that it surely was of."""
    for path in sorted((extracts_dir(settings) / PURGED).glob("[!.]*.json")):
        try:
            yield path.stem, json.loads(path.read_bytes()).get("protocol_id")
        except ValueError:
            yield path.stem, None
