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
from americano_pipelines.statistics.outcome_digits import effect_texts, shown_p
from americano_pipelines.text_output import one_line
from americano_pipelines.warehouse.published_protocols import published_protocols
from americano_pipelines.warehouse.snapshots import open_published

if TYPE_CHECKING:
    from americano_pipelines.provenance.verdict_listing import ListedVerdict

VERDICTS_KEY = asset_specs.key(PREFIX, "verdicts")
_REPORTS_PER_PAGE = 1_000
_HEADER = ("protocol", "id", "verdict", "effect", "interval", "p", "standing", "record")


def verdicts_spec() -> dg.AssetSpec:
    """The asset, downstream of all analyses of protocols."""
    return dg.AssetSpec(
        VERDICTS_KEY,
        deps=[asset_specs.key("research", "protocols"), *(asset_specs.key(PREFIX, name) for name in PROTOCOL_KINDS)],
        description="Did it work? One row for each protocol, by name: the verdict of its planned or declared analysis, "
        "with links to its partition and its run. An exploratory analysis never changes a verdict.\n\n"
        "It reads the records of the analyses. `research/verdicts`, a view of the published file, has the results that "
        "were in the app's analysis runs at the last sync.\n\n"
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
    metadata = _metadata(list_verdicts(settings.paths, protocols)[: len(protocols)])
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


def _row(verdict: "ListedVerdict") -> tuple[str, ...]:
    entry, numbers = verdict.confirmatory, verdict.numbers
    about = verdict.protocol.title, verdict.protocol.protocol_id
    if entry is None:
        return *about, _without_verdict(verdict), "", "", "", "", ""
    effect, interval = effect_texts(numbers.effect, numbers.interval_low, numbers.interval_high)
    p = "" if numbers.p is None else shown_p(numbers.p)
    return *about, entry.verdict or "no verdict", effect, interval, p, str(entry.standing), entry.sha256[:8]


def _without_verdict(verdict: "ListedVerdict") -> str:
    """Of a protocol without a planned or declared analysis."""
    return f"only explored ({verdict.explorations})" if verdict.explorations else "not analysed"


def _paragraph(verdict: "ListedVerdict") -> str:
    """The verdict in a few words, and links to its pages."""
    entry, numbers, protocol_id = verdict.confirmatory, verdict.numbers, verdict.protocol.protocol_id
    if entry is None:
        return f"{_without_verdict(verdict)}. {_partition_link(next(iter(PROTOCOL_KINDS)), protocol_id)}"
    effect, interval = effect_texts(numbers.effect, numbers.interval_low, numbers.interval_high)
    effect = f", effect {effect} ({interval or 'no interval'})" if effect else ""
    p = f", p = {shown_p(numbers.p)}" if numbers.p is not None else ""
    links = [_partition_link(str(entry.analysis), protocol_id), f"[run](/runs/{entry.dagster_run_id})"]
    if entry.mlflow_url:
        links.append(f"[report in MLflow]({entry.mlflow_url})")
    return f"**{entry.verdict or 'no verdict'}**{effect}{p}, {entry.standing}. {', '.join(links)}"


def _partition_link(analysis: str, protocol_id: str) -> str:
    address = f"/assets/{PREFIX}/{analysis}?view=partitions&partition={quote(protocol_id, safe='')}"
    return f"[partition]({address})"
