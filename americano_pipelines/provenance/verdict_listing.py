"""Choose the analysis that answers for a protocol: the planned one; before there is one, the newest exploratory one.

`research.verdicts` chooses by the same rule from the rows of the app.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from americano_pipelines.provenance.archive import get, records_dir
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import IndexEntry, newest_entries
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.published_protocols import PublishedProtocol


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
    """

    protocol: PublishedProtocol
    entry: IndexEntry | None
    numbers: KeyNumbers


def list_verdicts(settings: Settings, published: Sequence[PublishedProtocol]) -> list[ListedVerdict]:
    """The verdict of each protocol, from the archive as it is now.

    Args:
        settings: whose archive.
        published: the published protocols; those that only records know come after them.

    Raises:
        TamperedError: a record was changed while it was read.
    """
    chosen: dict[str, IndexEntry] = {}
    for entry in newest_entries(settings):
        if entry.protocol_id is not None:
            others = [chosen[entry.protocol_id]] if entry.protocol_id in chosen else []
            chosen[entry.protocol_id] = max([entry, *others], key=_rank)
    ids = {protocol.protocol_id for protocol in published}
    unpublished = [PublishedProtocol(protocol_id) for protocol_id in sorted(chosen.keys() - ids)]
    return [
        ListedVerdict(protocol, entry, key_numbers(settings, entry.sha256) if entry else KeyNumbers())
        for protocol in [*published, *unpublished]
        for entry in [chosen.get(protocol.protocol_id)]
    ]


def _rank(entry: IndexEntry) -> tuple[bool, bool, str]:
    return bool(entry.planned), entry.verdict is not None, entry.ended_at or ""


def key_numbers(settings: Settings, sha256: str) -> KeyNumbers:
    """The key numbers of a recorded analysis; all None for one that tests nothing.

    Raises:
        FileNotFoundError: there is no such record.
        TamperedError: it was changed.
    """
    metrics = Record.parse(get(records_dir(settings), sha256)).logged.metrics
    values = {name: points[-1][1] for name, points in metrics.items() if points}
    return KeyNumbers(*(values.get(name) for name in ("observed", "interval_low", "interval_high", "p")))
