"""Carry out the training demo: model, record, alias, in this order.

The alias `candidate` thus never names a model whose training is not recorded.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from americano_pipelines.analysis.training.data import MAX_ROWS, TrainingData, training_statement
from americano_pipelines.analysis.training.model import VERSION, Trained, train
from americano_pipelines.analysis.training.training_parameters import NAME, TrainingParameters
from americano_pipelines.mlflow_store.registered_models import MODEL, RegisteredModel, log_model, make_candidate
from americano_pipelines.mlflow_store.runs import AnalysisRun
from americano_pipelines.provenance.capture import CapturedContext, RunContext
from americano_pipelines.provenance.record import Input, sha256_of
from americano_pipelines.provenance.recorder import AnalysisOutput, Recorded, record
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

MODEL_NAME = "americano_high_performance"


@dataclass(frozen=True)
class PerformedTraining:
    """A training that was carried out: what came out, the model in the registry, the record."""

    trained: Trained
    registered: RegisteredModel
    recorded: Recorded


def perform_training(
    run: AnalysisRun,
    settings: Settings,
    *,
    data: TrainingData,
    document: SnapshotRecord,
    task: RunContext,
    captured: CapturedContext,
    parameters: TrainingParameters,
) -> PerformedTraining:
    """Train, register the model, record, and only then make the model the candidate.

    Args:
        run: the open MLflow run.
        settings: the data folder.
        data: what to learn from.
        document: the record of the file that it was read from.
        task: who asked.
        captured: code and environment, as they were before the data were read.
        parameters: the parameters.

    Raises:
        AnalysisError: there is too little to learn from; TrackingError: MLflow does not take it.
    """
    trained = train(data, parameters, document.snapshot_id)
    registered = log_model(run, trained.model, trained.example, MODEL_NAME)
    drawn = parameters.model_type == "logistic_regression"  # boosting would draw only beyond 200,000 rows
    output = AnalysisOutput(
        analysis=NAME,
        version=VERSION,
        sentence=trained.sentence,
        results={**trained.results, MODEL: registered.model_dump(mode="json")},
        numbers=trained.numbers,
        series={name: list(values) for name, values in trained.series.items()},
        files=trained.files,
        inputs=[_input(document, data, trained)],
        extract=data.canonical(),
        protocol_sha256=None,
        phases_sha256=None,
        config={**parameters.model_dump(mode="json"), "learning_rate": parameters.rate},
        verdict=None,
        seed=parameters.seed if drawn else None,
        generator="numpy default_rng (PCG64)"
        if parameters.model_type == "logistic_regression"
        else "scikit-learn (MT19937)",
        standing=None,
    )
    recorded = record(run, settings, task, captured, output)
    make_candidate(run, registered)
    return PerformedTraining(trained, registered, recorded)


def _input(document: SnapshotRecord, data: TrainingData, trained: Trained) -> Input:
    dotted, table = f"analytics.{EVENTS.name}", document.tables[EVENTS.name]
    statement, _ = training_statement(document)
    first, last = (datetime.fromtimestamp(at / 1e6, UTC).isoformat() for at in (data.times_us[0], data.times_us[-1]))
    return Input(
        asset=dotted.replace(".", "/"),
        data_version=document.states[dotted],
        snapshot_id=document.snapshot_id,
        snapshot_sha256=document.sha256,
        instant=table.instant,
        schema_sha256=sha256_of([[column.name, column.type] for column in table.columns]),
        rows=len(data.times_us),
        time_range=(first, last),
        query=f"{statement.strip()}\n-- $1 = {MAX_ROWS}, the most rows",
        exclusions=trained.dropped,
    )
