"""Log a model with the run that trained it, and register it under a name.

MLflow's own `log_model` uses the server set in the process and the thread's active run; here both are named.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from americano_pipelines.common.frozen_model import FrozenModel
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import TrackingError
from americano_pipelines.mlflow_store.analysis_run import AnalysisRun
from americano_pipelines.mlflow_store.artifacts import Artifact, ArtifactFolder

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline


CANDIDATE = "candidate"
MODEL = "model"  # where it stands in the results of the analysis that trained it
_ARTIFACT = "model"
_VARIABLE = "MLFLOW_TRACKING_URI"
_READY_SECONDS = 10  # it is ready at once; MLflow would wait for five minutes
# What a model of scikit-learn needs to be loaded. MLflow's own way to find out loads it in a process of its own, and
# waits for that for minutes.
_MODEL_REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")
# In our models beyond the types that skops lets pass by itself; anything else is refused when it is saved.
_SKOPS_TRUSTED_TYPES = ["numpy.dtype", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]


class RegisteredModel(FrozenModel):
    """A registered model, as it stands on record.

    Attributes:
        name: in the registry.
        version: there.
        model_id: of the logged model.
        files: path in the logged model to hash and size; None in records from before they were hashed.
    """

    name: str
    version: str
    model_id: str
    files: dict[str, Artifact] | None = None

    @property
    def source(self) -> str:
        """What the version in the registry points at."""
        return f"models:/{self.model_id}"


def log_model(run: AnalysisRun, model: "Pipeline", example: "pd.DataFrame", name: str) -> RegisteredModel:
    """Log a model to a run and register it.

    The example and the signature that it gives are logged too. MLflow marks a model whose upload fails as failed.

    Args:
        run: the open run that trained it.
        model: a fitted pipeline of scikit-learn's own steps.
        example: rows for a sample prediction; everyone with access to the model can read them.
        name: in the registry; made there if it is new.

    Raises:
        TrackingError: MLflow does not take it.
    """
    import mlflow.sklearn
    from mlflow.models import infer_signature

    store, client = run.store, run.store.client
    logged = store.call(client.create_logged_model, store.experiment_id, name=_ARTIFACT, source_run_id=run.run_id)
    # For the block, since MLflow's registry too asks the process's server for what it is to register.
    with process_tracking_uri(store.uri):
        store.call(
            mlflow.sklearn.log_model,
            model,
            name=_ARTIFACT,
            run_id=run.run_id,
            model_id=logged.model_id,
            signature=infer_signature(example, model.predict(example)),
            input_example=example,
            pip_requirements=[f"{package}=={version(package)}" for package in _MODEL_REQUIREMENTS],
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
            skops_trusted_types=_SKOPS_TRUSTED_TYPES,
        )
        # Not by `registered_model_name`: that goes to MLFLOW_REGISTRY_URI where somebody set it.
        _make_name(run, name)
        model_version = store.call(
            client.create_model_version,
            name,
            f"models:/{logged.model_id}",
            run.run_id,
            model_id=logged.model_id,
            await_creation_for=_READY_SECONDS,
        )
    files = hashes(ArtifactFolder(store, logged.artifact_location))
    return RegisteredModel(name=name, version=str(model_version.version), model_id=str(logged.model_id), files=files)


@contextmanager
def process_tracking_uri(uri: str) -> Iterator[None]:
    """Set the server that MLflow's own functions use in this process, for the block.

    MLflow also writes it to MLFLOW_TRACKING_URI, and overwrites the variable when it sets it back: settings that are
    read afterwards would name another store. So the variable is put back as it was.
    """
    import mlflow

    variable = os.environ.pop(_VARIABLE, None)
    # Without the variable, this is what was set in the process; an empty address stands for none.
    is_set: bool = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]
    before = mlflow.get_tracking_uri() if is_set else ""
    try:
        mlflow.set_tracking_uri(uri)
        yield
    finally:
        mlflow.set_tracking_uri(before)
        os.environ.pop(_VARIABLE, None)
        if variable is not None:
            os.environ[_VARIABLE] = variable


def hashes(folder: ArtifactFolder) -> dict[str, Artifact]:
    """Path to hash and size of every file in a folder.

    Raises:
        TrackingError: MLflow does not answer, or does not give a file that it lists.
    """
    contents = ((path, folder.content(path)) for path in folder.sizes())
    return {path: Artifact(sha256=sha256_hex(content), bytes=len(content)) for path, content in contents}


def make_candidate(run: AnalysisRun, registered: RegisteredModel) -> None:
    """Let the alias `candidate` of a model's name mean this version.

    Raises:
        TrackingError: MLflow does not take it.
    """
    store = run.store
    store.call(store.client.set_registered_model_alias, registered.name, CANDIDATE, registered.version)


def _make_name(run: AnalysisRun, name: str) -> None:
    try:
        run.store.call(run.store.client.create_registered_model, name)
    except TrackingError as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
