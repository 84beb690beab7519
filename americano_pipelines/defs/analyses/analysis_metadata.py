"""Metadata of a recorded analysis: write it to Dagster, and read the hashes back from the instance."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from americano_pipelines.defs.dagster_instance import open_instance_to_read
from americano_pipelines.defs.sync.table_metadata import Metadata, markdown_table
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import one_line

if TYPE_CHECKING:
    from americano_pipelines.provenance.perform import PerformedAnalysis


HASH = "provenance sha256"
_LEFT_TO_THE_REPORT = ("events", "mean of events", "sd of events")


def analysis_metadata(performed: "PerformedAnalysis", linked: str) -> Metadata:
    """Metadata of a materialized analysis of a protocol.

    Args:
        performed: the analysis.
        linked: what became of the app's row.
    """
    analysis, observations = performed.analysis, performed.observations
    return {
        "sentence": dg.MetadataValue.text(one_line(f"{analysis.sentence} {performed.standing.sentence}")),
        **({"state": analysis.verdict} if analysis.verdict else {}),
        "standing": performed.standing.label,
        "runs before": performed.standing.earlier_runs,
        "protocol": one_line(observations.extract.protocol.name or observations.extract.protocol.protocol_id),
        "outcome": one_line(observations.extract.outcome),
        "improvement": str(performed.recorded.record.config["improvement"]),
        **{name: value for name, value in analysis.numbers.items() if value is not None},
        **pictures(analysis.pictures),
        "planned and actual": dg.MetadataValue.md(_table(observations.phase_table())),
        "left out and counted": dg.MetadataValue.md(
            markdown_table(("what", "number"), [(name, f"{count:,}") for name, count in observations.counts().items()])
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
        "snapshot id": ", ".join(sorted({source.snapshot_id for source in record.inputs})),
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


@contextmanager
def materialization_hashes(settings: Settings) -> Iterator[Callable[[Record], list[str]]]:
    """For the block, a function that gives the hashes in the metadata of a record's materializations.

    It gives none when Dagster has no such materialization, or no home here.

    Raises:
        ResourceError: Dagster's records cannot be opened.
    """
    with open_instance_to_read(settings) as instance:
        yield lambda record: [] if instance is None else recorded_hashes(instance, record)


def recorded_hashes(instance: dg.DagsterInstance, record: Record) -> list[str]:
    """The hashes in the metadata of all materializations of a record's asset and partition by its Dagster run."""
    by = record.orchestrator
    # Dagster creates a file of events for a run that it is asked about and does not have.
    if not instance.has_run(str(by["dagster_run_id"])):
        return []
    events = instance.get_records_for_run(str(by["dagster_run_id"]), of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    hashes = []
    for event in events.records:
        materialization = event.asset_materialization
        if materialization is None or (materialization.asset_key.to_user_string(), materialization.partition) != (
            by["asset_key"],
            by["partition"],
        ):
            continue
        if (value := materialization.metadata.get(HASH)) is not None:
            hashes.append(str(value.value))
    return hashes
