"""Asset `analysis/verdicts`: what is known of each protocol, by name, for the pages of Dagster.

It is reported, not executed: by each sync that publishes, and by each analysis, as an event without a run. Its rows
are persons', so a purge removes its events.

https://docs.dagster.io/guides/build/assets/external-assets
"""

from collections.abc import Mapping
from urllib.parse import quote

import dagster as dg

from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.defs.dagster_storage import remove_asset_events
from americano_pipelines.defs.jobs import EXPERIMENTS, PREFIX
from americano_pipelines.defs.run_tags import DATA_VERSION_TAG
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.sync.table_metadata import markdown_table
from americano_pipelines.provenance.protocol_verdicts import PlannedResult, ProtocolVerdict, protocol_verdicts
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import one_line
from americano_pipelines.warehouse.snapshots import open_published

KEY = asset_specs.key(PREFIX, "verdicts")
_NAMES = "SELECT protocol_id, coalesce(protocol_name, protocol_id) FROM research.protocols WHERE protocol_id <> ''"
# A report follows a change of a verdict or a protocol.
_MOST_REPORTS = 10_000
_HEADER = ("protocol", "id", "status", "verdict", "effect", "interval", "p", "standing", "record")


def verdicts_spec() -> dg.AssetSpec:
    """The asset, downstream of all analyses of protocols."""
    return dg.AssetSpec(
        KEY,
        deps=[asset_specs.key("research", "protocols"), *(asset_specs.key(PREFIX, name) for name in PROTOCOL_KINDS)],
        description="Did it work? One row for each protocol, by name: the verdict of its planned analysis, with links "
        "to its partition and its run. An exploratory analysis never changes a verdict.\n\nIt is up to date after "
        "each sync and each analysis, and cannot be materialized by itself. Type a part of the protocol's name into "
        "*Filter metadata keys*.",
        group_name=EXPERIMENTS,
        kinds={"python", "table"},
        owners=[asset_specs.Owner.RESEARCH.value],
        tags={"layer": PREFIX},
    )


def report_verdicts(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Report the verdicts of the published protocols as they are now, unless the last report says the same.

    Raises:
        WarehouseUnavailableError: nothing is published, or a process holds it read-write.
    """
    with open_published(settings, wait_seconds=0) as connection:
        names = {str(protocol_id): str(name) for protocol_id, name in connection.execute(_NAMES).fetchall()}
    verdicts = protocol_verdicts(settings, sorted(names, key=lambda protocol_id: (names[protocol_id], protocol_id)))
    metadata = _metadata(verdicts, names)
    version = sha256_hex(canonical_json({name: str(value.value) for name, value in metadata.items()}))
    latest = instance.get_latest_materialization_event(KEY)
    last = latest.asset_materialization if latest is not None else None
    if last is None or (last.tags or {}).get(DATA_VERSION_TAG) != version:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(KEY, metadata=metadata, tags={DATA_VERSION_TAG: version})
        )


def has_report(instance: dg.DagsterInstance) -> bool:
    """Whether the verdicts were reported, and not purged since."""
    return instance.get_latest_materialization_event(KEY) is not None


def report_texts(instance: dg.DagsterInstance) -> list[str]:
    """The text of each report, which holds the ids and names of protocols."""
    records = instance.fetch_materializations(KEY, limit=_MOST_REPORTS).records
    reports = [record.asset_materialization for record in records]
    return [str(value.value) for report in reports if report is not None for value in report.metadata.values()]


def remove_reports(instance: dg.DagsterInstance) -> None:
    """Remove all reports, which have rows of persons; the next sync or analysis reports anew."""
    remove_asset_events(instance, KEY)


def _metadata(verdicts: list[ProtocolVerdict], names: Mapping[str, str]) -> dict[str, dg.MarkdownMetadataValue]:
    """A table of all protocols, and a row for each, which the page shows without a click and finds by its name."""
    rows = [_row(verdict, names[verdict.protocol_id]) for verdict in verdicts]
    table = markdown_table(_HEADER, rows) if rows else "no protocol is published"
    metadata = {"all protocols": dg.MetadataValue.md(table)}
    for verdict in verdicts:
        name = one_line(names[verdict.protocol_id])
        key = name if name not in metadata else f"{name} ({one_line(verdict.protocol_id)})"
        metadata[key] = dg.MetadataValue.md(_paragraph(verdict))
    return metadata


def _row(verdict: ProtocolVerdict, name: str) -> tuple[str, ...]:
    planned = verdict.planned
    if planned is None:
        return name, verdict.protocol_id, verdict.status, "", "", "", "", "", ""
    entry = planned.entry
    return (
        *(name, verdict.protocol_id, verdict.status, entry.verdict or "no verdict", _number(planned.effect, "+.3g")),
        *(_interval(planned), _number(planned.p, ".3g"), "planned", entry.sha256[:12]),
    )


def _paragraph(verdict: ProtocolVerdict) -> str:
    """The verdict in a few words, and links to its pages."""
    planned = verdict.planned
    if planned is None:
        explored = f" ({verdict.explorations})" if verdict.explorations else ""
        return f"{verdict.status}{explored}. {_partition_link(next(iter(PROTOCOL_KINDS)), verdict.protocol_id)}"
    entry = planned.entry
    effect = f", effect {_number(planned.effect, '+.3g')}" if planned.effect is not None else ""
    interval = f" ({_interval(planned)})" if effect else ""
    p = f", p = {_number(planned.p, '.3g')}" if planned.p is not None else ""
    links = [_partition_link(str(entry.analysis), verdict.protocol_id), f"[run](/runs/{entry.dagster_run_id})"]
    if entry.mlflow_url:
        links.append(f"[report in MLflow]({entry.mlflow_url})")
    return f"**{entry.verdict or 'no verdict'}**{effect}{interval}{p}, planned. {', '.join(links)}"


def _partition_link(analysis: str, protocol_id: str) -> str:
    address = f"/assets/{PREFIX}/{analysis}?view=partitions&partition={quote(protocol_id, safe='')}"
    return f"[partition]({address})"


def _interval(planned: PlannedResult) -> str:
    low, high = planned.interval
    if low is None and high is None:
        return "no interval"
    return f"{'unbounded' if low is None else f'{low:.3g}'} to {'unbounded' if high is None else f'{high:.3g}'}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
