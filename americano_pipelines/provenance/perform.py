"""Carry out one analysis of a protocol, from the published file to a recorded result."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from americano_pipelines.analysis.daily_series import Observations, observe
from americano_pipelines.analysis.extract import Extract, events_statement, read_extract
from americano_pipelines.analysis.html_report import render_report
from americano_pipelines.analysis.preregistration import PlanCompliance, assess_compliance, resolve
from americano_pipelines.analysis.registry import KINDS, Kind, Parameters
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.common import sql
from americano_pipelines.mlflow_store.runs import AnalysisRun
from americano_pipelines.provenance.capture import CapturedContext, RunContext, capture_context
from americano_pipelines.provenance.prior_runs import find_prior_runs
from americano_pipelines.provenance.record import CompliancePart, Input, canonical, sha256_of
from americano_pipelines.provenance.recorder import AnalysisOutput, Recorded, record
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

_EPOCH, _DAY = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)


def reaches_to(document: SnapshotRecord) -> datetime:
    """The instant to which the events of a published file are known.

    Of a Postgres it is the instant of its snapshot. Files made by others say of themselves only what is in them: when
    they were exported nobody knows, and when they were read says nothing. They are taken to be whole to a day after the
    last event of anybody, for nothing happens after the end of the last day of the last experiment.
    """
    events = document.tables[EVENTS.name]
    instant = datetime.fromisoformat(events.instant)
    if document.content.mode != Mode.PARQUET:
        return instant
    last = max((bucket.max_us for bucket in events.figures.values()), default=0)
    return min(instant, _EPOCH + timedelta(microseconds=last) + _DAY)


def inputs_of(document: SnapshotRecord, extract: Extract, observations: Observations | None = None) -> list[Input]:
    """The three inputs of an analysis of a protocol.

    Args:
        document: the record of the file that was read.
        extract: what was read.
        observations: what became of the events.
    """
    protocol_id, learner = extract.protocol.protocol_id, extract.protocol.learner
    bound = f"$1 = {protocol_id!r}"
    starts = [phase.starts_us for phase in extract.phases]
    columns = {name: sorted(model.columns.items()) for name, model in document.models.items()}
    return [
        _input(document, "research.protocols", columns["protocols"], 1, None, _describe_range("protocol", bound)),
        _input(
            document,
            "research.phases",
            columns["phases"],
            len(starts),
            _range(starts),
            _describe_range("phases", bound),
        ),
        _input(
            document,
            f"analytics.{EVENTS.name}",
            [(column.name, column.type) for column in document.tables[EVENTS.name].columns],
            len(extract.times_us),
            _range(extract.times_us),
            f"{events_statement(document, extract.outcome)}\n-- $1 = {learner!r} (a pseudonym), $2 and $3 from the "
            f"first phase's start to the last one's end, $4 = {protocol_id!r}",
            observations.counts() if observations is not None else {},
        ),
    ]


def _input(
    document: SnapshotRecord,
    dotted: str,
    columns: list[tuple[str, str]],
    rows: int,
    time_range: tuple[str, str] | None,
    query: str,
    exclusions: dict[str, int] | None = None,
) -> Input:
    instant = reaches_to(document).isoformat() if dotted.startswith("analytics.") else document.instant
    return Input(
        asset=dotted.replace(".", "/"),
        data_version=document.states[dotted],
        snapshot_id=document.snapshot_id,
        snapshot_sha256=document.sha256,
        instant=instant,
        schema_sha256=sha256_of([list(column) for column in columns]),
        rows=rows,
        time_range=time_range,
        query=query,
        exclusions=exclusions or {},
    )


def _describe_range(statement: str, bound: str) -> str:
    return f"{sql.load('analysis', statement).strip()}\n-- {bound}"


def _range(times_us: list[int]) -> tuple[str, str] | None:
    if not times_us:
        return None
    first, last = (datetime.fromtimestamp(at / 1e6, UTC).isoformat() for at in (min(times_us), max(times_us)))
    return first, last


DAILY, RESULTS, REPORT = "daily.csv", "results.json", "report.html"


@dataclass(frozen=True)
class PreparedAnalysis:
    """What an analysis starts from.

    Attributes:
        kind: which analysis.
        parameters: as resolved.
        extract: the input.
        document: the record of the file it is from.
        captured: code and environment, as they were before it was read.
    """

    kind: Kind
    parameters: Parameters
    extract: Extract
    document: SnapshotRecord
    captured: CapturedContext


@dataclass(frozen=True)
class PerformedAnalysis:
    """An analysis that was carried out: its result, its days, where it stands, its record."""

    analysis: Analysis
    observations: Observations
    standing: PlanCompliance
    recorded: Recorded


def prepare(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    document: SnapshotRecord,
    protocol_id: str,
    kind_name: str,
    overrides: Mapping[str, Any],
) -> PreparedAnalysis:
    """Read what an analysis needs, and settle its parameters.

    Args:
        settings: the data folder.
        connection: the published file, open for reading.
        document: the file's record.
        protocol_id: the protocol.
        kind_name: one of `analysis.registry.KINDS`.
        overrides: the parameters that were asked for; the plan and the defaults stand in for others.

    Raises:
        AnalysisError: it cannot be done as asked.
    """
    captured, kind = capture_context(), KINDS[kind_name]
    extract = read_extract(connection, settings, document, protocol_id, overrides.get("outcome"))
    return PreparedAnalysis(kind, resolve(kind, overrides, extract), extract, document, captured)


def perform(run: AnalysisRun, settings: Settings, prepared: PreparedAnalysis, task: RunContext) -> PerformedAnalysis:
    """Carry out an analysis and record it.

    Args:
        run: its open MLflow run.
        settings: the data folder.
        prepared: what it needs.
        task: who asked.

    Raises:
        AnalysisError: it cannot be done on these data; TrackingError: MLflow does not take it.
    """
    kind, parameters, document = prepared.kind, prepared.parameters, prepared.document
    protocol = prepared.extract.protocol
    observations = observe(prepared.extract)
    instant = round(reaches_to(document).timestamp() * 1_000_000)
    over = instant >= observations.planned_end_us
    compliance = assess_compliance(
        kind,
        parameters,
        prepared.extract,
        ended=over,
        ends_us=observations.planned_end_us,
        before=find_prior_runs(settings, run.store, protocol.protocol_id, run.run_id),
    )
    analysis = kind.analyse(observations, parameters, instant, compliance.label)
    title = f"{protocol.name or protocol.protocol_id}: {kind.title}"
    files = {
        **analysis.pictures,
        DAILY: observations.daily_csv().encode(),
        RESULTS: canonical(analysis.results),
        REPORT: render_report(
            analysis,
            title,
            standing=compliance.sentence,
            parameters=parameters.model_dump(mode="json"),
            facts=_facts(run, prepared, task),
        ).encode(),
    }
    output = _output(analysis, observations, prepared, compliance, files, over=over)
    return PerformedAnalysis(analysis, observations, compliance, record(run, settings, task, prepared.captured, output))


def _output(
    analysis: Analysis,
    observations: Observations,
    prepared: PreparedAnalysis,
    compliance: PlanCompliance,
    files: dict[str, bytes],
    *,
    over: bool,
) -> AnalysisOutput:
    extract = prepared.extract
    return AnalysisOutput(
        analysis=analysis.name,
        version=analysis.version,
        sentence=analysis.sentence,
        verdict=analysis.verdict,
        results=analysis.results,
        numbers=analysis.numbers,
        series={},
        files=files,
        inputs=inputs_of(prepared.document, extract, observations),
        extract=extract.canonical(),
        protocol_sha256=sha256_of(extract.protocol.model_dump(mode="json")),
        phases_sha256=sha256_of([phase.model_dump(mode="json") for phase in extract.phases]),
        config=prepared.parameters.model_dump(mode="json"),
        seed=analysis.seed,
        generator=analysis.generator,
        standing=CompliancePart(
            planned=compliance.planned,
            reasons=list(compliance.reasons),
            earlier_runs=compliance.earlier_runs,
            unrecorded_runs=compliance.unrecorded_runs,
            plan_over=over,
        ),
    )


def _facts(run: AnalysisRun, prepared: PreparedAnalysis, task: RunContext) -> dict[str, Any]:
    """What stands at the foot of the page."""
    document, captured, extract = prepared.document, prepared.captured, prepared.extract
    return {
        "snapshot": document.snapshot_id,
        "source as of": reaches_to(document).isoformat(),
        "extract sha256": extract.sha256,
        "learner": extract.protocol.learner,
        "commit": f"{captured.code.commit}{' with changes' if captured.code.dirty else ''}",
        "Python": captured.environment.python,
        "packages": {name: version for name, version in captured.environment.packages.items() if version},
        "MLflow run": run.url or run.run_id,
        "Dagster run": task.dagster_run_id,
        "AnalysisRun": task.analysis_run_id or "none",
    }
