"""Assets `parquet/<table>` (postgres mode): one step, one snapshot of all tables.

https://docs.dagster.io/guides/build/assets/defining-assets#multi-asset
"""

from collections.abc import Iterator

import dagster as dg

from americano_pipelines import sql
from americano_pipelines.defs import specs
from americano_pipelines.defs.metadata import REPAIRED, Metadata, export_metadata, exported_again
from americano_pipelines.defs.previews import NO_ROWS
from americano_pipelines.defs.steps import SyncConfig, writing
from americano_pipelines.lake.export import Export, export
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.lineage import column_lineage


def build_exports(settings: Settings) -> dg.AssetsDefinition:
    """The exports for these settings."""

    @dg.multi_asset(name="parquet_exports", specs=specs.export_specs(), can_subset=True)
    def parquet_exports(context: dg.AssetExecutionContext, config: SyncConfig) -> Iterator[dg.MaterializeResult[None]]:
        with writing(context, settings) as stages:
            done = export(settings, stages, full=config.full)
            metadata = {name: _metadata(settings, done, name) for name in done.manifest.tables}
        for path in done.repaired:
            context.log.warning("%s", exported_again(path))
        for name, reason in done.manifest.skipped.items():
            context.log.warning("%s is skipped: %s", name, reason)
            if specs.key("parquet", name) in context.selected_asset_keys:
                yield specs.absent("parquet", name, reason)
        for name, table in done.manifest.tables.items():
            asset_key, changed = specs.key("parquet", name), name in done.written
            entries = {
                **metadata[name],
                "unchanged": not changed,
                "compared at": done.checked_at,
                REPAIRED: dg.MetadataValue.json(done.repaired),
                "seconds": dg.MetadataValue.json(stages.seconds),
            }
            if asset_key in context.selected_asset_keys:
                yield dg.MaterializeResult(
                    asset_key=asset_key, metadata=entries, data_version=dg.DataVersion(table.state_sha256)
                )
            elif changed:
                context.log_event(specs.reported(asset_key, entries, table.state_sha256))

    return parquet_exports


def _metadata(settings: Settings, done: Export, name: str) -> Metadata:
    table = done.manifest.tables[name]
    source = table.source_table(name)
    lineage = column_lineage(
        f"SELECT {source.projection} FROM {sql.quote('source', name)}",  # noqa: S608 - quoted identifiers
        {f"source.{name}": [column.name for column in table.columns]},
    )
    metadata = export_metadata(name, table, done.manifest, lineage, settings.lake_dir)
    metadata["preview"] = NO_ROWS
    return metadata
