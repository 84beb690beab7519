"""Define the item that an erasure finds, and the protocol of the stores that it looks into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class ErasureAction(StrEnum):
    """What an erasure does about an item.

    REMOVE: it is removed. IN_SOURCE: it follows the source, which has the learner; nothing is removed while there is
    such an item. KEEP: it is not removed, on purpose. CANNOT_REMOVE: it may be the learner's and cannot be removed, so
    the erasure is not complete.
    """

    REMOVE = "goes"
    IN_SOURCE = "in source"
    KEEP = "stays"
    CANNOT_REMOVE = "unreached"


@dataclass(frozen=True)
class Item:
    """One thing that holds, or may hold, something of a learner.

    Attributes:
        kind: what it is, for people: `snapshot`, `extract`, `MLflow run`, `Dagster run` ...
        name: distinguishes it within its kind; of an item IN_SOURCE `<table>.<column>`.
        reason: why it is an item, for people; never the learner's id.
        action: what an erasure does about it.
        names_learner: whether it is confirmed to hold something of the learner, which shows that the id is a learner's.
        bytes: its size, None where that is not known.
        rows: rows that name the learner, of an item IN_SOURCE.
        path: its file or folder, None when it has none.
        protocol_id: the learner's protocol that it is of, None when it is of none, or not confirmed to be theirs.
        extract_sha256: hash of the extract that it is, or that it shows.
        files: paths of an MLflow run's files that show the extract.
        card: the record of the export that wrote it.
    """

    kind: str
    name: str
    reason: str
    action: ErasureAction = ErasureAction.REMOVE
    names_learner: bool = False
    bytes: int | None = None
    rows: int | None = None
    path: Path | None = None
    protocol_id: str | None = None
    extract_sha256: str | None = None
    files: tuple[str, ...] = ()
    card: Path | None = None


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
class Learner:
    """The learner that is erased, by everything that the stores call them.

    Attributes:
        id: as the source writes it.
        owners: protocol to the ids of those who own it, in any snapshot or the lake.
        pseudonyms: theirs, under any key.
        protocols: theirs.
        other_protocols: those of other learners only.
        other_pseudonyms: those of other learners, under any key.
        key_problem: why extracts cannot be attributed by the present key, None when they can.
        items: what the stores before this one hold about them.
    """

    id: str
    owners: Mapping[str, set[str]]
    pseudonyms: frozenset[str]
    protocols: frozenset[str] = frozenset()
    other_protocols: frozenset[str] = frozenset()
    other_pseudonyms: frozenset[str] = frozenset()
    key_problem: str | None = None
    items: tuple[Item, ...] = ()

    def owns(self, extract: ExtractSummary) -> bool:
        """Whether an extract is confirmed to hold their events."""
        if extract.learners is None:
            return False
        if not self.pseudonyms.isdisjoint(extract.learners):
            return True
        return extract.protocol_id in self.protocols and self.other_pseudonyms.isdisjoint(extract.learners)

    def is_not_of(self, extract: ExtractSummary) -> bool:
        """Whether an extract is confirmed to hold none of their events."""
        if extract.learners is None or not extract.intact or self.owns(extract):
            return False
        return (
            self.key_problem is None
            or extract.protocol_id in self.other_protocols
            or extract.learners <= self.other_pseudonyms
        )


class Store(Protocol):
    """A place where something of a learner is kept."""

    def find(self, learner: Learner) -> list[Item]:
        """What the store holds about a learner; nothing is changed.

        Raises:
            ResourceError: it cannot be looked into for want of memory or disk.
        """

    def remove(self, items: Sequence[Item]) -> list[Item]:
        """Remove items of this store that `find` gave. The caller holds the writer lock.

        It is called without items too: then it finishes what an earlier erasure was interrupted at.

        Returns:
            What could not be removed, CANNOT_REMOVE and with the reason.
        """
