"""Assemble the definitions for given settings: which assets, jobs, schedules and sensors each mode has."""

from collections.abc import Mapping

import dagster as dg

from americano_pipelines.analysis.registry import GROUP_KINDS, PROTOCOL_KINDS
from americano_pipelines.defs.analyses.assets import build_analyses
from americano_pipelines.defs.analyses.reconcile_sensor import build_run_outcome
from americano_pipelines.defs.analyses.request_sensor import build_analysis_requests
from americano_pipelines.defs.analyses.resources import MlflowResource, WarehouseResource
from americano_pipelines.defs.job_names import ANALYSES, DEEP_CHECK, GROUP_ANALYSES, NIGHTLY, PREFIX
from americano_pipelines.defs.jobs import DESCRIPTION, build_schedule
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.sync.arrival_sensor import build_parquet_arrival
from americano_pipelines.defs.sync.deep_check import build_deep_check, deep_check_schedule
from americano_pipelines.defs.sync.sync_job import EXECUTOR, sync_assets
from americano_pipelines.defs.verdict_table import verdicts_spec
from americano_pipelines.settings import Mode, Settings


def build_defs(settings: Settings, *, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """All definitions for these settings; what the UI starts is executed in one process too.

    Args:
        settings: the mode, the schedules and the resources.
        resources: resources in place of the default ones, by name (`mlflow`, `warehouse`).

    Raises:
        ConfigError: a setting is wrong, or duckdb and its Postgres extension do not belong together.
    """
    assets = sync_assets(settings)
    rows = dg.AssetSelection.checks(*asset_specs.ROW_CHECKS.values())
    job = dg.define_asset_job(NIGHTLY, selection=dg.AssetSelection.assets(*assets) - rows, description=DESCRIPTION)
    deep_check = dg.define_asset_job(
        DEEP_CHECK, selection=rows, description="Compare every row of the published file with the source."
    )
    protocol_analyses = dg.define_asset_job(
        ANALYSES,
        selection=dg.AssetSelection.assets(*(asset_specs.key(PREFIX, name) for name in PROTOCOL_KINDS)),
        description="Every analysis of a protocol.",
    )
    group_analyses = dg.define_asset_job(
        GROUP_ANALYSES,
        selection=dg.AssetSelection.assets(*(asset_specs.key(PREFIX, name) for name in GROUP_KINDS)),
        description="Every analysis of a group of protocols.",
    )
    default: dict[str, object] = {
        "mlflow": MlflowResource(settings=settings),
        "warehouse": WarehouseResource(settings=settings),
    }
    return dg.Definitions(
        assets=[
            *assets,
            *build_analyses(settings),
            verdicts_spec(),
            *([] if settings.mode is Mode.PARQUET else asset_specs.postgres_specs()),
        ],
        asset_checks=[build_deep_check(settings)],
        jobs=[job, deep_check, protocol_analyses, group_analyses],
        schedules=[build_schedule(settings), deep_check_schedule(settings)],
        sensors=[
            build_run_outcome(settings),
            *([build_analysis_requests(settings)] if settings.app is not None else []),
            *([build_parquet_arrival(settings)] if settings.mode is Mode.PARQUET else []),
        ],
        resources=default | dict(resources or {}),
        executor=EXECUTOR,
    )
