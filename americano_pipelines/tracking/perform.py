"""Carrying out one analysis of a protocol: from the published file to a recorded result.

Here belongs the way from one to the other, the same for every kind. What an analysis computes is `analysis/`, what is
written where is `recording.py`, who asks for it is `defs/analyses.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from americano_pipelines.analysis.catalog import KINDS, Kind
from americano_pipelines.analysis.config import Parameters
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.observations import Observations, observe
from americano_pipelines.analysis.outcome import Analysis
from americano_pipelines.analysis.plan import resolve
from americano_pipelines.analysis.reading import read_extract
from americano_pipelines.analysis.report import render_report
from americano_pipelines.analysis.standing import Standing, standing
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.earlier import before
from americano_pipelines.tracking.inputs import inputs_of, reaches_to
from americano_pipelines.tracking.made import Made
from americano_pipelines.tracking.record import canonical, sha256_of
from americano_pipelines.tracking.record_parts import StandingPart
from americano_pipelines.tracking.recording import Recorded, record
from americano_pipelines.tracking.runs import AnalysisRun
from americano_pipelines.tracking.surroundings import Surroundings, Task, look_around
from americano_pipelines.warehouse.document import Document

DAILY, RESULTS, REPORT = "daily.csv", "results.json", "report.html"


@dataclass(frozen=True)
class Prepared:
    """What an analysis starts from.

    Attributes:
        kind: which analysis.
        parameters: as resolved.
        extract: the input.
        document: the record of the file it is from.
        around: code and environment, as they were before it was read.
    """

    kind: Kind
    parameters: Parameters
    extract: Extract
    document: Document
    around: Surroundings


@dataclass(frozen=True)
class Performed:
    """An analysis that was carried out: its result, its days, where it stands, its record."""

    analysis: Analysis
    seen: Observations
    standing: Standing
    recorded: Recorded


def prepare(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    document: Document,
    protocol_id: str,
    kind_name: str,
    given: Mapping[str, Any],
) -> Prepared:
    """Read what an analysis needs, and settle its parameters.

    Args:
        settings: the data folder.
        connection: the published file, open for reading.
        document: the file's record.
        protocol_id: the protocol.
        kind_name: one of `analysis.catalog.KINDS`.
        given: the parameters that were asked for; the plan and the defaults stand in for others.

    Raises:
        AnalysisError: it cannot be done as asked.
    """
    around, kind = look_around(), KINDS[kind_name]
    extract = read_extract(connection, settings, document, protocol_id, given.get("outcome"))
    return Prepared(kind, resolve(kind, given, extract), extract, document, around)


def perform(run: AnalysisRun, settings: Settings, prepared: Prepared, task: Task) -> Performed:
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
    seen = observe(prepared.extract)
    instant = round(reaches_to(document).timestamp() * 1_000_000)
    over = instant >= seen.planned_end_us
    stands = standing(
        kind,
        parameters,
        prepared.extract,
        ended=over,
        ends_us=seen.planned_end_us,
        before=before(settings, run.store, protocol.protocol_id, run.run_id),
    )
    analysis = kind.analyse(seen, parameters, instant, stands.label)
    title = f"{protocol.name or protocol.protocol_id}: {kind.title}"
    files = {
        **analysis.pictures,
        DAILY: seen.daily_csv().encode(),
        RESULTS: canonical(analysis.results),
        REPORT: render_report(
            analysis,
            title,
            standing=stands.sentence,
            parameters=parameters.model_dump(mode="json"),
            facts=_facts(run, prepared, task),
        ).encode(),
    }
    made = _made(analysis, seen, prepared, stands, files, over=over)
    return Performed(analysis, seen, stands, record(run, settings, task, prepared.around, made))


def _made(
    analysis: Analysis,
    seen: Observations,
    prepared: Prepared,
    stands: Standing,
    files: dict[str, bytes],
    *,
    over: bool,
) -> Made:
    extract = prepared.extract
    return Made(
        analysis=analysis.name,
        version=analysis.version,
        sentence=analysis.sentence,
        verdict=analysis.verdict,
        results=analysis.results,
        numbers=analysis.numbers,
        series={},
        files=files,
        inputs=inputs_of(prepared.document, extract, seen),
        extract=extract.canonical(),
        protocol_sha256=sha256_of(extract.protocol.model_dump(mode="json")),
        phases_sha256=sha256_of([phase.model_dump(mode="json") for phase in extract.phases]),
        config=prepared.parameters.model_dump(mode="json"),
        seed=analysis.seed,
        generator=analysis.generator,
        standing=StandingPart(
            planned=stands.planned,
            reasons=list(stands.reasons),
            earlier_runs=stands.earlier_runs,
            unrecorded_runs=stands.unrecorded_runs,
            plan_over=over,
        ),
    )


def _facts(run: AnalysisRun, prepared: Prepared, task: Task) -> dict[str, Any]:
    """What stands at the foot of the page."""
    document, around, extract = prepared.document, prepared.around, prepared.extract
    return {
        "snapshot": document.snapshot_id,
        "source as of": reaches_to(document).isoformat(),
        "extract sha256": extract.sha256,
        "learner": extract.protocol.learner,
        "commit": f"{around.code.commit}{' with changes' if around.code.dirty else ''}",
        "Python": around.environment.python,
        "packages": {name: version for name, version in around.environment.packages.items() if version},
        "MLflow run": run.url or run.run_id,
        "Dagster run": task.dagster_run_id,
        "AnalysisRun": task.analysis_run_id or "none",
    }
