"""Record an analysis: numbers and files to MLflow, the extract to the archive, the record's hash last.

A process that dies on the way leaves an MLflow run without the tag `provenance.sha256`, which does not count as
recorded.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from americano_pipelines.common import file_permissions
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.mlflow_store.artifacts import Artifact
from americano_pipelines.mlflow_store.runs import (
    DAGSTER_RUN_TAG,
    HASH_TAG,
    PARENT_TAG,
    SERVICE,
    AnalysisRun,
    as_tag_values,
)
from americano_pipelines.provenance.archive import extracts_dir, put, records_dir
from americano_pipelines.provenance.capture import LOCK, CapturedContext, Code, RunContext, utc_now
from americano_pipelines.provenance.record import CodePart, CompliancePart, Identity, Input, Logged, Record
from americano_pipelines.provenance.secret_filter import without_addresses
from americano_pipelines.settings import Settings


@dataclass(frozen=True)
class AnalysisOutput:
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
    standing: CompliancePart | None


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


def record(
    run: AnalysisRun, settings: Settings, task: RunContext, captured: CapturedContext, output: AnalysisOutput
) -> Recorded:
    """Record an analysis in its open MLflow run and in the archive.

    Raises:
        TrackingError: MLflow does not take it; TamperedError: the archive holds something else under that hash.
        AnalysisError: a result is no JSON.
    """
    logged = _log(run, settings, task, captured, output)
    provenance = {EXTRACT: output.extract, **_lock()}
    if captured.code.diff:
        provenance[DIFF] = captured.code.diff.encode()
    # In the data folder, for a killed process leaves it behind: only there it is found and removed.
    with temporary_folder(settings.spill_dir, "upload") as folder:
        artifacts = {
            name: _upload(run, folder, name, content) for name, content in {**output.files, **provenance}.items()
        }
        put(extracts_dir(settings), output.extract, file_permissions.file_mode(settings))
        new_record = Record(
            identity=Identity(
                analysis=output.analysis,
                analysis_version=output.version,
                analysis_run_id=task.analysis_run_id,
                protocol_id=task.partition,
                actor=task.actor,
                started_at=captured.started_at,
                ended_at=utc_now(),
            ),
            code=_code_part(captured.code),
            inputs=output.inputs,
            extract_sha256=hashlib.sha256(output.extract).hexdigest(),
            protocol_sha256=output.protocol_sha256,
            phases_sha256=output.phases_sha256,
            dvc_lock_sha256=captured.dvc_lock_sha256,
            environment=asdict(captured.environment),
            config=output.config,
            seed=output.seed,
            generator=output.generator,
            upstream={
                source.asset: {
                    "code_version": task.code_versions.get(source.asset),
                    "data_version": source.data_version,
                }
                for source in output.inputs
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
            standing=output.standing,
            sentence=output.sentence,
            verdict=output.verdict,
            results=output.results,
            logged=logged,
            artifacts=artifacts,
            not_captured=_not_captured(run, captured, task),
        )
        text = new_record.canonical()
        path, sha256 = put(records_dir(settings), text, file_permissions.file_mode(settings))
        _upload(run, folder, RECORD, text)
    exploratory = output.standing is not None and not output.standing.planned
    sentence = f"{output.sentence} This result is exploratory." if exploratory else output.sentence
    run.describe(sentence, commit=captured.code.commit)
    extract_file = extracts_dir(settings) / f"{new_record.extract_sha256}.json"
    source = extract_file.relative_to(settings.data_dir).as_posix()
    run.log_dataset("extract", new_record.extract_sha256, source=source)
    run.set_tags({HASH_TAG: sha256})
    return Recorded(new_record, sha256, path)


def _log(
    run: AnalysisRun, settings: Settings, task: RunContext, captured: CapturedContext, output: AnalysisOutput
) -> Logged:
    """Log parameters, numbers and tags, and say exactly what was logged."""
    snapshots = sorted({source.snapshot_id for source in output.inputs})
    tags = {
        "git.commit": captured.code.commit,
        "git.dirty": captured.code.dirty,
        "dvc.lock.sha256": captured.dvc_lock_sha256,
        "analysis_run_id": task.analysis_run_id,
        "service": SERVICE,
        "env": settings.environment,
        DAGSTER_RUN_TAG: task.dagster_run_id,
        "dagster.asset_key": task.asset_key,
        "dagster.partition": task.partition,
        "data.snapshot_id": ", ".join(snapshots) or None,
        "data.sha256": hashlib.sha256(output.extract).hexdigest(),
    }
    run.log_params(output.config)
    run.log_metrics(output.numbers)
    for name, values in output.series.items():
        run.log_series(name, values)
    run.set_tags(tags)
    # One that is undefined has no points: that too is on record, so that nobody can give it a value afterwards.
    metrics = {name: [] if value is None else [(0, float(value))] for name, value in output.numbers.items()}
    metrics |= {
        name: [(step, float(value)) for step, value in enumerate(values) if value is not None]
        for name, values in output.series.items()
    }
    return Logged(
        params={name: str(value) for name, value in output.config.items()},
        metrics=metrics,
        tags={name: str(value) for name, value in as_tag_values(tags).items()} | _place_among_runs(run),
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


def _not_captured(run: AnalysisRun, captured: CapturedContext, task: RunContext) -> dict[str, str]:
    reasons = dict(captured.code.not_captured)
    if captured.dvc_lock_sha256 is None:
        reasons["dvc_lock_sha256"] = "there is no dvc.lock"
    if captured.environment.lock_sha256 is None:
        reasons["environment.lock_sha256"] = f"there is no {LOCK.name}"
    reasons["orchestrator.url"] = "a run does not know at which address Dagster's UI is"
    if run.url is None:
        reasons["tracking.url"] = f"{run.store.label} has no pages of its own"
    if task.analysis_run_id is None:
        reasons["identity.analysis_run_id"] = "the app has no row for it"
    return reasons
