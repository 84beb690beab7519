"""List recorded analyses as rows of the table of analyses: the published file has those of the app's rows only."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from americano_pipelines.analysis.app_types import REQUESTABLE, requested
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.provenance.record_index import IndexEntry, newest_entries
from americano_pipelines.settings import Settings

# Each is a text of all records, and a page token names one of as many as there are records.
_KEPT_LISTS = 8
BEFORE_SNAPSHOT = -1
"""In place of a number: the records from before the snapshot was built."""


def type_in_tables(analysis: str) -> str:
    """What the column `analysis_type` calls a kind: the app's word if the kind alone decides it, else its name."""
    return next((label for label in REQUESTABLE if requested(label) == (analysis, {})), analysis)


def sentence_of(entry: IndexEntry) -> str | None:
    """The result in words; one that is not planned says what it is."""
    if entry.sentence is None or entry.standing in {None, "planned"}:
        return entry.sentence
    return f"{entry.sentence} This result is {entry.standing}."


@dataclass(frozen=True)
class RecordedRows:
    """Recorded analyses, as a statement binds them.

    Attributes:
        text: JSON of the rows.
        last_record: number of the newest record in the chain, by which a later page finds the same records.
        sha256: hash of the text.
    """

    text: str
    last_record: int
    sha256: str


class RecordListing:
    """The records of the archive; they are read again when its folder changes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._read_at: int | None = None
        self._entries: list[IndexEntry] = []
        self._newest = 0
        self._rows: dict[tuple[int | None, str | None], RecordedRows] = {}

    def rows(self, last_record: int | None, built_at: str) -> RecordedRows:
        """The rows of records.

        Args:
            last_record: up to which record; None for all, `BEFORE_SNAPSHOT` for those that ended before `built_at`.
            built_at: when the snapshot was built, ISO 8601.
        """
        with self._lock:
            self._look()
            if last_record is not None:
                last_record = min(last_record, self._newest)
            key = (last_record, built_at if last_record == BEFORE_SNAPSHOT else None)
            rows = self._rows.pop(key, None) or self._listed(last_record, datetime.fromisoformat(built_at))
            self._rows[key] = rows
            if len(self._rows) > _KEPT_LISTS:
                del self._rows[next(iter(self._rows))]
            return rows

    def _look(self) -> None:
        try:
            changed = self._settings.paths.records.stat().st_mtime_ns
        except FileNotFoundError:
            changed = 0
        if changed != self._read_at:
            self._entries, self._rows = newest_entries(self._settings.paths), {}
            self._newest = _newest(self._entries)
            self._read_at = changed

    def _listed(self, last_record: int | None, built_at: datetime) -> RecordedRows:
        if last_record == BEFORE_SNAPSHOT:
            entries = [e for e in self._entries if e.ended_at and datetime.fromisoformat(e.ended_at) <= built_at]
        else:
            # Records from before there was a chain are older than all that have a number.
            entries = [e for e in self._entries if last_record is None or (e.chain_number or 0) <= last_record]
        text = orjson.dumps([_row(entry) for entry in entries]).decode()
        return RecordedRows(
            text, BEFORE_SNAPSHOT if last_record == BEFORE_SNAPSHOT else _newest(entries), sha256_hex(text.encode())
        )


def _newest(entries: Sequence[IndexEntry]) -> int:
    return max((entry.chain_number or 0 for entry in entries), default=0)


def _row(entry: IndexEntry) -> dict[str, str | float | None]:
    kind = KINDS.get(entry.analysis or "")
    return {
        "analysis_run_id": entry.analysis_run_id,
        "protocol_id": entry.protocol_id,
        "run_name": kind.title if kind else entry.analysis,
        "analysis_type": type_in_tables(entry.analysis or ""),
        "started_at": entry.started_at,
        "completed_at": entry.ended_at,
        "verdict": entry.verdict,
        "standing": entry.standing,
        "effect": entry.effect,
        "interval_low": entry.interval_low,
        "interval_high": entry.interval_high,
        "p": entry.p,
        "sentence": sentence_of(entry),
        "mlflow_run_id": entry.mlflow_run_id,
        "record_sha256": entry.sha256,
    }
