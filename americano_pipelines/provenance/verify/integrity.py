"""Compare what was recorded outside the record with it: MLflow run, artifacts, extract, snapshots, model."""

from collections.abc import Iterator
from datetime import datetime

from americano_pipelines.common.hashing import file_sha256, sha256_hex
from americano_pipelines.errors import TamperedError
from americano_pipelines.mlflow_store.artifacts import ArtifactFolder, MlflowRun
from americano_pipelines.mlflow_store.client import Store
from americano_pipelines.mlflow_store.registered_models import MODEL, RegisteredModel, hashes
from americano_pipelines.mlflow_store.runs import HASH_TAG
from americano_pipelines.provenance.module_bundle import differing_modules, kept_modules
from americano_pipelines.provenance.purge_cards import PurgedExtract, PurgedSnapshot
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.recorder import EXTRACT, NAME_TAG, RECORD
from americano_pipelines.provenance.snapshot_expiry import read_expiry
from americano_pipelines.provenance.verify.findings import Finding, Status, compare_mappings, compare_values
from americano_pipelines.provenance.verify.target import Target
from americano_pipelines.settings import DataFolder, redact
from americano_pipelines.warehouse import snapshots


def version(store: Store, record: Record) -> Iterator[Finding]:
    """Compare what the version in the registry gives with the model that was registered; nothing without a model.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if MODEL not in record.results:
        return
    model = RegisteredModel.model_validate(record.results[MODEL])
    what = f"model {model.name} version {model.version}"
    model_version = store.find(store.client.get_model_version, model.name, model.version)
    taken_from = store.find(store.client.get_model_version_download_uri, model.name, model.version)
    if model_version is None or taken_from is None:
        yield Finding("MLflow", what, Status.MISSING)
        return
    folder = _folder(store, model)
    # Who loads the version gets what lies there, whatever its source says.
    if folder is not None and model_version.source == model.source and taken_from != folder.address:
        detail = f"its files are taken from {redact(taken_from)}, and the model's are in {redact(folder.address)}"
        yield Finding("MLflow", what, Status.DRIFT, detail)
    else:
        yield compare_values("MLflow", what, model.source, model_version.source)


def files(store: Store, record: Record) -> Iterator[Finding]:
    """Hash every file of the model; nothing without one.

    Raises:
        TrackingError: MLflow does not answer, or does not give a file that it lists.
    """
    if MODEL not in record.results:
        return
    model = RegisteredModel.model_validate(record.results[MODEL])
    what, folder = f"model {model.model_id}", _folder(store, model)
    if folder is None:
        yield Finding("artifacts", what, Status.MISSING, "it was deleted")
    elif model.files is None:
        yield Finding("artifacts", what, Status.NOT_RECORDED, "its files were not hashed when this was recorded")
    else:
        recorded = {path: file.sha256 for path, file in model.files.items()}
        actual = {path: file.sha256 for path, file in hashes(folder).items()}
        yield from compare_mappings("artifacts", f"{what}:", recorded, actual)


def _folder(store: Store, model: RegisteredModel) -> ArtifactFolder | None:
    """Where the files of the logged model are, None when it was deleted."""
    logged = store.find(store.client.get_logged_model, model.model_id)
    return None if logged is None else ArtifactFolder(store, logged.artifact_location)


# Tags that MLflow sets by itself, and those that `mlflow_page` compares.
_MLFLOW_TAGS = frozenset(
    f"mlflow.{name}"
    for name in (
        *("runName", "parentRunId", "user", "source.name", "source.type", "source.git.commit", "note.content"),
        *("log-model.history", "modelVersions", "artifactLocation", "loggedArtifacts", "runSourceType"),
    )
)


def mlflow_run(subject: Target) -> Iterator[Finding]:
    """Compare the MLflow run's status, tags, parameters and metrics with what was written there.

    Raises:
        TrackingError: MLflow does not answer.
    """
    run, logged = subject.run, subject.record.logged
    if run is None:
        tracking = subject.record.tracking
        where = f"{tracking['run_id']} was recorded at {tracking['address']}; it was deleted, or that is another MLflow"
        yield Finding("MLflow", "run", Status.MISSING, where)
        return
    yield compare_values("MLflow", "status", "FINISHED", str(run.run.info.status))
    yield compare_values(
        "MLflow", "experiment", subject.record.tracking["experiment_id"], str(run.run.info.experiment_id)
    )
    present_tags = {
        name: text for name, text in run.tags.items() if name in logged.tags or not _is_unrecorded_tag(name)
    }
    yield from compare_mappings("MLflow", "tag", logged.tags, present_tags)
    if NAME_TAG in logged.tags and present_tags.get(NAME_TAG) == logged.tags[NAME_TAG] != run.run.info.run_name:
        # MLflow keeps the name that it shows apart from the tag.
        yield compare_values("MLflow", "name, as shown", logged.tags[NAME_TAG], run.run.info.run_name)
    yield from compare_mappings("MLflow", "parameter", logged.params, dict(run.run.data.params))
    yield from _metrics(run, logged.metrics)


def _metrics(run: MlflowRun, recorded: dict[str, list[tuple[int, float]]]) -> Iterator[Finding]:
    """Whole histories; and the value that MLflow shows, which it keeps apart from them.

    A number that was undefined has no points on record, and must have none now.
    """
    shown = dict(run.run.data.metrics)
    histories = {name: run.history(name) for name in sorted(shown.keys() | recorded.keys())}
    actual = {name: repr(points) for name, points in histories.items() if points or not recorded.get(name)}
    yield from compare_mappings("MLflow", "metric", {name: repr(points) for name, points in recorded.items()}, actual)
    for name, points in recorded.items():
        last = points[-1][1] if points else None
        if histories[name] == points and shown.get(name) != last:
            detail = f"recorded {last!r}, MLflow shows {shown.get(name)!r}"
            yield Finding("MLflow", f"metric {name}, as shown", Status.DRIFT, detail)


def _is_unrecorded_tag(tag: str) -> bool:
    """Whether a tag is MLflow's own, or the one that a record cannot hold: its own hash."""
    return tag in _MLFLOW_TAGS or tag == HASH_TAG


def artifacts(paths: DataFolder, subject: Target) -> Iterator[Finding]:
    """Hash every file of the MLflow run.

    Raises:
        TrackingError: MLflow does not answer.
    """
    run, record = subject.run, subject.record
    if run is None:
        return
    files = run.files()
    for path, artifact in record.artifacts.items():
        actual = run.sha256(path)
        if actual is not None:
            yield compare_values("artifacts", path, artifact.sha256, actual)
        elif path in files:
            yield Finding(
                "artifacts", path, Status.MISSING, "MLflow lists it but cannot return its content (a link, for example)"
            )
        elif purged(paths, record) and (path == EXTRACT or not path.startswith("provenance/")):
            yield Finding("artifacts", path, Status.PURGED)
        else:
            yield Finding("artifacts", path, Status.MISSING)
    for path in files:
        if path not in record.artifacts and path != RECORD:
            yield Finding("artifacts", path, Status.EXTRA)


def data(paths: DataFolder, record: Record) -> Iterator[Finding]:
    """Hash the extract and the snapshots that it was read from."""
    path = paths.extracts / f"{record.extract_sha256}.json"
    what = f"extract {record.extract_sha256[:12]}"
    if path.exists():
        yield compare_values("data", what, record.extract_sha256, sha256_hex(path.read_bytes()))
    else:
        yield Finding("data", what, Status.PURGED if purged(paths, record) else Status.MISSING)
    for snapshot_id, sha256 in sorted({source.snapshot_id: source.snapshot_sha256 for source in record.inputs}.items()):
        yield _snapshot(paths, snapshot_id, sha256, record)


def modules(paths: DataFolder, record: Record) -> Finding:
    """Hash the modules that the analysis ran with, and compare them with those that the record names."""
    sha256, what = record.module_bundle_sha256, "modules that it ran with"
    if sha256 is None:
        return Finding("data", what, Status.NOT_RECORDED, "from before modules were kept; the record has their hashes")
    try:
        bundle_modules = kept_modules(paths, sha256)
    except FileNotFoundError:
        return Finding("data", what, Status.MISSING)
    except TamperedError as error:
        return Finding("data", what, Status.DRIFT, str(error))
    differing_paths = differing_modules(bundle_modules, record.code.modules)
    return Finding("data", what, Status.DRIFT if differing_paths else Status.MATCH, ", ".join(differing_paths))


def purged(paths: DataFolder, record: Record) -> bool:
    """Whether the extract was removed on purpose; what shows the learner's days went with it.

    A card that does not say so of this extract, of another protocol, or from before the analysis, is none.
    """
    card = PurgedExtract.read(paths.purged_extracts / f"{record.extract_sha256}.json")
    return (
        card is not None
        and card.extract_sha256 == record.extract_sha256
        # Where it was not sure whose events an extract holds, its card names no protocol.
        and card.protocol_id in {None, record.identity.protocol_id}
        and card.purged_at >= datetime.fromisoformat(record.identity.started_at)
    )


def snapshot_purged(paths: DataFolder, snapshot_id: str, record: Record) -> bool:
    """Whether a snapshot was removed on purpose, after the analysis that read it; another card is none."""
    card = PurgedSnapshot.read(paths.purged_snapshots / f"{snapshot_id}.json")
    return (
        card is not None
        and card.snapshot_id == snapshot_id
        and card.purged_at >= datetime.fromisoformat(record.identity.started_at)
    )


def _snapshot(paths: DataFolder, snapshot_id: str, sha256: str, record: Record) -> Finding:
    folder, what = paths.snapshots / snapshot_id, f"snapshot {snapshot_id}"
    if not folder.is_dir():
        if snapshot_purged(paths, snapshot_id, record):
            return Finding("data", what, Status.PURGED)
        expired = read_expiry(paths).last_of(snapshot_id) is not None
        detail = "" if expired else "it is gone, and no card says that retention removed it"
        return Finding("data", what, Status.EXPIRED, detail)
    path = folder / snapshots.file_name(paths)
    if not path.exists():
        return Finding("data", what, Status.MISSING, f"{folder} has no {path.name}")
    if path.with_name(f"{path.name}.wal").exists():
        return Finding("data", what, Status.DRIFT, "it was written to: a write-ahead log lies beside it")
    return compare_values("data", what, sha256, file_sha256(path))
