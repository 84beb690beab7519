"""Assemble the nightly job: the assets of the configured mode, and the job that materializes them."""

import dagster as dg

from americano_pipelines.common.duckdb_session import check_extension
from americano_pipelines.defs.job_names import NIGHTLY
from americano_pipelines.defs.jobs import DESCRIPTION
from americano_pipelines.defs.sync.source_assets import build_exports, build_files
from americano_pipelines.defs.sync.warehouse_assets import build_tables
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.column_roles import check_overrides

# DuckDB uses every core by itself, and a process per step costs more than the step: an empty job of two assets takes
# 7 s in one process and 18 s with a process per step.
EXECUTOR = dg.in_process_executor


def sync_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The assets that the nightly job materializes, in the order of its steps.

    Raises:
        ConfigError: a setting is wrong, or duckdb and its Postgres extension do not belong together.
    """
    check_overrides(settings.americano_columns)
    check_extension()
    tables = build_tables(settings)
    before = {Mode.PARQUET: build_files, Mode.POSTGRES: build_exports}.get(settings.mode)
    return [tables] if before is None else [before(settings), tables]


def nightly_job(settings: Settings) -> dg.JobDefinition:
    """The nightly job alone, for a shell: the analyses are not loaded.

    Raises:
        ConfigError: as `sync_assets`.
    """
    assets = sync_assets(settings)
    job = dg.define_asset_job(NIGHTLY, selection=dg.AssetSelection.assets(*assets), description=DESCRIPTION)
    return dg.Definitions(assets=assets, jobs=[job], executor=EXECUTOR).resolve_job_def(NIGHTLY)
