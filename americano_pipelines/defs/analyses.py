"""Assets `analysis/<kind>`: one analysis of one protocol a partition, recorded in MLflow and linked to the app's row.

Here belongs what Dagster is told of them. What is computed is `analysis/`, how it is recorded `tracking/`.
https://docs.dagster.io/guides/build/assets/defining-assets
"""

from typing import TYPE_CHECKING

import dagster as dg

from americano_pipelines.analysis.catalog import KINDS, Kind
from americano_pipelines.defs import specs
from americano_pipelines.defs.analysis_metadata import analysis_metadata
from americano_pipelines.defs.launchpad import ROW_FIELD, given, launchpad
from americano_pipelines.defs.linking import complete_row, made_row, taken_row
from americano_pipelines.defs.partitions import PROTOCOLS
from americano_pipelines.defs.steps import telling_failures
from americano_pipelines.defs.warehouse_resource import reading
from americano_pipelines.settings import Settings
from americano_pipelines.text import one_line
from americano_pipelines.tracking.asked import with_asked
from americano_pipelines.tracking.record import sha256_of
from americano_pipelines.tracking.surroundings import Task

if TYPE_CHECKING:
    from americano_pipelines.tracking.perform import Prepared

ANALYSES = "analyses"
PREFIX = "analysis"
UPSTREAM = (("research", "protocols"), ("research", "phases"), ("analytics", "behavioral_events"))
# On a run that a command of ours launched: the command.
COMMAND_TAG = "americano/command"
# Tags by which Dagster marks what launched a run.
_LAUNCHERS = ("dagster/schedule_name", "dagster/sensor_name", "dagster/backfill")


def build_analyses(settings: Settings) -> list[dg.AssetsDefinition]:
    """The analyses of a protocol for these settings."""
    return [_build(settings, kind) for kind in KINDS.values()]


def _build(settings: Settings, kind: Kind) -> dg.AssetsDefinition:
    def carry_out(context: dg.AssetExecutionContext, config: dg.Config) -> dg.MaterializeResult[None]:
        from americano_pipelines.tracking.perform import prepare

        asked: str | None = getattr(config, ROW_FIELD)
        with telling_failures(context), taken_row(context, settings, asked) as request:
            values = with_asked(request, given(config)) if request else given(config)
            with reading(settings, context.resources.warehouse) as (connection, document):
                prepared = prepare(settings, connection, document, context.partition_key, kind.name, values)
            return _carried_out(context, settings, prepared, asked)

    # Dagster reads the config's class off the annotation, and a class that is made cannot be written there.
    carry_out.__annotations__["config"] = launchpad(f"{kind.name.title().replace('_', '')}Config", kind.parameters)
    return dg.asset(
        key=specs.key(PREFIX, kind.name),
        deps=[specs.key(*parts) for parts in UPSTREAM],
        partitions_def=PROTOCOLS,
        description=f"{kind.description} A partition is a protocol; each materialization is one AnalysisRun and one "
        "MLflow run.",
        group_name=PREFIX,
        kinds={"python", "mlflow"},
        owners=[specs.Owner.RESEARCH.value],
        tags={"layer": PREFIX},
        required_resource_keys={"mlflow", "warehouse"},
    )(carry_out)


def _carried_out(
    context: dg.AssetExecutionContext, settings: Settings, prepared: "Prepared", asked: str | None
) -> dg.MaterializeResult[None]:
    from americano_pipelines.tracking.perform import perform

    kind, protocol = prepared.kind, prepared.extract.protocol
    title = f"{protocol.name or protocol.protocol_id}: {kind.title}"
    with made_row(context, settings, kind, prepared.parameters, title, asked) as row_id:
        task = Task(
            dagster_run_id=context.run.run_id,
            asset_key=context.asset_key.to_user_string(),
            partition=context.partition_key,
            actor=actor(context.run),
            analysis_run_id=row_id,
            # The contract and the statements that the published file was built by are the code of its tables.
            code_versions=dict.fromkeys(map("/".join, UPSTREAM), prepared.document.content.models_sha256),
        )
        known = {"analysis_run_id": row_id, "dagster.asset_key": task.asset_key, "dagster.partition": task.partition}
        with context.resources.mlflow.analysis(title, known) as run:
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
