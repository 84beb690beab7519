"""Prepare an analysis: capture its context, read its extract, resolve its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from americano_pipelines.analysis.extract import BaseExtract, Extract
from americano_pipelines.analysis.preregistration import parse, resolve
from americano_pipelines.analysis.registry import Kind, Parameters
from americano_pipelines.provenance.capture import CapturedContext, capture_context
from americano_pipelines.provenance.protocol_row import read_protocol_row
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.plan_history import PlanSighting, read_sighting
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord


@dataclass(frozen=True)
class PreparedAnalysis:
    """What an analysis starts from.

    Attributes:
        kind: which analysis.
        parameters: its resolved parameters.
        extract: its input.
        document: the record of the published file that the extract is from.
        captured: code and environment, as they were before the extract was read.
        plan_seen: when the protocol's plan was first seen, None where no snapshot kept that.
        protocol_row: the protocol's row with all columns, for the report; empty without one.
    """

    kind: Kind
    parameters: Parameters
    extract: BaseExtract
    document: SnapshotRecord
    captured: CapturedContext
    plan_seen: PlanSighting | None = None
    protocol_row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def protocol(self) -> str | None:
        """The protocol's name, or its id when it has none; None for an analysis of all learners."""
        return self.extract.protocol.title if isinstance(self.extract, Extract) else None

    @property
    def title(self) -> str:
        """Name of the analysis for people: the kind's title, after the protocol's name."""
        return f"{self.protocol}: {self.kind.title}" if self.protocol else self.kind.title


def prepare(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    document: SnapshotRecord,
    kind: Kind,
    protocol_id: str | None,
    overrides: Mapping[str, Any],
) -> PreparedAnalysis:
    """Prepare an analysis.

    Args:
        settings: the data folder.
        connection: the published file, open for reading.
        document: the file's record.
        kind: which analysis.
        protocol_id: the protocol, None for an analysis of all learners.
        overrides: the parameters that were given; the plan and the defaults give the others.

    Raises:
        AnalysisError: the published file lacks what the analysis reads, or a parameter is wrong.
    """
    captured = capture_context()
    extract = kind.read_extract(connection, settings, document, protocol_id, overrides.get("outcome"))
    parameters = resolve(kind, overrides, extract) if isinstance(extract, Extract) else parse(kind, overrides)
    sighting = read_sighting(connection, document, protocol_id) if protocol_id is not None else None
    row = read_protocol_row(connection, document, protocol_id) if protocol_id is not None else {}
    return PreparedAnalysis(kind, parameters, extract, document, captured, sighting, row)
