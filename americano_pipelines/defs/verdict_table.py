"""Asset `analysis/verdicts`: what is known of each protocol, by name, for the pages of Dagster.

It is reported, not executed: by each sync that publishes, and by each analysis, as an event without a run. Its rows
are personal data, so a purge removes its events.

https://docs.dagster.io/guides/build/assets/external-assets
"""

from typing import TYPE_CHECKING
from urllib.parse import quote

import dagster as dg

from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.defs.dagster_storage import remove_asset_events
from americano_pipelines.defs.job_names import PREFIX
from americano_pipelines.defs.jobs import EXPERIMENTS
from americano_pipelines.defs.run_tags import DATA_VERSION_TAG
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.sync.table_metadata import markdown_table
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import one_line
from americano_pipelines.warehouse.published_protocols import published_protocols
from americano_pipelines.warehouse.snapshots import open_published

if TYPE_CHECKING:
    from americano_pipelines.provenance.record_index import KeyNumbers
    from americano_pipelines.provenance.verdict_listing import ListedVerdict

VERDICTS_KEY = asset_specs.key(PREFIX, "verdicts")
_REPORTS_PER_PAGE = 1_000
_HEADER = ("protocol", "id", "status", "verdict", "effect", "interval", "p", "standing", "record")


def verdicts_spec() -> dg.AssetSpec:
    """The asset, downstream of all analyses of protocols."""
    return dg.AssetSpec(
        VERDICTS_KEY,
        deps=[asset_specs.key("research", "protocols"), *(asset_specs.key(PREFIX, name) for name in PROTOCOL_KINDS)],
        description="Did it work? One row for each protocol, by name: the verdict of its planned or declared analysis, "
        "with links to its partition and its run. An exploratory analysis never changes a verdict.\n\n"
        "It is up to date after each sync and each analysis, and cannot be materialized by itself. Type a part of the "
        "protocol's name into *Filter metadata keys*.",
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
    # With its records it loads numpy, which the definitions do not need.
    from americano_pipelines.provenance.verdict_listing import list_verdicts

    with open_published(settings, wait_seconds=0) as connection:
        protocols = [protocol for protocol in published_protocols(connection) if protocol.protocol_id]
    protocols.sort(key=lambda protocol: (protocol.title, protocol.protocol_id))
    # Those that only records know, because they are not published any more, come after the published ones.
    metadata = _metadata(list_verdicts(settings, protocols)[: len(protocols)])
    version = sha256_hex(canonical_json({name: str(value.value) for name, value in metadata.items()}))
    latest = instance.get_latest_materialization_event(VERDICTS_KEY)
    last = latest.asset_materialization if latest is not None else None
    if last is None or (last.tags or {}).get(DATA_VERSION_TAG) != version:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(VERDICTS_KEY, metadata=metadata, tags={DATA_VERSION_TAG: version})
        )


def has_report(instance: dg.DagsterInstance) -> bool:
    """Whether the verdicts were reported, and not purged since."""
    return instance.get_latest_materialization_event(VERDICTS_KEY) is not None


def report_texts(instance: dg.DagsterInstance) -> list[str]:
    """The text of each report, which holds the ids and names of protocols."""
    texts: list[str] = []
    cursor, has_more = None, True
    while has_more:
        page = instance.fetch_materializations(VERDICTS_KEY, limit=_REPORTS_PER_PAGE, cursor=cursor)
        reports = [record.asset_materialization for record in page.records]
        texts += [str(value.value) for report in reports if report is not None for value in report.metadata.values()]
        cursor, has_more = page.cursor, page.has_more
    return texts


def remove_reports(instance: dg.DagsterInstance) -> None:
    """Remove all reports, whose rows are personal data; the next sync or analysis reports anew."""
    remove_asset_events(instance, VERDICTS_KEY)


def _metadata(verdicts: "list[ListedVerdict]") -> dict[str, dg.MarkdownMetadataValue]:
    """A table of all protocols, and a row for each, which the page shows without a click and finds by its name."""
    table = markdown_table(_HEADER, [_row(verdict) for verdict in verdicts]) if verdicts else "no protocol is published"
    metadata = {"all protocols": dg.MetadataValue.md(table)}
    for verdict in verdicts:
        name = one_line(verdict.protocol.title)
        key = name if name not in metadata else f"{name} ({one_line(verdict.protocol.protocol_id)})"
        metadata[key] = dg.MetadataValue.md(_paragraph(verdict))
    return metadata


def _status(verdict: "ListedVerdict") -> str:
    if verdict.confirmatory is not None:
        return f"analysed as {verdict.confirmatory.standing}"
    return "only explored" if verdict.explorations else "not analysed"


def _row(verdict: "ListedVerdict") -> tuple[str, ...]:
    entry, numbers = verdict.confirmatory, verdict.numbers
    about = verdict.protocol.title, verdict.protocol.protocol_id, _status(verdict)
    if entry is None:
        return *about, "", "", "", "", "", ""
    effect, p = _number(numbers.effect, "+.3g"), _number(numbers.p, ".3g")
    return *about, entry.verdict or "no verdict", effect, _interval(numbers), p, str(entry.standing), entry.sha256[:12]


def _paragraph(verdict: "ListedVerdict") -> str:
    """The verdict in a few words, and links to its pages."""
    entry, numbers, protocol_id = verdict.confirmatory, verdict.numbers, verdict.protocol.protocol_id
    if entry is None:
        explored = f" ({verdict.explorations})" if verdict.explorations else ""
        return f"{_status(verdict)}{explored}. {_partition_link(next(iter(PROTOCOL_KINDS)), protocol_id)}"
    effect = f", effect {_number(numbers.effect, '+.3g')}" if numbers.effect is not None else ""
    interval = f" ({_interval(numbers)})" if effect else ""
    p = f", p = {_number(numbers.p, '.3g')}" if numbers.p is not None else ""
    links = [_partition_link(str(entry.analysis), protocol_id), f"[run](/runs/{entry.dagster_run_id})"]
    if entry.mlflow_url:
        links.append(f"[report in MLflow]({entry.mlflow_url})")
    return f"**{entry.verdict or 'no verdict'}**{effect}{interval}{p}, {entry.standing}. {', '.join(links)}"


def _partition_link(analysis: str, protocol_id: str) -> str:
    address = f"/assets/{PREFIX}/{analysis}?view=partitions&partition={quote(protocol_id, safe='')}"
    return f"[partition]({address})"


def _interval(numbers: "KeyNumbers") -> str:
    low, high = numbers.interval_low, numbers.interval_high
    if low is None and high is None:
        return "no interval"
    return f"{'unbounded' if low is None else f'{low:.3g}'} to {'unbounded' if high is None else f'{high:.3g}'}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
