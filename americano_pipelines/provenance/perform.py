"""Run a prepared analysis and record it.

A model gets the alias `candidate` after its training is recorded, so the alias never names an unrecorded model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from americano_pipelines.analysis.combined_extract import CombinedExtract
from americano_pipelines.analysis.daily_series import phase_timeline, planned_end_us
from americano_pipelines.analysis.day_values import DAYS, day_values
from americano_pipelines.analysis.extract import BaseExtract, events_instant
from americano_pipelines.analysis.group_extract import BaseGroupExtract, distinct_titles
from americano_pipelines.analysis.html_report import render_report
from americano_pipelines.analysis.plan_compliance import PlanCompliance, assess_compliance, merge_compliance
from americano_pipelines.analysis.preregistration import planned_of
from americano_pipelines.analysis.registry import Basis
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.app_database.recorded_rows import recorded_hashes
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.errors import AppRowError
from americano_pipelines.mlflow_store.analysis_run import AnalysisRun
from americano_pipelines.mlflow_store.registered_models import MODEL, RegisteredModel, log_model, make_candidate
from americano_pipelines.provenance.capture import RunContext
from americano_pipelines.provenance.manuscript_formats import markdown
from americano_pipelines.provenance.manuscript_text import manuscript
from americano_pipelines.provenance.plan_standing import apply_membership, apply_plan_sighting, merge_sightings
from americano_pipelines.provenance.preparation import PreparedAnalysis
from americano_pipelines.provenance.prior_runs import Subject, find_prior_runs, find_prior_sightings
from americano_pipelines.provenance.recorder import Recorded, record
from americano_pipelines.provenance.reporting_checklist import CHECKLIST_TITLE, ReportedAnalysis, fill_checklist
from americano_pipelines.settings import DataFolder, PostgresTarget, Settings

RESULTS, REPORT, MANUSCRIPT = "results.json", "report.html", "manuscript.md"


@dataclass(frozen=True)
class PerformedAnalysis:
    """A recorded analysis.

    Attributes:
        prepared: what it started from.
        analysis: its result.
        compliance: whether it is the planned analysis, None for one that no protocol plans.
        registered: the model that it trained, None without one.
        recorded: its record.
    """

    prepared: PreparedAnalysis
    analysis: Analysis
    compliance: PlanCompliance | None
    registered: RegisteredModel | None
    recorded: Recorded


def perform(run: AnalysisRun, settings: Settings, prepared: PreparedAnalysis, context: RunContext) -> PerformedAnalysis:
    """Run an analysis and record it.

    Args:
        run: its open MLflow run.
        settings: the data folder.
        prepared: what it starts from.
        context: the Dagster run and what launched it.

    Raises:
        AnalysisError: the analysis cannot be done on these data; TrackingError: MLflow refuses it.
    """
    as_of_us = round(events_instant(prepared.document).timestamp() * 1_000_000)
    hash_places, context = _recorded_hash_places(settings.app, prepared, context)
    compliance = _compliance(run, settings.paths, prepared, as_of_us, hash_places)
    basis = Basis(prepared.document.snapshot_id, as_of_us, compliance.label if compliance else None)
    analysis = prepared.kind.analyse(prepared.extract, prepared.parameters, basis)
    files, results, registered = dict(analysis.files), dict(analysis.recorded_results), None
    if compliance is not None:
        files[RESULTS] = canonical_json(results)
        days = day_values(prepared.extract, prepared.parameters)
        files |= {DAYS: days} if days is not None else {}
        files |= _texts(run, prepared, context, analysis, compliance)
    if (model := analysis.model) is not None:
        registered = log_model(run, model.pipeline, model.example, model.name)
        results[MODEL] = registered.model_dump(mode="json")
    complete = replace(analysis, files=files, results=results)
    recorded = record(run, settings, prepared, context, complete, compliance)
    if registered is not None:
        make_candidate(run, registered)
    return PerformedAnalysis(prepared, analysis, compliance, registered, recorded)


def _recorded_hash_places(
    app: PostgresTarget | None, prepared: PreparedAnalysis, context: RunContext
) -> tuple[dict[str, str], RunContext]:
    """Hash to place of the protocol's records that Dagster's log and the app's rows name.

    An app that does not answer is no reason to give up an analysis; the record says that its rows were not searched.
    """
    places = dict.fromkeys(context.recorded_before, "Dagster's log")
    # No row of the app shows an analysis of a group.
    if app is not None and prepared.kind.scope == "protocol":
        (extract,) = prepared.extract.members
        try:
            rows = recorded_hashes(app, extract.protocol.protocol_id)
        except AppRowError as error:
            return places, replace(context, not_searched={"standing.app_rows": str(error)})
        places |= {sha256: f"the app's row {row}" for sha256, row in rows.items()}
    return places, context


def _compliance(
    run: AnalysisRun, paths: DataFolder, prepared: PreparedAnalysis, as_of_us: int, hash_places: Mapping[str, str]
) -> PlanCompliance | None:
    members = prepared.extract.members
    if not members:
        return None
    subject = _subject(prepared.extract)
    prior_runs = find_prior_runs(paths, run.store, subject, run.run_id, hash_places)
    timelines = [phase_timeline(member) for member in members]
    # The protocol's end may lie later, or be moved: what counts for the plan's age is when all data were in.
    document = prepared.document
    data_ends_us = [timeline.windows[-1].ends_us for timeline in timelines]
    ends_us = max(planned_end_us(member, timeline) for member, timeline in zip(members, timelines, strict=True))
    assessed, read_since = [], []
    for member, data_end_us in zip(members, data_ends_us, strict=True):
        compliance = assess_compliance(
            prepared.kind,
            prepared.parameters,
            member,
            as_of_us=as_of_us,
            ends_us=ends_us,
            data_end_us=max(data_ends_us),
            prior_runs=prior_runs,
        )
        protocol_id = member.protocol.protocol_id
        if isinstance(prepared.extract, CombinedExtract) and not prepared.extract.is_tested(protocol_id):
            reasons = (*compliance.reasons, "no randomization test is recorded yet")
            compliance = compliance.model_copy(update={"planned": False, "reasons": reasons})
        if planned_of(prepared.kind, member) is not None:
            earlier = find_prior_sightings(paths, protocol_id)
            read_since += [earlier.watched_since] if earlier.watched_since is not None else []
            sighting = merge_sightings(
                prepared.plans_seen.get(protocol_id), earlier, document.snapshot_id, document.instant
            )
            compliance = apply_plan_sighting(compliance, sighting, data_end_us)
        assessed.append(compliance)
    if isinstance(prepared.extract, BaseGroupExtract):
        compliance = merge_compliance(distinct_titles(members), assessed)
        starts_us = min(timeline.windows[0].starts_us for timeline in timelines)
        kept_since = document.plans_since
        # Records know that the project read the source before the published file begins: an older file is lost.
        lost = any(datetime.fromisoformat(read) < datetime.fromisoformat(kept_since or read) for read in read_since)
        return apply_membership(compliance, prepared.former_members, starts_us, kept_since if lost else None)
    return assessed[0]


def _subject(extract: BaseExtract) -> Subject:
    if isinstance(extract, BaseGroupExtract):
        return Subject("group_key", extract.group)
    return Subject("protocol_id", extract.members[0].protocol.protocol_id)


def _texts(
    run: AnalysisRun,
    prepared: PreparedAnalysis,
    context: RunContext,
    analysis: Analysis,
    compliance: PlanCompliance,
) -> dict[str, bytes]:
    """The report, and the text to paste into a paper."""
    provenance = _provenance(run, prepared, context)
    sections, texts = {}, {}
    if prepared.kind.scope == "protocol":
        reported = ReportedAnalysis(
            name=prepared.extract.title or prepared.title,
            sentence=analysis.sentence,
            standing=compliance.sentence,
            results=analysis.recorded_results,
            outcome=prepared.extract.members[0].outcome,
            facts={name: _in_a_line(value) for name, value in provenance.items()},
        )
        sections[CHECKLIST_TITLE] = [
            {"SCRIBE": item.number, "topic": item.topic, "CENT": item.cent, "from protocol and record": item.shown}
            for item in fill_checklist(reported, prepared.protocol_row)
        ]
        texts[MANUSCRIPT] = markdown(manuscript(reported, prepared.protocol_row)).encode()
    page = render_report(
        analysis,
        prepared.title,
        compliance=compliance.sentence,
        parameters=prepared.parameters.recorded(),
        provenance=provenance,
        sections=sections,
    )
    return {REPORT: page.encode(), **texts}


def _in_a_line(value: object) -> str:
    return ", ".join(f"{name} {item}" for name, item in value.items()) if isinstance(value, dict) else str(value)


def _provenance(run: AnalysisRun, prepared: PreparedAnalysis, context: RunContext) -> dict[str, Any]:
    """The table at the end of the report."""
    document, captured, extract = prepared.document, prepared.captured, prepared.extract
    learners = dict.fromkeys(member.protocol.learner for member in extract.members)
    return {
        "snapshot": document.snapshot_id,
        "source as of": events_instant(document).isoformat(),
        "extract sha256": extract.sha256,
        **({"learner": ", ".join(learners)} if learners else {}),
        "commit": f"{captured.code.commit}{' with changes' if captured.code.dirty else ''}",
        "Python": captured.environment.python,
        "packages": {name: version for name, version in captured.environment.packages.items() if version},
        "MLflow run": run.url or run.run_id,
        "Dagster run": context.dagster_run_id,
        "AnalysisRun": context.analysis_run_id or "none",
    }
