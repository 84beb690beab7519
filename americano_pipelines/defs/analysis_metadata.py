"""What the UI shows of an analysis: sentence, numbers, pictures, tables, and where its records are.

Here belongs turning a performed analysis into metadata. What is learned of a person is pseudonymous, and as public as
the asset's page: see `docs/guarantees.md`.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from americano_pipelines.defs.metadata import Metadata
from americano_pipelines.defs.previews import markdown_table
from americano_pipelines.text import one_line
from americano_pipelines.tracking.record import Record

if TYPE_CHECKING:
    from americano_pipelines.tracking.perform import Performed

HASH = "provenance sha256"
_LEFT_TO_THE_REPORT = ("events", "mean of events", "sd of events")


def analysis_metadata(performed: "Performed", linked: str) -> Metadata:
    """Metadata of a materialized analysis of a protocol.

    Args:
        performed: the analysis.
        linked: what became of the app's row.
    """
    analysis, seen = performed.analysis, performed.seen
    return {
        "sentence": dg.MetadataValue.text(one_line(f"{analysis.sentence} {performed.standing.sentence}")),
        **({"state": analysis.verdict} if analysis.verdict else {}),
        "standing": performed.standing.label,
        "runs before": performed.standing.earlier_runs,
        "protocol": one_line(seen.extract.protocol.name or seen.extract.protocol.protocol_id),
        "outcome": one_line(seen.extract.outcome),
        "improvement": str(performed.recorded.record.config["improvement"]),
        **{name: value for name, value in analysis.numbers.items() if value is not None},
        **pictures(analysis.pictures),
        "planned and actual": dg.MetadataValue.md(_table(seen.phase_table())),
        "left out and counted": dg.MetadataValue.md(
            markdown_table(("what", "number"), [(name, f"{count:,}") for name, count in seen.counts().items()])
        ),
        **recorded_metadata(performed.recorded.record, performed.recorded.sha256),
        "link": linked,
    }


def recorded_metadata(record: Record, sha256: str) -> Metadata:
    """Where a recorded analysis is to be found, and the hash of its record."""
    url, run_id = record.tracking["url"], record.tracking["run_id"]
    return {
        "MLflow run": dg.MetadataValue.url(url) if url else f"in {record.tracking['address']}",
        "MLflow run id": str(run_id),
        "AnalysisRun id": record.identity.analysis_run_id or "none",
        HASH: sha256,
        "extract sha256": record.extract_sha256,
        "snapshot id": ", ".join(sorted({one.snapshot_id for one in record.inputs})),
    }


def pictures(drawn: Mapping[str, bytes]) -> Metadata:
    """PNGs as the UI shows them."""
    return {
        name.removesuffix(".png"): dg.MetadataValue.md(
            f"![{name}](data:image/png;base64,{base64.b64encode(content).decode()})"
        )
        for name, content in drawn.items()
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    # The page gives a table little room; the rest of it stands in the report.
    header = [name for name in rows[0] if name not in _LEFT_TO_THE_REPORT] if rows else []

    def shown(value: Any) -> str:  # noqa: ANN401 - any JSON
        return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    return markdown_table(header, [[shown(row[name]) for name in header] for row in rows])
