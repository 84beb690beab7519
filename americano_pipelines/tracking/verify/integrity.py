"""Whether what was recorded outside the record is as it was: MLflow's run, its files, the extract, the snapshots.

Here belongs comparing each thing with the record. Where the record itself stands is `places.py`.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from americano_pipelines import durable
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.archive import extracts_dir
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.recording import EXTRACT, HASH_TAG, NAME_TAG, RECORD
from americano_pipelines.tracking.verify.find import Subject
from americano_pipelines.tracking.verify.findings import Finding, Status, compared, differing
from americano_pipelines.tracking.verify.mlflow_run import MlflowRun
from americano_pipelines.warehouse import publish
from americano_pipelines.warehouse.purge import PURGED

_OF_MLFLOW = "mlflow."


class _Card(BaseModel):
    """What `tracking/erasure.py` writes of an extract that it removes."""

    model_config = ConfigDict(extra="forbid")

    extract_sha256: str
    protocol_id: str | None
    reason: str = Field(min_length=1)
    purged_at: AwareDatetime


def mlflow_run(subject: Subject) -> Iterator[Finding]:
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
    yield compared("MLflow", "status", "FINISHED", str(run.run.info.status))
    yield compared("MLflow", "experiment", subject.record.tracking["experiment_id"], str(run.run.info.experiment_id))
    ours = {name: text for name, text in run.tags.items() if name in logged.tags or not _others(name)}
    yield from differing("MLflow", "tag", logged.tags, ours)
    if NAME_TAG in logged.tags and ours.get(NAME_TAG) == logged.tags[NAME_TAG] != run.run.info.run_name:
        # MLflow keeps the name that it shows apart from the tag.
        yield compared("MLflow", "name, as shown", logged.tags[NAME_TAG], run.run.info.run_name)
    yield from differing("MLflow", "parameter", logged.params, dict(run.run.data.params))
    yield from _metrics(run, logged.metrics)


def _metrics(run: MlflowRun, recorded: dict[str, list[tuple[int, float]]]) -> Iterator[Finding]:
    """Whole histories; and the value that MLflow shows, which it keeps apart from them.

    A number that was undefined has no points on record, and must have none now.
    """
    shown = dict(run.run.data.metrics)
    histories = {name: run.history(name) for name in sorted(shown.keys() | recorded.keys())}
    there = {name: repr(points) for name, points in histories.items() if points or not recorded.get(name)}
    yield from differing("MLflow", "metric", {name: repr(points) for name, points in recorded.items()}, there)
    for name, points in recorded.items():
        last = points[-1][1] if points else None
        if histories[name] == points and shown.get(name) != last:
            detail = f"recorded {last!r}, MLflow shows {shown.get(name)!r}"
            yield Finding("MLflow", f"metric {name}, as shown", Status.DRIFT, detail)


def _others(tag: str) -> bool:
    """Whether a tag is MLflow's own, or the one that a record cannot hold: its own hash."""
    return tag.startswith(_OF_MLFLOW) or tag == HASH_TAG


def artifacts(settings: Settings, subject: Subject) -> Iterator[Finding]:
    """Hash every file of the MLflow run.

    Raises:
        TrackingError: MLflow does not answer.
    """
    run, record = subject.run, subject.record
    if run is None:
        return
    there = run.files()
    for path, artifact in record.artifacts.items():
        found = run.sha256(path)
        if found is not None:
            yield compared("artifacts", path, artifact.sha256, found)
        elif path in there:
            yield Finding("artifacts", path, Status.MISSING, "MLflow lists it and does not give it, as with a link")
        elif purged(settings, record) and (path == EXTRACT or not path.startswith("provenance/")):
            yield Finding("artifacts", path, Status.PURGED)
        else:
            yield Finding("artifacts", path, Status.MISSING)
    for path in there:
        if path not in record.artifacts and path != RECORD:
            yield Finding("artifacts", path, Status.EXTRA)


def data(settings: Settings, record: Record) -> Iterator[Finding]:
    """Hash the extract and the snapshots that it was read from."""
    path = extracts_dir(settings) / f"{record.extract_sha256}.json"
    what = f"extract {record.extract_sha256[:12]}"
    if path.exists():
        yield compared("data", what, record.extract_sha256, hashlib.sha256(path.read_bytes()).hexdigest())
    else:
        yield Finding("data", what, Status.PURGED if purged(settings, record) else Status.MISSING)
    for snapshot_id, sha256 in sorted({one.snapshot_id: one.snapshot_sha256 for one in record.inputs}.items()):
        yield _snapshot(settings, snapshot_id, sha256)


def purged(settings: Settings, record: Record) -> bool:
    """Whether the extract was removed on purpose; what shows the learner's days went with it.

    A card that does not say so of this extract, of another protocol, or from before the analysis, is none.
    """
    try:
        card = _Card.model_validate_json(
            (extracts_dir(settings) / PURGED / f"{record.extract_sha256}.json").read_bytes()
        )
    except (OSError, ValidationError):
        return False
    return (
        card.extract_sha256 == record.extract_sha256
        # Where it was not sure whose events an extract holds, its card names no protocol.
        and card.protocol_id in {None, record.identity.protocol_id}
        and card.purged_at >= datetime.fromisoformat(record.identity.started_at)
    )


def _snapshot(settings: Settings, snapshot_id: str, sha256: str) -> Finding:
    folder, what = publish.snapshots_dir(settings) / snapshot_id, f"snapshot {snapshot_id}"
    if not folder.is_dir():
        card = publish.snapshots_dir(settings) / PURGED / f"{snapshot_id}.json"
        return Finding("data", what, Status.PURGED if card.exists() else Status.EXPIRED)
    path = folder / publish.file_name(settings)
    if not path.exists():
        return Finding("data", what, Status.MISSING, f"{folder} has no {path.name}")
    if path.with_name(f"{path.name}.wal").exists():
        return Finding("data", what, Status.DRIFT, "somebody wrote to it: a write-ahead log lies beside it")
    return compared("data", what, sha256, durable.sha256(path))
