"""Assets `parquet/<table>` (postgres mode) and `files/<table>` (parquet mode).

Files that others make have keys of their own: a key that turns from materialized to observed leaves its children
stale for ever.

https://docs.dagster.io/guides/build/assets/defining-assets#multi-asset

https://docs.dagster.io/guides/build/assets/external-assets
"""

import os
import warnings
from collections.abc import Iterator, Sequence

import dagster as dg

from americano_pipelines.common.duckdb_session import connect
from americano_pipelines.defs.run_processes import tag_process
from americano_pipelines.defs.run_tags import REPAIRED, SECONDS, SKIPPED, UNCHANGED
from americano_pipelines.defs.step_errors import SyncConfig, failure, sync_step
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.sync.table_metadata import NO_ROWS, Metadata, export_metadata, exported_again
from americano_pipelines.errors import AmericanoError
from americano_pipelines.lake.export import Export, export
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.sources.parquet_files import InputFile, find_files
from americano_pipelines.text_output import visible
from americano_pipelines.warehouse.column_lineage import mirror_lineage


def build_exports(settings: Settings) -> dg.AssetsDefinition:
    """The exports for these settings."""

    @dg.multi_asset(name="parquet_exports", specs=asset_specs.export_specs(settings), can_subset=True)
    def parquet_exports(context: dg.AssetExecutionContext, config: SyncConfig) -> Iterator[dg.MaterializeResult[None]]:
        with sync_step(context, settings) as stages:
            result = export(settings, stages, full=config.full)
            metadata = {name: _metadata(settings.paths, result, name) for name in result.manifest.tables}
        for path in result.repaired:
            context.log.warning("%s", exported_again(path))
        for name, reason in result.manifest.skipped.items():
            context.log.warning("%s is skipped: %s", name, visible(reason))
            if asset_specs.key("parquet", name) in context.selected_asset_keys:
                yield asset_specs.absent("parquet", name, reason)
        for name, table in result.manifest.tables.items():
            asset_key, changed = asset_specs.key("parquet", name), name in result.written
            entries = {
                **metadata[name],
                UNCHANGED: not changed,
                "compared at": result.checked_at,
                **({REPAIRED: dg.MetadataValue.json(result.repaired)} if result.repaired else {}),
                SECONDS: dg.MetadataValue.json(stages.seconds),
            }
            if asset_key in context.selected_asset_keys:
                yield dg.MaterializeResult(
                    asset_key=asset_key, metadata=entries, data_version=dg.DataVersion(table.state_sha256)
                )
            elif changed:
                context.log_event(asset_specs.reported(asset_key, entries, table.state_sha256))

    return parquet_exports


def _metadata(paths: DataFolder, result: Export, name: str) -> Metadata:
    table = result.manifest.tables[name]
    lineage = mirror_lineage(table.source_table(name))
    metadata = export_metadata(name, table, result.manifest, lineage, paths)
    metadata["preview"] = NO_ROWS
    return metadata


def _hashes(files: Sequence[InputFile]) -> dict[str, str]:
    """Beginnings of the hashes of files by their paths below the folder that has them all; whole ones are too wide."""
    folder = os.path.commonpath([file.path.parent for file in files])
    return {str(file.path.relative_to(folder)): file.sha256[:12] for file in files}


def build_files(settings: Settings) -> dg.AssetsDefinition:
    """The observed files for these settings."""
    with warnings.catch_warnings():
        # Beta since 1.8; there is no other way to observe four files in one step of the job.
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        observing = dg.multi_observable_source_asset(
            name="export_files", specs=asset_specs.file_specs(settings), can_subset=True
        )

    def export_files(context: dg.AssetExecutionContext) -> Iterator[dg.ObserveResult]:
        tag_process(context.instance, context.run.run_id)
        try:
            with connect(settings) as connection:
                tables, skipped = find_files(connection, settings)
        except AmericanoError as error:
            raise failure(error) from error
        for name, reason in skipped.items():
            context.log.warning("%s is skipped: %s", name, visible(reason))
            if asset_specs.key("files", name) in context.selected_asset_keys:
                # Observed as absent instead of left out: see `asset_specs.absent`.
                yield dg.ObserveResult(
                    asset_key=asset_specs.key("files", name),
                    data_version=asset_specs.ABSENT,
                    metadata={SKIPPED: reason},
                )
        for name, table in tables.items():
            if asset_specs.key("files", name) in context.selected_asset_keys:
                yield dg.ObserveResult(
                    asset_key=asset_specs.key("files", name),
                    data_version=dg.DataVersion(table.state_sha256),
                    metadata={
                        "files": len(table.files),
                        "bytes": sum(file.size for file in table.files),
                        "roles": dg.MetadataValue.json(dict(table.roles)),
                        "sha256": dg.MetadataValue.json(_hashes(table.files)),
                    },
                )

    observed: dg.AssetsDefinition = observing(export_files)
    return observed
