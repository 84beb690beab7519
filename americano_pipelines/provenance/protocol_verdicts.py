"""Read from the archive which verdict each protocol has: that of its planned analysis, if it was carried out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.provenance.archive import get, records_dir
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import IndexEntry, find_entries, newest_entries
from americano_pipelines.settings import Settings


@dataclass(frozen=True)
class PlannedResult:
    """The result of the planned analysis of a protocol.

    Attributes:
        entry: what the index holds of its record.
        effect: difference between treatment and baseline, in units of the outcome; None without a test.
        interval: limits of the effect's interval, None where it has none.
        p: p of the test, None without a test.
    """

    entry: IndexEntry
    effect: float | None
    interval: tuple[float | None, float | None]
    p: float | None


@dataclass(frozen=True)
class ProtocolVerdict:
    """What is known of a protocol.

    Attributes:
        protocol_id: the protocol.
        planned: the result of its planned analysis, None as long as there is none.
        explorations: number of its other analyses.
    """

    protocol_id: str
    planned: PlannedResult | None
    explorations: int

    @property
    def status(self) -> str:
        """`analysed as planned`, `only explored` or `not analysed`."""
        if self.planned is not None:
            return "analysed as planned"
        return "only explored" if self.explorations else "not analysed"


def planned_entry(settings: Settings, protocol_id: str) -> IndexEntry | None:
    """The entry of a protocol's planned analysis; None as long as there is none."""
    return _planned(find_entries(settings, "protocol_id", protocol_id)).get(protocol_id)


def protocol_verdicts(settings: Settings, protocol_ids: Iterable[str]) -> list[ProtocolVerdict]:
    """What is known of each of some protocols, in their order; only records of planned analyses are opened."""
    entries = newest_entries(settings)
    planned, numbers = _planned(entries), Counter(entry.protocol_id for entry in entries)
    return [
        ProtocolVerdict(
            protocol_id,
            _read(settings, planned[protocol_id]) if protocol_id in planned else None,
            numbers[protocol_id] - (protocol_id in planned),
        )
        for protocol_id in protocol_ids
    ]


def _planned(entries: Iterable[IndexEntry]) -> dict[str, IndexEntry]:
    """Protocol to the entry of its planned analysis.

    A second one is only planned if the first died before it was wholly recorded, so of several the last one counts.
    """
    planned = [entry for entry in entries if entry.readable and entry.planned]
    return {str(entry.protocol_id): entry for entry in sorted(planned, key=_end)}


def _end(entry: IndexEntry) -> str:
    return entry.ended_at or ""


def _read(settings: Settings, entry: IndexEntry) -> PlannedResult:
    try:
        record = Record.parse(get(records_dir(settings), entry.sha256))
    except (TamperedError, AnalysisError, OSError):  # it was changed since the index was read
        return PlannedResult(entry, None, (None, None), None)
    last = {name: points[-1][1] for name, points in record.logged.metrics.items() if points}
    limits = last.get("interval_low"), last.get("interval_high")
    return PlannedResult(entry, last.get("observed"), limits, last.get("p"))
