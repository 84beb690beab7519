"""Assets `analytics/<table>` and `research/<model>`: one step builds, reconciles, checks and publishes them.

Selecting one refreshes everything that changed, as one snapshot: a published file never mixes instants. Assets that
were refreshed without being selected are reported as well.

https://docs.dagster.io/guides/test/asset-checks
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.defs.protocol_partitions import sync_group_partitions, sync_protocol_partitions
from americano_pipelines.defs.run_tags import NEW_SNAPSHOT, REPAIRED, SECONDS, SKIPPED, UNCHANGED
from americano_pipelines.defs.step_errors import SyncConfig, sync_step
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.sync.table_metadata import (
    NO_ROWS,
    OVER_ALL_LEARNERS,
    Metadata,
    exported_again,
    markdown_table,
    model_metadata,
    short_path,
    table_metadata,
)
from americano_pipelines.errors import AmericanoError, LakeDamagedError, WarehouseUnavailableError
from americano_pipelines.lake.export import export
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import visible
from americano_pipelines.warehouse.refresh import RefreshResult, refresh
from americano_pipelines.warehouse.snapshot_record import CheckOutcome
from americano_pipelines.warehouse.snapshots import open_published, preview

# More damaged files than this mean a broken disk, which a person should see.
MAX_REPAIRS = 20

Results = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]


def build_tables(settings: Settings) -> dg.AssetsDefinition:
    """The published tables for these settings."""
    upstream = asset_specs.UPSTREAM_OF_TABLES[settings.mode]

    @dg.multi_asset(
        name="warehouse",
        specs=asset_specs.table_specs(settings),
        check_specs=asset_specs.check_specs(),
        can_subset=True,
    )
    def warehouse(context: dg.AssetExecutionContext, config: SyncConfig) -> Results:
        with sync_step(context, settings) as stages:
            outcome, repaired = _refreshed(context, settings, stages, full=config.full)
            entries = _entries(settings, outcome, upstream) if outcome.path else {}
            _keep_partitions(context, settings, outcome)
        _report_skipped(context, outcome)
        if outcome.path is None:
            # Dagster does not stop the body at a failed blocking check, so it raises after the results.
            yield from _checks(context, outcome)
            failures = "\n".join(f"{check.table}, {check.name}: {check.description}" for check in outcome.blocked_by)
            raise dg.Failure(f"nothing was published, for these checks failed:\n{failures}", allow_retries=False)
        for asset_key, (metadata, state) in entries.items():
            metadata |= {
                UNCHANGED: outcome.before.get(".".join(asset_key.path)) == state,
                NEW_SNAPSHOT: outcome.changed,
                **({REPAIRED: dg.MetadataValue.json(repaired)} if repaired else {}),
                SECONDS: dg.MetadataValue.json(stages.seconds),
            }
            if asset_key in context.selected_asset_keys:
                yield dg.MaterializeResult(asset_key=asset_key, metadata=metadata, data_version=dg.DataVersion(state))
            elif outcome.changed:
                context.log_event(asset_specs.reported(asset_key, metadata, state))
        yield from _checks(context, outcome)

    return warehouse


def _refreshed(
    context: dg.AssetExecutionContext, settings: Settings, stages: StageTimer, *, full: bool
) -> tuple[RefreshResult, list[str]]:
    """Refresh; if a file of the lake is damaged, export it again first, with a warning."""
    may_remove = partial(_keep_findings, context, settings)
    repaired: list[str] = []
    while True:
        try:
            return refresh(settings, stages, full=full, may_remove=may_remove), repaired
        except LakeDamagedError as error:
            if len(repaired) == MAX_REPAIRS:
                raise
            repaired.append(error.path.relative_to(settings.paths.lake).as_posix())
            context.log.warning("%s", exported_again(repaired[-1]))
            error.path.unlink(missing_ok=True)
            export(settings, stages)


def _keep_findings(context: dg.AssetExecutionContext, settings: Settings, folder: Path) -> bool:
    """Compare the extracts of a snapshot that expires with its rows; without a finding of each it stays."""
    from americano_pipelines.provenance.verify.source_data import keep_findings

    try:
        kept = keep_findings(settings, folder)
    except (OSError, duckdb.Error, AmericanoError) as error:
        context.log.warning("snapshot %s stays until its extracts can be compared with it: %s", folder.name, error)
        return False
    context.log.info("%d extracts were compared with snapshot %s, which expires", kept, folder.name)
    return True


def _entries(settings: Settings, outcome: RefreshResult, upstream: str) -> dict[dg.AssetKey, tuple[Metadata, str]]:
    """Metadata and data version of every asset in the published file."""
    document = outcome.document
    entries: dict[dg.AssetKey, tuple[Metadata, str]] = {}
    for name, table in document.tables.items():
        metadata = table_metadata(name, table, document, upstream)
        entries[asset_specs.key("analytics", name)] = metadata, table.state_sha256
    for name, model in document.models.items():
        metadata = model_metadata(name, model, document, upstream)
        entries[asset_specs.key("research", name)] = metadata, model.state_sha256
    try:
        with open_published(settings, wait_seconds=0) as connection:
            previews = {asset_key: _preview(connection, asset_key) for asset_key in entries}
    except WarehouseUnavailableError as error:
        # A process holds the published file read-write; the sync is complete all the same.
        previews = dict.fromkeys(entries, dg.MetadataValue.text(f"not shown: {error}"))
    path = short_path(outcome.path or settings.paths.published, settings.paths.root)
    return {
        asset_key: ({"preview": previews[asset_key], **metadata, "path": path}, state)
        for asset_key, (metadata, state) in entries.items()
    }


def _keep_partitions(context: dg.AssetExecutionContext, settings: Settings, outcome: RefreshResult) -> None:
    """Keep a partition and a verdict for each published protocol.

    The partitions also when nothing new was published, for they may have been wiped; the verdicts, which take longer,
    only if there are none.
    """
    if "protocols" not in outcome.document.models:
        return
    from americano_pipelines.defs.verdict_table import has_report, report_verdicts

    try:
        with open_published(settings, wait_seconds=0) as connection:
            added, removed = sync_protocol_partitions(context.instance, connection)
            sync_group_partitions(context.instance, connection)
        if outcome.changed or not has_report(context.instance):
            report_verdicts(settings, context.instance)
    except WarehouseUnavailableError as error:
        context.log.warning("the partitions and verdicts of the protocols were left as they are: %s", error)
        return
    if added or removed:
        context.log.info("partitions: %d protocols added, %d removed", len(added), len(removed))


def _preview(connection: duckdb.DuckDBPyConnection, asset_key: dg.AssetKey) -> dg.MetadataValue:
    """The newest rows of a table over all learners; if they cannot be read, the run goes on: the file is published."""
    prefix, name = asset_key.path
    if asset_key not in OVER_ALL_LEARNERS:
        return dg.MetadataValue.text(NO_ROWS)
    try:
        header, rows = preview(connection, f"{sql.quote(prefix, name)} ORDER BY ALL DESC")
    except duckdb.Error as error:
        return dg.MetadataValue.text(f"not shown: {error}")
    return dg.MetadataValue.md(markdown_table(header, rows))


def _report_skipped(context: dg.AssetExecutionContext, outcome: RefreshResult) -> None:
    skipped = dict(outcome.document.skipped)
    for name, reason in outcome.missing.items():
        carried = name in outcome.document.tables
        skipped[f"analytics.{name}"] = f"{reason}; the rows published before were kept" if carried else reason
    for dotted, reason in skipped.items():
        context.log.warning("%s is skipped: %s", dotted, visible(reason))
        context.log_event(dg.AssetObservation(asset_specs.key_of(dotted, ""), metadata={SKIPPED: reason}))


def _checks(context: dg.AssetExecutionContext, outcome: RefreshResult) -> Iterator[dg.AssetCheckResult]:
    for check in outcome.document.checks:
        asset_key = asset_specs.key("analytics", check.table)
        if dg.AssetCheckKey(asset_key, check.name) in context.selected_asset_check_keys:
            yield _check_result(asset_key, check, outcome)


def _check_result(asset_key: dg.AssetKey, check: CheckOutcome, outcome: RefreshResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=check.name,
        passed=check.passed,
        severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
        description=check.description,
        metadata={**check.figures, "evaluated on snapshot": outcome.document.snapshot_id},
    )
