"""Choose the analysis that answers for a protocol: the planned one, else the declared one, else the newest one.

`research.verdicts` chooses by the same rule from the rows of the app.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from americano_pipelines.analysis.group_extract import group_title
from americano_pipelines.analysis.plan_compliance import Standing
from americano_pipelines.provenance.record_index import IndexEntry, KeyNumbers, find_entries, newest_entries
from americano_pipelines.settings import DataFolder
from americano_pipelines.warehouse.published_protocols import PublishedProtocol

# Best first.
_CONFIRMATORY: tuple[Standing | None, ...] = ("planned", "declared")


@dataclass(frozen=True)
class ListedVerdict:
    """What is known about a protocol.

    Attributes:
        protocol: the protocol; one that is not published any more has no name.
        entry: its analysis, None when it has no record.
        explorations: number of its exploratory analyses.
    """

    protocol: PublishedProtocol
    entry: IndexEntry | None
    explorations: int

    @property
    def numbers(self) -> KeyNumbers:
        """Key numbers of its analysis, all None without one."""
        return KeyNumbers() if self.entry is None else self.entry.numbers

    @property
    def confirmatory(self) -> IndexEntry | None:
        """Its planned or declared analysis, None as long as there is none."""
        return self.entry if self.entry is not None and is_confirmatory(self.entry) else None


def list_verdicts(paths: DataFolder, published: Sequence[PublishedProtocol]) -> list[ListedVerdict]:
    """The verdict of each protocol, from the archive as it is now.

    Args:
        paths: whose archive.
        published: the published protocols; those that only records know, and groups, come after them.
    """
    chosen: dict[str, IndexEntry] = {}
    explorations: Counter[str] = Counter()
    for entry in newest_entries(paths):
        subject = entry.protocol_id if entry.group_key is None else group_title(entry.group_key)
        if subject is not None:
            explorations[subject] += not is_confirmatory(entry)
            chosen[subject] = max([entry, chosen.get(subject, entry)], key=_rank)
    ids = {protocol.protocol_id for protocol in published}
    unpublished = [PublishedProtocol(protocol_id) for protocol_id in sorted(chosen.keys() - ids)]
    return [
        ListedVerdict(protocol, chosen.get(protocol.protocol_id), explorations[protocol.protocol_id])
        for protocol in [*published, *unpublished]
    ]


def is_confirmatory(entry: IndexEntry) -> bool:
    """Whether an analysis was planned, or declared in the source."""
    return entry.standing in _CONFIRMATORY


def confirmatory_entry(paths: DataFolder, column: Literal["protocol_id", "group_key"], name: str) -> IndexEntry | None:
    """The planned or declared analysis of a protocol or a group, None as long as there is none.

    A second one is planned only if the first died before it was wholly recorded, so of several the last one counts.
    """
    entries = find_entries(paths, column, name)
    return max((entry for entry in entries if entry.readable and is_confirmatory(entry)), key=_rank, default=None)


def _rank(entry: IndexEntry) -> tuple[int, bool, str]:
    return (
        -_CONFIRMATORY.index(entry.standing) if is_confirmatory(entry) else -len(_CONFIRMATORY),
        entry.verdict is not None,
        entry.ended_at or "",
    )
