"""Compare what MLflow's pages show beside the numbers: description, commit, data sets, notes on a model.

People may edit these, so what differs is listed as theirs; only what stands for something recorded is a fault.
"""

from collections.abc import Iterator, Mapping

from americano_pipelines.mlflow_store.analysis_run import COMMIT_TAG, MAX_DIGEST_LENGTH, NOTE_TAG
from americano_pipelines.mlflow_store.artifacts import MlflowRun
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.registered_models import MODEL, RegisteredModel
from americano_pipelines.provenance.capture import UNKNOWN
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.recorder import DATASET
from americano_pipelines.provenance.verify.findings import Finding, Status, compare_values, short
from americano_pipelines.provenance.verify.target import Target


def compare_run_page(subject: Target) -> Iterator[Finding]:
    """Compare description, commit and data sets of the MLflow run; nothing without the run."""
    run, record = subject.run, subject.record
    if run is None:
        return
    yield _description(record, run.tags.get(NOTE_TAG))
    if (commit := run.tags.get(COMMIT_TAG)) is not None and record.code.commit != UNKNOWN:
        yield compare_values("MLflow", "commit, as shown", record.code.commit, commit)
    yield from _datasets(run, record)


def _description(record: Record, shown: str | None) -> Finding:
    if shown == record.description:
        return Finding("MLflow", "description", Status.MATCH)
    detail = f"edited by people: recorded {short(record.description)}, now {short(shown)}"
    return Finding("MLflow", "description", Status.EXTRA, detail)


def _datasets(run: MlflowRun, record: Record) -> Iterator[Finding]:
    """The one data set that the recorder logs, and those that people added."""
    expected = record.extract_sha256[:MAX_DIGEST_LENGTH]
    listed = [used.dataset for used in run.run.inputs.dataset_inputs] if run.run.inputs else []
    recorder_datasets = [dataset for dataset in listed if dataset.name == DATASET]
    if expected in {dataset.digest for dataset in recorder_datasets}:
        yield Finding("MLflow", f"data set {DATASET}", Status.MATCH)
    elif recorder_datasets:
        yield compare_values("MLflow", f"data set {DATASET}", expected, recorder_datasets[0].digest)
    else:
        yield Finding("MLflow", f"data set {DATASET}", Status.NOT_RECORDED, "MLflow's page lists none")
    for dataset in listed:
        if dataset.name != DATASET or (dataset.digest != expected and dataset is not recorder_datasets[0]):
            yield Finding("MLflow", f"data set {dataset.name}", Status.EXTRA, dataset.digest)


def compare_model_page(store: Store, record: Record) -> Iterator[Finding]:
    """List what people wrote on the pages of a registered model and of its version; nothing without a model.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if MODEL not in record.results:
        return
    model = RegisteredModel.model_validate(record.results[MODEL])
    version = store.find(store.client.get_model_version, model.name, model.version)
    named = store.find(store.client.get_registered_model, model.name)
    if version is None or named is None:
        return
    yield from _notes(f"model {model.name}", named.description, named.tags)
    yield from _notes(f"model {model.name} version {model.version}", version.description, version.tags)


def _notes(what: str, description: str | None, tags: Mapping[str, str]) -> Iterator[Finding]:
    if description:
        yield Finding("MLflow", f"{what}, description", Status.EXTRA, short(description))
    for name, value in tags.items():
        yield Finding("MLflow", f"{what}, tag {name}", Status.EXTRA, short(value))
