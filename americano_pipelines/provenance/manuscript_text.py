"""Write methods, results and checklist of one recorded analysis as Markdown, to paste into a paper.

All numbers and sentences are the record's own; nothing is computed again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from americano_pipelines.common import sql
from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.reporting_checklist import ChecklistItem, fill_checklist
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import PROTOCOLS
from americano_pipelines.text_output import common_mark
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshots import current, open_published

_PROTOCOL_ROW = "SELECT * FROM analytics.{table} WHERE CAST({id} AS VARCHAR) = $1"
_MEASURES = {
    "mean_difference": "mean difference",
    "median_difference": "median difference",
    "overlap.nap": "NAP",
    "overlap.tau_u": "Tau-U",
    "tau_bc.value": "baseline corrected Tau",
    "overlap.pem": "PEM",
    "overlap.pand": "PAND",
    "overlap.ird": "IRD",
    "smd_pooled.value": "SMD, pooled",
    "log_response_ratio": "log response ratio",
}


def published_protocol(settings: Settings, protocol_id: str) -> dict[str, Any]:
    """A protocol's row in the published file, by column name without case and underscores; empty without one."""
    if current(settings.paths) is None:
        return {}
    with open_published(settings) as connection:
        document = snapshots.read_record(settings.paths)
        built = document.tables.get(PROTOCOLS.name) if document else None
        if built is None or "id" not in built.roles:
            return {}
        cursor = connection.execute(
            sql.render(_PROTOCOL_ROW, table=sql.quote(PROTOCOLS.name), id=sql.quote(built.roles["id"])),
            [protocol_id],
        )
        names = [column[0].replace("_", "").casefold() for column in cursor.description or ()]
        row = cursor.fetchone()
    return dict(zip(names, row, strict=True)) if row else {}


def write_manuscript(record: Record, protocol: Mapping[str, Any], name: str) -> str:
    """Write the Markdown of an analysis.

    Args:
        record: of an analysis of a protocol.
        protocol: the protocol's row, as `published_protocol` gives it.
        name: the protocol's name.

    Raises:
        AnalysisError: the analysis is of no protocol, or its record is from before methods were recorded.
    """
    if record.identity.protocol_id is None:
        of = "all learners" if record.identity.group is None else "a group"
        raise AnalysisError(f"{record.identity.analysis} is an analysis of {of}, which has no such report")
    methods = record.results.get("methods")
    if not isinstance(methods, str):
        raise AnalysisError(
            f"record {record.sha256[:12]} is from a release that did not record its methods: see its report.html, or "
            "analyse the protocol again"
        )
    standing = f" {record.standing.sentence}" if record.standing else ""
    parts = [
        f"# {common_mark(name)}",
        f"## Methods\n\n{common_mark(methods)}",
        f"## Results\n\n{common_mark(record.sentence + standing)}",
        _phases(record),
        _effects(record),
        _checklist(fill_checklist(record, protocol, name)),
        _provenance(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else common_mark(str(value))


def _phases(record: Record) -> str:
    phases = record.results.get("phases")
    if not isinstance(phases, list) or not phases:
        return ""
    columns = ("phase", "condition", "planned days", "actual days", "days with a value", "mean of days", "sd of events")
    rows = [[phase.get(column) for column in columns] for phase in phases if isinstance(phase, dict)]
    return _table(columns, rows)


def _effects(record: Record) -> str:
    effects = record.results.get("effects")
    combined = effects.get("combined") if isinstance(effects, dict) else None
    if not isinstance(combined, dict):
        return ""
    rows = [(title, combined[name]) for name, title in _MEASURES.items() if combined.get(name) is not None]
    return _table(("effect, mean over the pairs of phases", "value"), rows) if rows else ""


def _checklist(items: Sequence[ChecklistItem]) -> str:
    rows = [(item.number, item.topic, item.cent, item.text or "TO BE ADDED") for item in items]
    open_items = sum(item.text is None for item in items)
    return (
        "## Checklist (SCRIBE 2016, with the items of CENT 2015)\n\n"
        f"{open_items} of {len(items)} items are to be added.\n\n"
        + _table(("SCRIBE", "topic", "CENT", "from protocol and record"), rows)
    )


def _provenance(record: Record) -> str:
    packages = record.environment.get("packages")
    libraries = packages.items() if isinstance(packages, dict) else ()
    versions = ", ".join(f"{name} {version}" for name, version in libraries)
    snapshots_read = ", ".join(dict.fromkeys(entry.snapshot_id for entry in record.inputs))
    facts = {
        "provenance record": record.sha256,
        "code": f"{record.code.commit}{' with changes' if record.code.dirty else ''}",
        "data": f"snapshot {snapshots_read}, extract {record.extract_sha256}",
        "software": f"Python {record.environment.get('python')}, {versions}",
        "check": f"americano verify {record.sha256[:12]} --rerun",
    }
    return "## Provenance\n\n" + _table(("", ""), list(facts.items()))
