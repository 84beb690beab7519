"""Metadata of a recorded analysis: write it to Dagster, and read the hashes of records back from the instance."""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from americano_pipelines.analysis.preregistration import PlanCompliance
from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.defs.dagster_instance import open_instance_to_read
from americano_pipelines.defs.jobs import PREFIX
from americano_pipelines.defs.run_tags import RECORD_SHA256
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.sync.table_metadata import Metadata, markdown_table
from americano_pipelines.mlflow_store.registered_models import CANDIDATE, RegisteredModel
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import one_line

if TYPE_CHECKING:
    from americano_pipelines.provenance.perform import PerformedAnalysis


_PER_PAGE = 1000
_COLUMNS_ONLY_IN_REPORT = ("events", "mean of events", "sd of events")


def analysis_metadata(performed: "PerformedAnalysis", link: str) -> Metadata:
    """Metadata of a materialized analysis.

    Args:
        performed: the analysis.
        link: what became of the app's row, in words.
    """
    analysis, compliance, record = performed.analysis, performed.compliance, performed.recorded.record
    return {
        "sentence": dg.MetadataValue.text(one_line(record.sentence_with_compliance)),
        **({"state": analysis.verdict} if analysis.verdict else {}),
        **(_protocol_metadata(performed, compliance) if compliance else {}),
        **{name: value for name, value in analysis.numbers.items() if value is not None},
        **_pictures(analysis.pictures),
        **(_model_metadata(performed, performed.registered) if performed.registered else {}),
        **_record_metadata(record),
        RECORD_SHA256: performed.recorded.sha256,
        "link": link,
    }


def _protocol_metadata(performed: "PerformedAnalysis", compliance: PlanCompliance) -> Metadata:
    config, analysis = performed.recorded.record.config, performed.analysis
    counts = [(name, f"{count:,}") for name, count in analysis.counts.items()]
    return {
        "standing": compliance.label,
        "runs before": compliance.earlier_runs,
        "protocol": one_line(performed.prepared.protocol or ""),
        "outcome": one_line(str(config["outcome"])),
        "improvement": str(config["improvement"]),
        "planned and actual": dg.MetadataValue.md(_phase_table(analysis.results["phases"])),
        "left out and counted": dg.MetadataValue.md(markdown_table(("what", "number"), counts)),
    }


def _model_metadata(performed: "PerformedAnalysis", registered: RegisteredModel) -> Metadata:
    return {
        "details": dg.MetadataValue.json(performed.analysis.results),
        "model": registered.name,
        "model version": registered.version,
        "model alias": CANDIDATE,
    }


def _record_metadata(record: Record) -> Metadata:
    url, run_id = record.tracking["url"], record.tracking["run_id"]
    return {
        "MLflow run": dg.MetadataValue.url(url) if url else f"in {record.tracking['address']}",
        "MLflow run id": str(run_id),
        "AnalysisRun id": record.identity.analysis_run_id or "none",
        "extract sha256": record.extract_sha256,
        "snapshot id": ", ".join(sorted({source.snapshot_id for source in record.inputs})),
    }


def _pictures(pictures: Mapping[str, bytes]) -> Metadata:
    """PNGs as the UI shows them."""
    return {
        name.removesuffix(".png"): dg.MetadataValue.md(
            f"![{name}](data:image/png;base64,{base64.b64encode(content).decode()})"
        )
        for name, content in pictures.items()
    }


def _phase_table(rows: Any) -> str:  # noqa: ANN401 - JSON
    # The page has little room for a table; the report shows all columns.
    header = [name for name in rows[0] if name not in _COLUMNS_ONLY_IN_REPORT] if rows else []
    return markdown_table(header, [[_cell(row[name]) for name in header] for row in rows])


def _cell(value: Any) -> str:  # noqa: ANN401 - JSON
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def materialization_hashes(settings: Settings) -> Iterator[Callable[[Record], list[str]]]:
    """For the block, a function that returns the hashes in the metadata of a record's materializations.

    It returns none when Dagster has no such materialization, or no home in this data folder.

    Raises:
        ResourceError: Dagster's records cannot be opened.
    """
    with open_instance_to_read(settings) as instance:
        yield lambda record: [] if instance is None else recorded_hashes(instance, record)


def hashes_of_protocol(instance: dg.DagsterInstance, protocol_id: str) -> frozenset[str]:
    """The hashes of records in the metadata of all analyses of a protocol, as Dagster's log has them."""
    hashes: set[str] = set()
    for name in PROTOCOL_KINDS:
        of_protocol = dg.AssetRecordsFilter(asset_key=asset_specs.key(PREFIX, name), asset_partitions=[protocol_id])
        cursor, more = None, True
        while more:
            page = instance.fetch_materializations(of_protocol, limit=_PER_PAGE, cursor=cursor)
            events = [record.asset_materialization for record in page.records]
            metadata = [event.metadata for event in events if event is not None and RECORD_SHA256 in event.metadata]
            hashes.update(str(values[RECORD_SHA256].value) for values in metadata)
            cursor, more = page.cursor, page.has_more
    return frozenset(hashes)


def recorded_hashes(instance: dg.DagsterInstance, record: Record) -> list[str]:
    """The hashes in the metadata of all materializations of a record's asset and partition by its Dagster run."""
    origin = record.orchestrator
    run_id, asset = str(origin["dagster_run_id"]), (origin["asset_key"], origin["partition"])
    # Dagster creates a file of events for a run that it does not have.
    if not instance.has_run(run_id):
        return []
    events = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    hashes = []
    for event in events.records:
        materialization = event.asset_materialization
        if materialization is None:
            continue
        if (materialization.asset_key.to_user_string(), materialization.partition) != asset:
            continue
        if (value := materialization.metadata.get(RECORD_SHA256)) is not None:
            hashes.append(str(value.value))
    return hashes
