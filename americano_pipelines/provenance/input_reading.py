"""Read the input of an analysis: from a published file, and for some kinds from earlier records too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from americano_pipelines.analysis.combined_extract import CombinedExtract
from americano_pipelines.analysis.extract import BaseExtract
from americano_pipelines.analysis.registry import Kind
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import find_records
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord


@dataclass(frozen=True)
class InputRequest:
    """Which input an analysis has.

    Attributes:
        kind: which analysis.
        partition: the protocol's id or the group's key, None for an analysis of all learners.
        outcome: the outcome that was given or recorded.
        before: only records that ended before it count, ISO 8601.
    """

    kind: Kind
    partition: str | None
    outcome: str | None
    before: str


def recorded_request(kind: Kind, record: Record) -> InputRequest:
    """The request for the input that a recorded analysis had."""
    outcome = record.config.get("outcome")
    return InputRequest(kind, record.identity.partition, str(outcome) if outcome else None, record.identity.started_at)


def read_input(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    document: SnapshotRecord,
    request: InputRequest,
    *,
    archive: DataFolder | None = None,
) -> BaseExtract:
    """Read the input.

    Args:
        settings: the data folder, whose key makes the pseudonyms.
        connection: the published file, open for reading.
        document: the file's record.
        request: which input.
        archive: the data folder with the records, where it is another one.

    Raises:
        AnalysisError: the published file lacks what the analysis reads.
    """
    extract: BaseExtract = request.kind.read_extract(connection, settings, document, request.partition, request.outcome)
    if not isinstance(extract, CombinedExtract):
        return extract

    def records_of(protocol_id: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
        return [
            (sha256, record.model_dump(mode="json") | {"standing": {"label": record.standing.label}})
            for sha256, record in find_records(archive or settings.paths, "protocol_id", protocol_id)
            if record.identity.analysis in request.kind.combines
            and record.standing is not None
            and record.identity.ended_at < request.before
        ]

    return extract.with_records(records_of)
