"""Assets `analysis/<kind>`: analyses that are recorded and linked to the app's rows.

https://docs.dagster.io/guides/build/assets/defining-assets
"""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import dagster as dg

from americano_pipelines.analysis.registry import KINDS, Kind, Scope
from americano_pipelines.app_database.matching import merge_parameters
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.defs.analyses.analysis_metadata import analysis_metadata, hashes_of_partition
from americano_pipelines.defs.analyses.app_row import claimed_row, complete_row, created_row
from americano_pipelines.defs.analyses.config import given_parameters, launchpad, launchpad_yaml
from americano_pipelines.defs.analyses.resources import MlflowResource, WarehouseResource
from americano_pipelines.defs.job_names import NAME_FIELD, PREFIX, ROW_FIELD
from americano_pipelines.defs.jobs import EXPERIMENTS
from americano_pipelines.defs.protocol_partitions import GROUPS, PROTOCOLS
from americano_pipelines.defs.run_tags import COMMAND_TAG, LAUNCHER_TAGS, PROTOCOL_NAME_TAG
from americano_pipelines.defs.step_errors import step_errors
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.verdict_table import VERDICTS_KEY, report_verdicts
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.mlflow_store.runs import ASSET_TAG, PROTOCOL_TAG, SOURCE_TAG
from americano_pipelines.provenance.capture import RunContext
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import markdown_block, one_line

if TYPE_CHECKING:
    from americano_pipelines.provenance.preparation import PreparedAnalysis


_PARTITIONS: dict[Scope, dg.DynamicPartitionsDefinition] = {"protocol": PROTOCOLS, "group": GROUPS}


def build_analyses(settings: Settings) -> list[dg.AssetsDefinition]:
    """The assets of all kinds of analyses for these settings."""
    return [build_analysis(settings, kind) for kind in KINDS.values()]


def build_analysis(settings: Settings, kind: Kind) -> dg.AssetsDefinition:
    """The asset of a kind of analysis, with a partition for each protocol or group where it is of these."""
    with warnings.catch_warnings():
        # Beta, yet stated: each partition of a backfill is a run of its own, as each analysis is an MLflow run.
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        decorator = dg.asset(
            key=asset_specs.key(PREFIX, kind.name),
            deps=[*(dg.AssetKey(key.split("/")) for key in kind.assets), *map(_recorded_analysis, kind.combines)],
            partitions_def=_PARTITIONS.get(kind.scope),
            description=_description(kind),
            group_name=EXPERIMENTS,
            code_version=kind.version,
            kinds={"python", "mlflow", *kind.libraries},
            owners=[asset_specs.Owner.RESEARCH.value],
            tags={"layer": PREFIX},
            backfill_policy=dg.BackfillPolicy.multi_run() if kind.scope in _PARTITIONS else None,
        )
    return decorator(_step(settings, kind, launchpad(kind)))


def _recorded_analysis(name: str) -> dg.AssetDep:
    """The edge to an analysis whose records are read, of no partition.

    Only the published file knows which protocols a group has. Over all partitions the group's result would become stale
    with each analysis of any protocol, also with an exploratory one, which changes nothing of it.
    """
    return dg.AssetDep(asset_specs.key(PREFIX, name), partition_mapping=dg.SpecificPartitionsPartitionMapping([]))


def _description(kind: Kind) -> str:
    """What the analysis does, how its partitions are found by name, and the parameters to copy."""
    key, name = asset_specs.key(PREFIX, kind.name), VERDICTS_KEY.to_user_string()
    of_protocol = (
        f"A partition is a protocol, by its id; [{name}](/assets/{name}) lists the ids by name. Each "
        "materialization is one AnalysisRun and one MLflow run. A protocol that has ended is not analysed by itself: "
        "materialize its partition, run `americano analyse`, or request it in the app. A planned verdict is never "
        "changed by another analysis.\n\n"
    )
    of_group = (
        "A partition is a group of protocols, by the key that their phases declare in "
        "`interventionParams.analysis.group`. Each materialization is one MLflow run; the app has no rows of groups. "
        "Materialize its partition, or run `americano analyse`. A planned verdict is never changed by another "
        "analysis.\n\n"
    )
    partitions = {"protocol": of_protocol, "group": of_group}.get(kind.scope, "")
    yaml = markdown_block(launchpad_yaml(kind, "__".join(key.path)), "yaml")
    return f"{kind.description}\n\n{partitions}Parameters, to copy into the launchpad and change there:\n\n{yaml}"


def _step(settings: Settings, kind: Kind, config_class: type[dg.Config]) -> Callable[..., dg.MaterializeResult[None]]:
    # Dagster reads the config's class from the annotation, which mypy does not accept of a variable.
    def analysis(
        context: dg.AssetExecutionContext,
        config: config_class,  # type: ignore[valid-type]
        mlflow: MlflowResource,
        warehouse: WarehouseResource,
    ) -> dg.MaterializeResult[None]:
        from americano_pipelines.provenance.preparation import prepare

        requested_row: str | None = getattr(config, ROW_FIELD, None)
        with step_errors(context), claimed_row(context, settings.app, requested_row) as request:
            overrides = given_parameters(config)
            if request is not None:
                overrides = merge_parameters(request, overrides)
            with warehouse.reading() as (connection, document):
                prepared = prepare(settings, connection, document, kind, _partition(context, kind), overrides)
            if (title := prepared.extract.title) is not None:
                context.instance.add_run_tags(context.run.run_id, {PROTOCOL_NAME_TAG: one_line(title)})
            run_name = getattr(config, NAME_FIELD, prepared.title)
            return _perform(context, settings, mlflow, prepared, run_name, requested_row)

    return analysis


def _partition(context: dg.AssetExecutionContext, kind: Kind) -> str | None:
    """The protocol's id or the group's key; None of an analysis of all learners."""
    return context.partition_key if kind.scope in _PARTITIONS else None


def _perform(
    context: dg.AssetExecutionContext,
    settings: Settings,
    mlflow: MlflowResource,
    prepared: "PreparedAnalysis",
    run_name: str,
    requested_row: str | None,
) -> dg.MaterializeResult[None]:
    from americano_pipelines.provenance.perform import perform
    from americano_pipelines.provenance.verdict_listing import confirmatory_entry

    kind, partition = prepared.kind, _partition(context, prepared.kind)
    with created_row(context, settings.app, kind, prepared.parameters, run_name, requested_row) as row_id:
        run_context = RunContext(
            dagster_run_id=context.run.run_id,
            asset_key=context.asset_key.to_user_string(),
            partition=partition,
            actor=actor(context.run),
            analysis_run_id=row_id,
            # The contracts and statements that the published file was built by are the code of its tables.
            code_versions=dict.fromkeys(kind.assets, prepared.document.content.models_sha256),
            recorded_before=frozenset()
            if partition is None
            else hashes_of_partition(context.instance, kind.scope, partition),
        )
        tags = {
            "analysis_run_id": row_id,
            ASSET_TAG: run_context.asset_key,
            PROTOCOL_TAG: run_context.partition,
            SOURCE_TAG: run_context.asset_key,
        }
        with mlflow.analysis(run_name, tags) as run:
            performed = perform(run, settings, prepared, run_context)
    context.log.info("%s", one_line(performed.analysis.sentence))
    app_row = complete_row(context, settings.app, row_id, performed.recorded.record)
    confirmatory = None
    if performed.compliance is not None:
        _report_verdicts(context, settings)
        exploratory = performed.compliance.label == "exploratory"
        column: Literal["protocol_id", "group_key"] = "group_key" if kind.scope == "group" else "protocol_id"
        confirmatory = confirmatory_entry(settings.paths, column, context.partition_key) if exploratory else None
    return dg.MaterializeResult(
        metadata=analysis_metadata(performed, confirmatory, app_row, settings.americano_api_url),
        data_version=dg.DataVersion(sha256_hex(canonical_json(performed.analysis.results))),
    )


def _report_verdicts(context: dg.AssetExecutionContext, settings: Settings) -> None:
    """Bring the asset of all verdicts up to date; the analysis is recorded, so an error is only logged."""
    try:
        report_verdicts(settings, context.instance)
    except WarehouseUnavailableError as error:
        context.log.warning(
            "%s is as before, until the next analysis or sync: %s", VERDICTS_KEY.to_user_string(), error
        )


def actor(run: dg.DagsterRun) -> str:
    """What launched a run, as far as Dagster knows; without a launcher it was a person."""
    if run.parent_run_id is not None:  # such a run has the tags of the first run, but not its launcher
        return f"a person, who had Dagster run {run.parent_run_id} executed again"
    if COMMAND_TAG in run.tags:
        return run.tags[COMMAND_TAG]
    launchers = [
        f"{tag.removeprefix('dagster/').removesuffix('_name')} {run.tags[tag]}"
        for tag in LAUNCHER_TAGS
        if tag in run.tags
    ]
    return launchers[0] if launchers else "a person, in the UI or by a command of Dagster's"
