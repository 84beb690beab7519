"""Asset `analysis/training_demo`: train the demo's model and register it.

https://docs.dagster.io/guides/operate/configuration/run-configuration
"""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from americano_pipelines.analysis.training.training_parameters import NAME, TrainingParameters
from americano_pipelines.defs.analyses.analysis_metadata import pictures, recorded_metadata
from americano_pipelines.defs.analyses.app_row import claimed_row, complete_row
from americano_pipelines.defs.analyses.assets import actor
from americano_pipelines.defs.analyses.resources import MlflowResource, WarehouseResource
from americano_pipelines.defs.jobs import PREFIX
from americano_pipelines.defs.step_errors import step_errors
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.defs.sync.table_metadata import Metadata
from americano_pipelines.mlflow_store.registered_models import CANDIDATE
from americano_pipelines.provenance.capture import RunContext, capture_context
from americano_pipelines.provenance.record import sha256_of
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS

if TYPE_CHECKING:
    from americano_pipelines.provenance.training_run import PerformedTraining


_UPSTREAM = asset_specs.key("analytics", EVENTS.name)


class TrainingConfig(TrainingParameters, dg.Config):
    """The launchpad's form: the parameters, and what the run is called."""

    run_name: str = Field(default=NAME, min_length=1, description="Name of the MLflow run.")
    analysis_run_id: str | None = Field(
        default=None, description="Id of the app's AnalysisRun row to take and complete; it must be PENDING."
    )

    @property
    def parameters(self) -> TrainingParameters:
        """What the training itself is asked for."""
        return TrainingParameters(**{name: getattr(self, name) for name in TrainingParameters.model_fields})


def build_training_demo(settings: Settings) -> dg.AssetsDefinition:
    """The asset for these settings."""

    @dg.asset(
        key=asset_specs.key(PREFIX, NAME),
        deps=[_UPSTREAM],
        description="Predicts from what was known before it whether a score will be high, and says how much "
        "better that is than knowing nothing. The model is registered in MLflow.",
        group_name=PREFIX,
        kinds={"python", "scikitlearn", "mlflow"},
        owners=[asset_specs.Owner.RESEARCH.value],
        tags={"layer": PREFIX},
    )
    def training_demo(
        context: dg.AssetExecutionContext, config: TrainingConfig, mlflow: MlflowResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult[None]:
        # Not above: numpy comes with it, and the definitions are loaded by every process of Dagster.
        from americano_pipelines.analysis.training.data import read_training_data
        from americano_pipelines.provenance.training_run import perform_training

        row_id = config.analysis_run_id
        with step_errors(context), claimed_row(context, settings, row_id):
            captured = capture_context()
            with warehouse.reading() as (connection, document):
                data = read_training_data(connection, settings, document)
            task = RunContext(
                dagster_run_id=context.run.run_id,
                asset_key=context.asset_key.to_user_string(),
                partition=None,
                actor=actor(context.run),
                analysis_run_id=row_id,
                code_versions={_UPSTREAM.to_user_string(): document.content.models_sha256},
            )
            known = {"analysis_run_id": row_id, "dagster.asset_key": task.asset_key}
            with mlflow.analysis(config.run_name, known) as run:
                done = perform_training(
                    run,
                    settings,
                    data=data,
                    document=document,
                    task=task,
                    captured=captured,
                    parameters=config.parameters,
                )
        context.log.info("%s", done.trained.sentence)
        linked = complete_row(context, settings, row_id, done.recorded.record)
        return dg.MaterializeResult(
            metadata={**_metadata(done), "link": linked}, data_version=dg.DataVersion(sha256_of(done.trained.results))
        )

    return training_demo


def _metadata(done: "PerformedTraining") -> Metadata:
    trained, registered = done.trained, done.registered
    return {
        "sentence": trained.sentence,
        **trained.numbers,
        **pictures({name: content for name, content in trained.files.items() if name.endswith(".png")}),
        "details": dg.MetadataValue.json(trained.results),
        "model": registered.name,
        "model version": registered.version,
        "model alias": CANDIDATE,
        **recorded_metadata(done.recorded.record, done.recorded.sha256),
    }
