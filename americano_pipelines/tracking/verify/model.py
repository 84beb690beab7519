"""Whether the registered model that an analysis made is as it was: its version in the registry, and its files.

Here belongs comparing them with the record. The alias `candidate` is not looked at: it is meant to move on.
"""

from collections.abc import Iterator

from americano_pipelines.errors import TrackingError
from americano_pipelines.settings import redact
from americano_pipelines.tracking.models import MODEL, Registered, hashes
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.run_files import NONE_SUCH, ArtifactFolder
from americano_pipelines.tracking.store import Store
from americano_pipelines.tracking.verify.findings import Finding, Status, compared, differing


def version(store: Store, record: Record) -> Iterator[Finding]:
    """Compare what the version in the registry gives with the model that was registered; nothing without a model.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if MODEL not in record.results:
        return
    model = Registered.model_validate(record.results[MODEL])
    what = f"model {model.name} version {model.version}"
    try:
        found = store.ask(store.client.get_model_version, model.name, model.version)
        taken_from = store.ask(store.client.get_model_version_download_uri, model.name, model.version)
    except TrackingError as error:
        if not _is_gone(error):
            raise
        yield Finding("MLflow", what, Status.MISSING)
        return
    folder = _folder(store, model)
    # Who loads the version gets what lies there, whatever its source says.
    if folder is not None and found.source == model.source and taken_from != folder.address:
        detail = f"its files are taken from {redact(taken_from)}, and the model's are in {redact(folder.address)}"
        yield Finding("MLflow", what, Status.DRIFT, detail)
    else:
        yield compared("MLflow", what, model.source, found.source)


def files(store: Store, record: Record) -> Iterator[Finding]:
    """Hash every file of the model; nothing without one.

    Raises:
        TrackingError: MLflow does not answer, or does not give a file that it lists.
    """
    if MODEL not in record.results:
        return
    model = Registered.model_validate(record.results[MODEL])
    what, folder = f"model {model.model_id}", _folder(store, model)
    if folder is None:
        yield Finding("artifacts", what, Status.MISSING, "it was deleted")
    elif model.files is None:
        yield Finding("artifacts", what, Status.NOT_RECORDED, "its files were not hashed when this was recorded")
    else:
        recorded = {path: file.sha256 for path, file in model.files.items()}
        found = {path: file.sha256 for path, file in hashes(folder).items()}
        yield from differing("artifacts", f"{what}:", recorded, found)


def _folder(store: Store, model: Registered) -> ArtifactFolder | None:
    """Where the files of the logged model are, None when it was deleted."""
    try:
        return ArtifactFolder(store, store.ask(store.client.get_logged_model, model.model_id).artifact_location)
    except TrackingError as error:
        if _is_gone(error):
            return None
        raise


def _is_gone(error: TrackingError) -> bool:
    return error.error_code == NONE_SUCH
