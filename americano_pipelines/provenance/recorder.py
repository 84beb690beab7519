"""Record an analysis: numbers and files to MLflow, the extract to the archive, the record's hash last.

A process that dies on the way leaves an MLflow run without the tag `provenance.sha256`, which does not count as
recorded.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from americano_pipelines.analysis.extract import TableRead
from americano_pipelines.analysis.plan_compliance import PlanCompliance
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.common import file_permissions
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.mlflow_store.analysis_run import AnalysisRun
from americano_pipelines.mlflow_store.artifacts import Artifact
from americano_pipelines.mlflow_store.runs import (
    ASSET_TAG,
    DAGSTER_RUN_TAG,
    HASH_TAG,
    PARENT_TAG,
    PROTOCOL_TAG,
    SERVICE,
    as_tag_values,
)
from americano_pipelines.provenance.archive import put
from americano_pipelines.provenance.capture import LOCK, CapturedContext, RunContext, utc_now
from americano_pipelines.provenance.chain import append
from americano_pipelines.provenance.module_bundle import keep_bundle
from americano_pipelines.provenance.preparation import PreparedAnalysis
from americano_pipelines.provenance.record import CodePart, Identity, Input, Logged, Record
from americano_pipelines.provenance.secret_filter import without_addresses
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

NAME_TAG = "mlflow.runName"
_EVENTS = f"analytics.{EVENTS.name}"
DATASET = "extract"
# Paths among an MLflow run's artifacts.
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
    run: AnalysisRun,
    settings: Settings,
    prepared: PreparedAnalysis,
    context: RunContext,
    analysis: Analysis,
    compliance: PlanCompliance | None,
) -> Recorded:
    """Record an analysis in its open MLflow run and in the archive.

    Args:
        run: the open MLflow run.
        settings: the data folder.
        prepared: what the analysis started from.
        context: the Dagster run and what launched it.
        analysis: the result with all its files.
        compliance: whether it is the planned analysis, None for one that no protocol plans.

    Raises:
        TrackingError: MLflow refuses it; TamperedError: the archive holds something else under that hash.
        AnalysisError: a result is no JSON.
    """
    captured, extract = prepared.captured, prepared.extract.canonical()
    extract_sha256 = sha256_hex(extract)
    inputs = [_input(prepared.document, read, analysis) for read in prepared.extract.reads(prepared.document)]
    outcome_tags = _outcome_tags(prepared, analysis, compliance)
    logged = _log(
        run, settings.environment, prepared, context, analysis, outcome_tags | {"data.sha256": extract_sha256}
    )
    files = {**analysis.files, **analysis.pictures, EXTRACT: extract, **_lock()}
    if captured.code.diff:
        files[DIFF] = captured.code.diff.encode()
    mode = file_permissions.file_mode(settings.americano_group)
    # In the data folder: a killed process leaves the files behind, and only the data folder is swept.
    with temporary_folder(settings.paths.spill, "upload") as folder:
        artifacts = {name: _upload(run, folder, name, content) for name, content in files.items()}
        extract_path, _ = put(settings.paths.extracts, extract, mode)
        partial = Record(
            version=2,
            identity=Identity(
                analysis=analysis.name,
                analysis_version=analysis.version,
                analysis_run_id=context.analysis_run_id,
                protocol_id=None if prepared.kind.scope == "group" else context.partition,
                actor=context.actor,
                started_at=captured.started_at,
                ended_at=utc_now(),
                # Set for a group alone: the other records stay in the form of earlier releases.
                **({"group": context.partition} if prepared.kind.scope == "group" else {}),
            ),
            code=CodePart.model_validate(captured.code, from_attributes=True),
            inputs=inputs,
            extract_sha256=extract_sha256,
            protocol_sha256=prepared.extract.protocol_sha256,
            phases_sha256=prepared.extract.phases_sha256,
            dvc_lock_sha256=captured.dvc_lock_sha256,
            environment=asdict(captured.environment),
            config=prepared.parameters.recorded(),
            seed=analysis.seed,
            generator=analysis.generator,
            upstream={
                source.asset: {
                    "code_version": context.code_versions.get(source.asset),
                    "data_version": source.data_version,
                }
                for source in inputs
            },
            orchestrator={
                "dagster_run_id": context.dagster_run_id,
                "asset_key": context.asset_key,
                "partition": context.partition,
            },
            tracking={
                "address": run.store.label,
                "experiment_id": run.store.experiment_id,
                "run_id": run.run_id,
                "url": run.url,
            },
            standing=compliance,
            sentence=analysis.sentence,
            verdict=analysis.verdict,
            results=analysis.results,
            logged=logged,
            artifacts=artifacts,
            not_captured=_not_captured(run, captured, context),
            module_bundle_sha256=keep_bundle(settings.paths, captured.module_bundle, mode),
        )
        new_record, path, sha256 = append(settings.paths, lambda link: partial.model_copy(update={"chain": link}), mode)
        _upload(run, folder, RECORD, new_record.canonical())
    run.describe(new_record.description, commit=captured.code.commit)
    run.log_dataset(DATASET, extract_sha256, source=extract_path.relative_to(settings.paths.root).as_posix())
    run.set_tags({HASH_TAG: sha256})
    return Recorded(new_record, sha256, path)


def _input(document: SnapshotRecord, read: TableRead, analysis: Analysis) -> Input:
    return Input(
        asset=read.table.replace(".", "/"),
        data_version=document.states[read.table],
        snapshot_id=document.snapshot_id,
        snapshot_sha256=document.sha256,
        instant=read.instant,
        schema_sha256=sha256_hex(canonical_json([list(column) for column in read.columns])),
        rows=read.rows,
        time_range=_range(read.times_us),
        query=read.query,
        exclusions=analysis.counts if read.table == _EVENTS else {},
    )


def _range(times_us: Sequence[int]) -> tuple[str, str] | None:
    """First and last time, ISO 8601; None without any."""
    if not times_us:
        return None
    first, last = (datetime.fromtimestamp(time / 1e6, UTC).isoformat() for time in (min(times_us), max(times_us)))
    return first, last


def _log(
    run: AnalysisRun,
    environment: str,
    prepared: PreparedAnalysis,
    context: RunContext,
    analysis: Analysis,
    more_tags: dict[str, str],
) -> Logged:
    """Log parameters, numbers and tags, and return exactly what was logged."""
    captured, params = prepared.captured, prepared.parameters.recorded()
    tags = {
        "git.commit": captured.code.commit,
        "git.dirty": captured.code.dirty,
        "dvc.lock.sha256": captured.dvc_lock_sha256,
        "analysis_run_id": context.analysis_run_id,
        "service": SERVICE,
        "env": environment,
        DAGSTER_RUN_TAG: context.dagster_run_id,
        ASSET_TAG: context.asset_key,
        PROTOCOL_TAG: context.partition,
        "data.snapshot_id": prepared.document.snapshot_id,
        **more_tags,
    }
    run.log_params(params)
    run.log_metrics(analysis.numbers)
    for name, values in analysis.series.items():
        run.log_series(name, values)
    run.set_tags(tags)
    # An undefined number has no points on record, so that a value that is added later is found.
    metrics = {name: [] if value is None else [(0, float(value))] for name, value in analysis.numbers.items()}
    metrics |= {
        name: [(step, float(value)) for step, value in enumerate(values)] for name, values in analysis.series.items()
    }
    return Logged(
        params={name: str(value) for name, value in params.items()},
        metrics=metrics,
        tags={name: str(value) for name, value in as_tag_values(tags).items()} | _run_tags(run),
    )


def _outcome_tags(prepared: PreparedAnalysis, analysis: Analysis, compliance: PlanCompliance | None) -> dict[str, str]:
    """What MLflow's list of runs can be sorted and filtered by; an analysis that judges nothing has no verdict."""
    tags = {
        "protocol": prepared.extract.title,
        "verdict": analysis.verdict,
        "standing": compliance.label if compliance else None,
    }
    return {name: text for name, text in tags.items() if text is not None}


def _run_tags(run: AnalysisRun) -> dict[str, str]:
    """The tags that MLflow set when the run was opened: its name and its parent run."""
    tags = run.store.call(run.store.client.get_run, run.run_id).data.tags
    return {name: str(tags[name]) for name in (NAME_TAG, PARENT_TAG) if name in tags}


def _upload(run: AnalysisRun, folder: Path, name: str, content: bytes) -> Artifact:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    inside = Path(name).parent.as_posix()
    run.log_artifact(path, None if inside == "." else inside)
    return Artifact(sha256=sha256_hex(content), bytes=len(content))


def _lock() -> dict[str, bytes]:
    # The lock file may name a package index by an address with a password.
    return {LOCK_FILE: without_addresses(LOCK.read_text(encoding="utf-8"))[0].encode()} if LOCK.is_file() else {}


def _not_captured(run: AnalysisRun, captured: CapturedContext, context: RunContext) -> dict[str, str]:
    reasons = {**captured.code.not_captured, **context.not_searched}
    if captured.dvc_lock_sha256 is None:
        reasons["dvc_lock_sha256"] = "there is no dvc.lock"
    if captured.environment.lock_sha256 is None:
        reasons["environment.lock_sha256"] = f"there is no {LOCK.name}"
    reasons["orchestrator.url"] = "a run does not know at which address Dagster's UI is"
    if run.url is None:
        reasons["tracking.url"] = f"{run.store.label} has no pages of its own"
    if context.analysis_run_id is None:
        reasons["identity.analysis_run_id"] = "the app has no row for it"
    return reasons
