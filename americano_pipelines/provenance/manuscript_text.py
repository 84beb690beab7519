"""Arrange methods, results and checklist of one analysis as a text to paste into a paper.

All numbers and sentences are those of its results; nothing is computed again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.manuscript_formats import Block, Heading, Paragraph, Table
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.reporting_checklist import (
    CHECKLIST_TITLE,
    MEASURES,
    ReportedAnalysis,
    checklist_note,
    fill_checklist,
)


def reported_record(record: Record, name: str) -> ReportedAnalysis:
    """What is reported of a recorded analysis.

    Args:
        record: of an analysis of a protocol.
        name: the protocol's name.

    Raises:
        AnalysisError: the analysis is of no protocol, or its record is from before methods were recorded.
    """
    if record.identity.protocol_id is None:
        of = "all learners" if record.identity.group is None else "a group"
        raise AnalysisError(f"{record.identity.analysis} is an analysis of {of}, which has no such report")
    if not isinstance(record.results.get("methods"), str):
        raise AnalysisError(
            f"record {record.sha256[:12]} is from a release that did not record its methods: see its report.html, or "
            "analyse the protocol again"
        )
    return ReportedAnalysis.of_record(record, name, _facts(record))


def manuscript(analysis: ReportedAnalysis, protocol: Mapping[str, Any]) -> list[Block]:
    """The blocks of the text.

    Args:
        analysis: what is reported.
        protocol: the protocol's row, as `published_protocol` gives it.
    """
    items = fill_checklist(analysis, protocol)
    checklist = tuple((str(item.number), item.topic, item.cent, item.shown) for item in items)
    return [
        Heading(analysis.name, 1),
        Heading("Methods", 2),
        Paragraph(str(analysis.results["methods"])),
        Heading("Results", 2),
        Paragraph(f"{analysis.sentence} {analysis.standing}".strip()),
        *_phases(analysis),
        *_effects(analysis),
        Heading(CHECKLIST_TITLE, 2),
        Paragraph(checklist_note(items)),
        Table(("SCRIBE", "topic", "CENT", "from protocol and record"), checklist),
        Heading("Provenance", 2),
        Table(("", ""), tuple(analysis.facts.items())),
    ]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(rows: Sequence[Sequence[object]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(_cell(value) for value in row) for row in rows)


def _phases(analysis: ReportedAnalysis) -> list[Block]:
    phases = analysis.results.get("phases")
    if not isinstance(phases, list) or not phases:
        return []
    columns = ("phase", "condition", "planned days", "actual days", "days with a value", "mean of days", "sd of events")
    rows = [[phase.get(column) for column in columns] for phase in phases if isinstance(phase, dict)]
    return [Table(columns, _rows(rows))]


def _effects(analysis: ReportedAnalysis) -> list[Block]:
    effects = analysis.results.get("effects")
    combined = effects.get("combined") if isinstance(effects, dict) else None
    if not isinstance(effects, dict) or not isinstance(combined, dict):
        return []
    listed = effects.get("combined with interval")
    intervals = {
        row["effect"]: f"{row['interval'][0]:.4g} to {row['interval'][1]:.4g}" for row in listed or () if listed
    }
    rows = [
        (title, combined[name], intervals.get(name))
        for name, title in MEASURES.items()
        if combined.get(name) is not None
    ]
    header = ("effect, mean over the pairs of phases", "value", "95 % interval, days taken for independent")
    return [Table(header, _rows(rows))] if rows else []


def _facts(record: Record) -> dict[str, str]:
    packages = record.environment.get("packages")
    libraries = packages.items() if isinstance(packages, dict) else ()
    versions = ", ".join(f"{name} {version}" for name, version in libraries)
    snapshots_read = ", ".join(dict.fromkeys(entry.snapshot_id for entry in record.inputs))
    return {
        "provenance record": record.sha256,
        "code": f"{record.code.commit}{' with changes' if record.code.dirty else ''}",
        "data": f"snapshot {snapshots_read}, extract {record.extract_sha256}",
        "software": f"Python {record.environment.get('python')}, {versions}",
        "check": f"americano verify {record.sha256[:12]} --rerun",
    }
