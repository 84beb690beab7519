"""Assets `files/<table>` (parquet mode): exports made by others, observed by content hash in the nightly job.

They have keys of their own: a key that turns from materialized to observed leaves its children stale for ever.
https://docs.dagster.io/guides/build/assets/external-assets
"""

import warnings
from collections.abc import Iterator

import dagster as dg

from americano_pipelines.defs import specs
from americano_pipelines.defs.runs import sign
from americano_pipelines.defs.steps import failure
from americano_pipelines.engine import connect
from americano_pipelines.errors import AmericanoError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.files import find_files


def build_files(settings: Settings) -> dg.AssetsDefinition:
    """The observed files for these settings."""
    with warnings.catch_warnings():
        # Beta since 1.8; one step for four files, observed in the job, is not to be had otherwise.
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        observing = dg.multi_observable_source_asset(
            name="export_files", specs=specs.file_specs(settings), can_subset=True
        )

    def export_files(context: dg.AssetExecutionContext) -> Iterator[dg.ObserveResult]:
        sign(context.instance, context.run.run_id)
        try:
            with connect(settings) as connection:
                found, skipped = find_files(connection, settings)
        except AmericanoError as error:
            raise failure(error) from error
        for name, reason in skipped.items():
            context.log.warning("%s is skipped: %s", name, reason)
            if specs.key("files", name) in context.selected_asset_keys:
                # Observed as absent rather than left out, for the reason that `specs.absent` gives.
                yield dg.ObserveResult(
                    asset_key=specs.key("files", name), data_version=specs.ABSENT, metadata={"skipped": reason}
                )
        for name, table in found.items():
            if specs.key("files", name) in context.selected_asset_keys:
                yield dg.ObserveResult(
                    asset_key=specs.key("files", name),
                    data_version=dg.DataVersion(table.state_sha256),
                    metadata={
                        "files": len(table.files),
                        "bytes": sum(file.size for file in table.files),
                        "roles": dg.MetadataValue.json(dict(table.roles)),
                        "sha256": dg.MetadataValue.json({str(file.path): file.sha256 for file in table.files}),
                    },
                )

    observed: dg.AssetsDefinition = observing(export_files)
    return observed
