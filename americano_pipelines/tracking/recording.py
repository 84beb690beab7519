"""Recording one analysis: numbers and files to MLflow, the input to the archive, last the record that vouches for all.

Here belongs the order: artifacts, record, tag. Whatever dies on the way leaves an MLflow run without the tag
`provenance.sha256`, which nobody takes for a recorded analysis. What an analysis is is none of this module's business.
"""

import hashlib
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from americano_pipelines import access
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.archive import extracts_dir, keep, records_dir
from americano_pipelines.tracking.code import Code
from americano_pipelines.tracking.environment import LOCK
from americano_pipelines.tracking.lifecycle import RUN_TAG, SERVICE
from americano_pipelines.tracking.made import Made
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.record_parts import Artifact, CodePart, Identity, Logged
from americano_pipelines.tracking.runs import PARENT_TAG, AnalysisRun, known_or_not
from americano_pipelines.tracking.surroundings import Surroundings, Task, now
from americano_pipelines.tracking.withheld import without_addresses

HASH_TAG = "provenance.sha256"
NAME_TAG = "mlflow.runName"
# Where things lie among an MLflow run's artifacts.
RECORD, EXTRACT, LOCK_FILE, DIFF = (
    "provenance/record.json",
    "provenance/extract.json",
    "provenance/requirements.lock",
    "provenance/diff.patch",
)


@dataclass(frozen=True)
class Recorded:
    """A recorded analysis: its record, the record's hash and file."""

    record: Record
    sha256: str
    path: Path


def record(run: AnalysisRun, settings: Settings, task: Task, around: Surroundings, made: Made) -> Recorded:
    """Record an analysis in its open MLflow run and in the archive.

    Raises:
        TrackingError: MLflow does not take it; TamperedError: the archive holds something else under that hash.
        AnalysisError: a result is no JSON.
    """
    logged = _log(run, settings, task, around, made)
    provenance = {EXTRACT: made.extract, **_lock()}
    if around.code.diff:
        provenance[DIFF] = around.code.diff.encode()
    with tempfile.TemporaryDirectory() as folder:
        artifacts = {
            name: _upload(run, Path(folder), name, content) for name, content in {**made.files, **provenance}.items()
        }
        keep(extracts_dir(settings), made.extract, access.file_mode(settings))
        found = Record(
            identity=Identity(
                analysis=made.analysis,
                analysis_version=made.version,
                analysis_run_id=task.analysis_run_id,
                protocol_id=task.partition,
                actor=task.actor,
                started_at=around.started_at,
                ended_at=now(),
            ),
            code=_code_part(around.code),
            inputs=made.inputs,
            extract_sha256=hashlib.sha256(made.extract).hexdigest(),
            protocol_sha256=made.protocol_sha256,
            phases_sha256=made.phases_sha256,
            dvc_lock_sha256=around.dvc_lock_sha256,
            environment=asdict(around.environment),
            config=made.config,
            seed=made.seed,
            generator=made.generator,
            upstream={
                one.asset: {"code_version": task.code_versions.get(one.asset), "data_version": one.data_version}
                for one in made.inputs
            },
            orchestrator={
                "dagster_run_id": task.dagster_run_id,
                "asset_key": task.asset_key,
                "partition": task.partition,
            },
            tracking={
                "address": run.store.label,
                "experiment_id": run.store.experiment_id,
                "run_id": run.run_id,
                "url": run.url,
            },
            standing=made.standing,
            sentence=made.sentence,
            verdict=made.verdict,
            results=made.results,
            logged=logged,
            artifacts=artifacts,
            not_captured=_not_captured(run, around, task),
        )
        text = found.canonical()
        path, sha256 = keep(records_dir(settings), text, access.file_mode(settings))
        _upload(run, Path(folder), RECORD, text)
    run.set_tags({HASH_TAG: sha256})
    return Recorded(found, sha256, path)


def _log(run: AnalysisRun, settings: Settings, task: Task, around: Surroundings, made: Made) -> Logged:
    """Log parameters, numbers and tags, and say exactly what was logged."""
    snapshots = sorted({one.snapshot_id for one in made.inputs})
    tags = {
        "git.commit": around.code.commit,
        "git.dirty": around.code.dirty,
        "dvc.lock.sha256": around.dvc_lock_sha256,
        "analysis_run_id": task.analysis_run_id,
        "service": SERVICE,
        "env": settings.environment,
        RUN_TAG: task.dagster_run_id,
        "dagster.asset_key": task.asset_key,
        "dagster.partition": task.partition,
        "data.snapshot_id": ", ".join(snapshots) or None,
        "data.sha256": hashlib.sha256(made.extract).hexdigest(),
    }
    run.log_params(made.config)
    run.log_metrics(made.numbers)
    for name, values in made.series.items():
        run.log_series(name, values)
    run.set_tags(tags)
    # One that is undefined has no points: that too is on record, so that nobody can give it a value afterwards.
    metrics = {name: [] if value is None else [(0, float(value))] for name, value in made.numbers.items()}
    metrics |= {
        name: [(step, float(value)) for step, value in enumerate(values) if value is not None]
        for name, values in made.series.items()
    }
    return Logged(
        params={name: str(value) for name, value in made.config.items()},
        metrics=metrics,
        tags={name: str(value) for name, value in known_or_not(tags).items()} | _place_among_runs(run),
    )


def _place_among_runs(run: AnalysisRun) -> dict[str, str]:
    """The tags that MLflow made when the run was opened: its name, and the run it is nested in."""
    tags = run.store.ask(run.store.client.get_run, run.run_id).data.tags
    return {name: str(tags[name]) for name in (NAME_TAG, PARENT_TAG) if name in tags}


def _upload(run: AnalysisRun, folder: Path, name: str, content: bytes) -> Artifact:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    inside = Path(name).parent.as_posix()
    run.log_artifact(path, None if inside == "." else inside)
    return Artifact(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def _lock() -> dict[str, bytes]:
    # It may name a package index by an address with a password.
    return {LOCK_FILE: without_addresses(LOCK.read_text(encoding="utf-8"))[0].encode()} if LOCK.is_file() else {}


def _code_part(code: Code) -> CodePart:
    return CodePart(
        commit=code.commit,
        dirty=code.dirty,
        repository=code.repository,
        diff_sha256=code.diff_sha256,
        modules_sha256=code.modules_sha256,
        modules=code.modules,
    )


def _not_captured(run: AnalysisRun, around: Surroundings, task: Task) -> dict[str, str]:
    found = dict(around.code.not_captured)
    if around.dvc_lock_sha256 is None:
        found["dvc_lock_sha256"] = "there is no dvc.lock"
    if around.environment.lock_sha256 is None:
        found["environment.lock_sha256"] = f"there is no {LOCK.name}"
    found["orchestrator.url"] = "a run does not know at which address Dagster's UI is"
    if run.url is None:
        found["tracking.url"] = f"{run.store.label} has no pages of its own"
    if task.analysis_run_id is None:
        found["identity.analysis_run_id"] = "the app has no row for it"
    return found
