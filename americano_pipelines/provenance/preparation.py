"""Prepare an analysis: capture its context, read its extract, resolve its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from americano_pipelines.analysis.extract import BaseExtract
from americano_pipelines.analysis.group_extract import BaseGroupExtract
from americano_pipelines.analysis.parameters import Parameters
from americano_pipelines.analysis.preregistration import parse, resolve
from americano_pipelines.analysis.registry import Kind
from americano_pipelines.provenance.capture import CapturedContext, capture_context
from americano_pipelines.provenance.chain import discard_edited_index
from americano_pipelines.provenance.input_reading import InputRequest, read_input
from americano_pipelines.provenance.protocol_row import read_protocol_row
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.plan_history import PlanSighting, former_members, read_sighting
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
        plans_seen: when the plan of each protocol, by id, was first seen; None where no snapshot kept that.
        former_members: of a group, the protocols that left it, with the instant at which that was first seen.
        protocol_row: the protocol's row with all columns, for the report; empty without one.
    """

    kind: Kind
    parameters: Parameters
    extract: BaseExtract
    document: SnapshotRecord
    captured: CapturedContext
    plans_seen: Mapping[str, PlanSighting | None] = field(default_factory=dict)
    former_members: Mapping[str, str] = field(default_factory=dict)
    protocol_row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name of the analysis for people: the kind's title, after the name of the protocol or the group."""
        return f"{self.extract.title}: {self.kind.title}" if self.extract.title else self.kind.title


def prepare(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    document: SnapshotRecord,
    kind: Kind,
    partition: str | None,
    overrides: Mapping[str, Any],
) -> PreparedAnalysis:
    """Prepare an analysis.

    Args:
        settings: the data folder.
        connection: the published file, open for reading.
        document: the file's record.
        kind: which analysis.
        partition: the protocol's id or the group's key, None for an analysis of all learners.
        overrides: the parameters that were given; the plan and the defaults give the others.

    Raises:
        AnalysisError: the published file lacks what the analysis reads, or a parameter is wrong.
    """
    captured = capture_context()
    if kind.scope != "all learners":
        # Before the records of earlier analyses are looked for, which decide what this one is to its plan.
        discard_edited_index(settings.paths)
    request = InputRequest(kind, partition, overrides.get("outcome"), captured.started_at)
    extract = read_input(settings, connection, document, request)
    parameters = resolve(kind, overrides, extract) if extract.members else parse(kind, overrides)
    protocol_ids = [member.protocol.protocol_id for member in extract.members]
    sightings = {protocol_id: read_sighting(connection, document, protocol_id) for protocol_id in protocol_ids}
    former = former_members(connection, document, extract.group) if isinstance(extract, BaseGroupExtract) else {}
    row = read_protocol_row(connection, document, protocol_ids[0]) if kind.scope == "protocol" else {}
    return PreparedAnalysis(kind, parameters, extract, document, captured, sightings, former, row)
