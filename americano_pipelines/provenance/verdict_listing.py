"""Choose the analysis that answers for a protocol: the planned one, else the declared one, else the newest one.

`research.verdicts` chooses by the same rule from the rows of the app.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from americano_pipelines.analysis.preregistration import Standing
from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.provenance.archive import get, records_dir
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import IndexEntry, find_entries, newest_entries
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.published_protocols import PublishedProtocol

# Best first.
_CONFIRMATORY: tuple[Standing | None, ...] = ("planned", "declared")


@dataclass(frozen=True)
class KeyNumbers:
    """The key numbers of a randomization test, each None where it is undefined.

    Attributes:
        effect: the tested difference, treatment minus baseline, in units of the outcome.
        interval_low: lower end of its two-sided interval, None where it is unbounded.
        interval_high: upper end, likewise.
        p: p of the test.
    """

    effect: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class ListedVerdict:
    """What is known about a protocol.

    Attributes:
        protocol: the protocol; one that is not published any more has no name.
        entry: its analysis, None when it has no record.
        numbers: key numbers of that analysis.
        explorations: number of its exploratory analyses.
    """

    protocol: PublishedProtocol
    entry: IndexEntry | None
    numbers: KeyNumbers
    explorations: int

    @property
    def confirmatory(self) -> IndexEntry | None:
        """Its planned or declared analysis, None as long as there is none."""
        return self.entry if self.entry is not None and is_confirmatory(self.entry) else None


def list_verdicts(settings: Settings, published: Sequence[PublishedProtocol]) -> list[ListedVerdict]:
    """The verdict of each protocol, from the archive as it is now.

    Args:
        settings: whose archive.
        published: the published protocols; those that only records know come after them.
    """
    chosen: dict[str, IndexEntry] = {}
    explorations: Counter[str] = Counter()
    for entry in newest_entries(settings):
        if entry.protocol_id is not None and entry.readable:
            explorations[entry.protocol_id] += not is_confirmatory(entry)
            chosen[entry.protocol_id] = max([entry, chosen.get(entry.protocol_id, entry)], key=_rank)
    ids = {protocol.protocol_id for protocol in published}
    unpublished = [PublishedProtocol(protocol_id) for protocol_id in sorted(chosen.keys() - ids)]
    return [
        ListedVerdict(
            protocol,
            entry,
            _numbers_of_entry(settings, entry) if entry else KeyNumbers(),
            explorations[protocol.protocol_id],
        )
        for protocol in [*published, *unpublished]
        for entry in [chosen.get(protocol.protocol_id)]
    ]


def is_confirmatory(entry: IndexEntry) -> bool:
    """Whether an analysis was planned, or declared in the source."""
    return entry.standing in _CONFIRMATORY


def confirmatory_entry(settings: Settings, protocol_id: str) -> IndexEntry | None:
    """The planned or declared analysis of a protocol, None as long as there is none.

    A second one is planned only if the first died before it was wholly recorded, so of several the last one counts.
    """
    entries = find_entries(settings, "protocol_id", protocol_id)
    return max((entry for entry in entries if entry.readable and is_confirmatory(entry)), key=_rank, default=None)


def _rank(entry: IndexEntry) -> tuple[int, bool, str]:
    return (
        -_CONFIRMATORY.index(entry.standing) if is_confirmatory(entry) else -len(_CONFIRMATORY),
        entry.verdict is not None,
        entry.ended_at or "",
    )


def _numbers_of_entry(settings: Settings, entry: IndexEntry) -> KeyNumbers:
    try:
        return key_numbers(settings, entry.sha256)
    except (TamperedError, AnalysisError, OSError):  # it was changed since the index was read
        return KeyNumbers()


def key_numbers(settings: Settings, sha256: str) -> KeyNumbers:
    """The key numbers of a recorded analysis; all None for one that tests nothing.

    Raises:
        FileNotFoundError: there is no such record.
        TamperedError: it was changed.
    """
    metrics = Record.parse(get(records_dir(settings), sha256)).logged.metrics
    values = {name: points[-1][1] for name, points in metrics.items() if points}
    return KeyNumbers(*(values.get(name) for name in ("observed", "interval_low", "interval_high", "p")))
