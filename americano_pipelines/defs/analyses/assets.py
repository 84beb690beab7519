"""Assets `analysis/<kind>`: one analysis of one protocol a partition, recorded and linked to the app's row.

https://docs.dagster.io/guides/build/assets/defining-assets
"""

import warnings
from typing import TYPE_CHECKING

import dagster as dg

from americano_pipelines.analysis.registry import KINDS, Kind
from americano_pipelines.app_database.matching import merge_parameters
from americano_pipelines.defs.analyses.analysis_metadata import analysis_metadata
from americano_pipelines.defs.analyses.app_row import claimed_row, complete_row, created_row
from americano_pipelines.defs.analyses.config import ROW_FIELD, given_parameters, launchpad
from americano_pipelines.defs.analyses.resources import MlflowResource, WarehouseResource
from americano_pipelines.defs.jobs import PREFIX
from americano_pipelines.defs.protocol_partitions import PROTOCOLS
from americano_pipelines.defs.step_errors import step_errors
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.provenance.capture import RunContext
from americano_pipelines.provenance.record import sha256_of
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import one_line

if TYPE_CHECKING:
    from americano_pipelines.provenance.perform import PreparedAnalysis


UPSTREAM = (("research", "protocols"), ("research", "phases"), ("analytics", "behavioral_events"))
# On a run that a command of ours launched: the command.
COMMAND_TAG = "americano/command"
# Tags by which Dagster marks what launched a run.
_LAUNCHERS = ("dagster/schedule_name", "dagster/sensor_name", "dagster/backfill")


def build_analyses(settings: Settings) -> list[dg.AssetsDefinition]:
    """The analyses of a protocol for these settings."""
    return [_build(settings, kind) for kind in KINDS.values()]


def _build(settings: Settings, kind: Kind) -> dg.AssetsDefinition:
    def carry_out(
        context: dg.AssetExecutionContext, config: dg.Config, mlflow: MlflowResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult[None]:
        from americano_pipelines.provenance.perform import prepare

        requested_row: str | None = getattr(config, ROW_FIELD)
        with step_errors(context), claimed_row(context, settings, requested_row) as request:
            values = merge_parameters(request, given_parameters(config)) if request else given_parameters(config)
            with warehouse.reading() as (connection, document):
                prepared = prepare(settings, connection, document, context.partition_key, kind.name, values)
            return _carried_out(context, settings, mlflow, prepared, requested_row)

    # Dagster reads the config's class off the annotation, and a class that is made cannot be written there.
    carry_out.__annotations__["config"] = launchpad(f"{kind.name.title().replace('_', '')}Config", kind.parameters)
    with warnings.catch_warnings():
        # Beta, yet stated: each partition of a backfill is a run of its own, as each analysis is an MLflow run.
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        decorator = dg.asset(
            key=asset_specs.key(PREFIX, kind.name),
            deps=[asset_specs.key(*parts) for parts in UPSTREAM],
            partitions_def=PROTOCOLS,
            description=f"{kind.description} A partition is a protocol; each materialization is one AnalysisRun and "
            "one MLflow run.",
            group_name=PREFIX,
            kinds={"python", "mlflow"},
            owners=[asset_specs.Owner.RESEARCH.value],
            tags={"layer": PREFIX},
            backfill_policy=dg.BackfillPolicy.multi_run(),
        )
    return decorator(carry_out)


def _carried_out(
    context: dg.AssetExecutionContext,
    settings: Settings,
    mlflow: MlflowResource,
    prepared: "PreparedAnalysis",
    requested_row: str | None,
) -> dg.MaterializeResult[None]:
    from americano_pipelines.provenance.perform import perform

    kind, protocol = prepared.kind, prepared.extract.protocol
    title = f"{protocol.name or protocol.protocol_id}: {kind.title}"
    with created_row(context, settings, kind, prepared.parameters, title, requested_row) as row_id:
        task = RunContext(
            dagster_run_id=context.run.run_id,
            asset_key=context.asset_key.to_user_string(),
            partition=context.partition_key,
            actor=actor(context.run),
            analysis_run_id=row_id,
            # The contract and the statements that the published file was built by are the code of its tables.
            code_versions=dict.fromkeys(map("/".join, UPSTREAM), prepared.document.content.models_sha256),
        )
        known = {"analysis_run_id": row_id, "dagster.asset_key": task.asset_key, "dagster.partition": task.partition}
        with mlflow.analysis(title, known) as run:
            performed = perform(run, settings, prepared, task)
    context.log.info("%s", one_line(performed.analysis.sentence))
    linked = complete_row(context, settings, row_id, performed.recorded.record)
    return dg.MaterializeResult(
        metadata=analysis_metadata(performed, linked),
        data_version=dg.DataVersion(sha256_of(performed.analysis.results)),
    )


def actor(run: dg.DagsterRun) -> str:
    """What launched a run, as far as Dagster knows: a person is known by nothing but that it was nothing else."""
    if run.parent_run_id is not None:  # it has the tags of that run, and not its launcher
        return f"a person, who had Dagster run {run.parent_run_id} executed again"
    if COMMAND_TAG in run.tags:
        return run.tags[COMMAND_TAG]
    launchers = [
        f"{tag.removeprefix('dagster/').removesuffix('_name')} {run.tags[tag]}" for tag in _LAUNCHERS if tag in run.tags
    ]
    return launchers[0] if launchers else "a person, in the UI or by a command of Dagster's"
