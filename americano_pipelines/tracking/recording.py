"""Recording one analysis: numbers and files to MLflow, the input to the archive, last the record that vouches for all.

Here belongs the order: artifacts, record, tag. Whatever dies on the way leaves an MLflow run without the tag
`provenance.sha256`, which nobody takes for a recorded analysis. What an analysis is is none of this module's business.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from americano_pipelines.settings import Settings
from americano_pipelines.tracking.archive import extracts_dir, keep, records_dir
from americano_pipelines.tracking.code import Code, capture_code
from americano_pipelines.tracking.environment import LOCK, Environment, capture_environment, dvc_lock_sha256
from americano_pipelines.tracking.lifecycle import RUN_TAG, SERVICE
from americano_pipelines.tracking.record import (
    Artifact,
    CodePart,
    Identity,
    Input,
    Logged,
    Record,
    StandingPart,
)
from americano_pipelines.tracking.runs import AnalysisRun, known_or_not

HASH_TAG = "provenance.sha256"
# Where things lie among an MLflow run's artifacts.
RECORD, EXTRACT, LOCK_FILE, DIFF = (
    "provenance/record.json",
    "provenance/extract.json",
    "provenance/requirements.lock",
    "provenance/diff.patch",
)


@dataclass(frozen=True)
class Task:
    """Who asked for what, as Dagster knows it.

    Attributes:
        dagster_run_id: the Dagster run.
        asset_key: the asset, with slashes.
        partition: its partition, None when it has none.
        actor: who or what launched it.
        analysis_run_id: the app's row, None when there is none.
        code_versions: upstream asset key to its code version.
    """

    dagster_run_id: str
    asset_key: str
    partition: str | None
    actor: str
    analysis_run_id: str | None
    code_versions: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What was so when an analysis began; taken before it, so that nothing that changes meanwhile is vouched for."""

    started_at: str
    code: Code
    environment: Environment
    dvc_lock_sha256: str | None


@dataclass(frozen=True)
class Made:
    """What an analysis made.

    Attributes:
        analysis: its name.
        version: of the analysis.
        sentence: what was found.
        verdict: the verdict's state, None for an analysis that judges nothing.
        results: all of it.
        numbers: metrics; None where undefined.
        series: metrics that have a value per step.
        files: path among the artifacts to content.
        inputs: what it read.
        extract: the exact input.
        protocol_sha256: hash of the protocol, None when it is of none.
        phases_sha256: hash of its phases, likewise.
        config: the resolved parameters.
        seed: of its random numbers, None when it drew none.
        generator: their generator.
        standing: whether it is the planned analysis.
    """

    analysis: str
    version: str
    sentence: str
    verdict: str | None
    results: dict[str, JsonValue]
    numbers: Mapping[str, float | None]
    series: Mapping[str, list[float | None]]
    files: Mapping[str, bytes]
    inputs: list[Input]
    extract: bytes
    protocol_sha256: str | None
    phases_sha256: str | None
    config: dict[str, JsonValue]
    seed: int | None
    generator: str | None
    standing: StandingPart | None


@dataclass(frozen=True)
class Recorded:
    """A recorded analysis: its record, the record's hash and file."""

    record: Record
    sha256: str
    path: Path


def look_around() -> Surroundings:
    """Look at code, environment and clock, before anything is computed."""
    return Surroundings(now(), capture_code(), capture_environment(), dvc_lock_sha256())


def now() -> str:
    """The present, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat()


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
        keep(extracts_dir(settings), made.extract)
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
            not_captured=_not_captured(around, task),
        )
        text = found.canonical()
        path, sha256 = keep(records_dir(settings), text)
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
    metrics = {name: [(0, float(value))] for name, value in made.numbers.items() if value is not None}
    metrics |= {
        name: [(step, float(value)) for step, value in enumerate(values) if value is not None]
        for name, values in made.series.items()
    }
    return Logged(
        params={name: str(value) for name, value in made.config.items()},
        metrics=metrics,
        tags={name: str(value) for name, value in known_or_not(tags).items()},
    )


def _upload(run: AnalysisRun, folder: Path, name: str, content: bytes) -> Artifact:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    inside = Path(name).parent.as_posix()
    run.log_artifact(path, None if inside == "." else inside)
    return Artifact(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def _lock() -> dict[str, bytes]:
    return {LOCK_FILE: LOCK.read_bytes()} if LOCK.is_file() else {}


def _code_part(code: Code) -> CodePart:
    return CodePart(
        commit=code.commit,
        dirty=code.dirty,
        repository=code.repository,
        diff_sha256=code.diff_sha256,
        modules_sha256=code.modules_sha256,
        modules=code.modules,
    )


def _not_captured(around: Surroundings, task: Task) -> dict[str, str]:
    found = dict(around.code.not_captured)
    if around.dvc_lock_sha256 is None:
        found["dvc_lock_sha256"] = "there is no dvc.lock"
    if around.environment.lock_sha256 is None:
        found["environment.lock_sha256"] = f"there is no {LOCK.name}"
    if task.analysis_run_id is None:
        found["identity.analysis_run_id"] = "the app has no row for it"
    return found
