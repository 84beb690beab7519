"""Route the pages: the overview, experiments, analyses, their comparison and verification, learners."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from americano_pipelines.serving.answer_tables import ANALYSES, DAILY, PROTOCOLS
from americano_pipelines.serving.pages import record_entries
from americano_pipelines.serving.pages.analysis_view import AnalysisView, read_analysis
from americano_pipelines.serving.pages.experiment_progress import analyses_of, list_experiments, read_experiment
from americano_pipelines.serving.pages.page_answers import PageRoute, answer_page
from americano_pipelines.serving.pages.page_reader import PageReader, Rows, reading
from americano_pipelines.serving.pages.page_tables import LEARNER_DAYS
from americano_pipelines.serving.principals import ROW_SCOPES, Scope
from americano_pipelines.serving.problem_details import not_found
from americano_pipelines.serving.route_parameters import AnalysisId, ProtocolId, Reader, TheService, requires
from americano_pipelines.serving.service_routes import snapshot_age
from americano_pipelines.text_output import age_text

OVERVIEW_DAYS = 60
_MAX_COMPARABLE, _WAIT_SECONDS = 300, "3"
_RESEARCHER, _PIPELINE = (Scope.READ, Scope.ADMIN), (Scope.READ, Scope.ADMIN, Scope.OPERATOR)
LearnerId = Annotated[str, Path(pattern=r"^[^/\x00]{1,200}$")]
Name = Annotated[str | None, Query(max_length=200)]
ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False, default_response_class=Response)


@ROUTER.get("/")
async def _overview(request: Request, service: TheService) -> Response:
    principal = await requires(*ROW_SCOPES, Scope.OPERATOR)(request)
    if not principal.scopes & {*_PIPELINE}:
        return RedirectResponse("/protocols", 303)
    reads_rows, sees_all = bool(principal.scopes & ROW_SCOPES), principal.visible is None
    async with reading(request, service, principal) as reader:
        days, last_day = await recent_days(reader) if reads_rows else ([], None)
        requests = await _requests(reader) if reads_rows else {}
        # Reasons of failures and names of runs can hold ids of anybody.
        pipeline = service.pipeline.latest() if sees_all or Scope.OPERATOR in principal.scopes else None
        collecting = pipeline is None and (sees_all or Scope.OPERATOR in principal.scopes)
        record, moment = reader.snapshot.record, datetime.now(UTC)
        return await answer_page(
            request,
            "overview.html",
            principal=principal,
            snapshot=reader.snapshot,
            headers={"refresh": _WAIT_SECONDS} if collecting else {},
            title="This morning",
            age=snapshot_age(service.settings, reader.snapshot),
            age_words=age_text(reader.snapshot.instant, moment),
            cron=f"{service.settings.americano_sync_cron} ({service.settings.americano_sync_timezone})",
            checks=len(record.checks),
            failed_checks=[check for check in record.checks if not check.passed],
            skipped=record.skipped,
            days=days,
            last_day=last_day,
            day_count=OVERVIEW_DAYS,
            reads=reads_rows,
            requests=requests,
            pipeline=pipeline,
            collecting=collecting,
            sees_all=sees_all,
        )


def overview_window(reader: PageReader) -> tuple[date, date]:
    """The first and the last of the 60 days."""
    last = reader.snapshot.instant.astimezone(UTC).date()
    return last - timedelta(days=OVERVIEW_DAYS - 1), last


async def recent_days(reader: PageReader) -> tuple[Rows, str | None]:
    """The days of the last 60 until the instant of the data that have events, and the last day that has."""
    first, last = overview_window(reader)
    rows = await reader.rows(DAILY)
    dated = [row for row in rows if row["day"] is not None]
    recent = [row for row in dated if first <= date.fromisoformat(row["day"]) <= last]
    return recent, dated[-1]["day"] if dated else None


async def _requests(reader: PageReader) -> dict[str, Rows]:
    """The analyses that wait, run or have failed, each with the name of its experiment."""
    names = {row["protocol_id"]: row["protocol_name"] for row in await reader.rows(PROTOCOLS, protocol=None)}
    listed = {}
    for status in ("PENDING", "RUNNING", "FAILED"):
        filters = {"protocol": None, "kind": None, "standing": None, "verdict": None, "status": status}
        rows = await reader.rows(ANALYSES, **filters)
        listed[status.lower()] = [row | {"experiment": names.get(row["protocol_id"])} for row in rows]
    return {name: rows for name, rows in listed.items() if rows}


@ROUTER.get("/protocols")
async def _protocols(request: Request, service: TheService, principal: Reader) -> Response:
    async with reading(request, service, principal) as reader:
        experiments = await list_experiments(reader)
        return await answer_page(
            request,
            "protocols.html",
            principal=principal,
            snapshot=reader.snapshot,
            title="Experiments",
            experiments=experiments,
        )


@ROUTER.get("/protocols/{protocol}")
async def _protocol(request: Request, service: TheService, principal: Reader, protocol: ProtocolId) -> Response:
    async with reading(request, service, principal) as reader:
        days = await read_experiment(reader, protocol)
        experiment = days.experiment
        analyses = await analyses_of(reader, experiment)
        view = await read_analysis(reader, experiment.result["name"]) if experiment.result else None
        return await answer_page(
            request,
            "protocol.html",
            principal=principal,
            snapshot=reader.snapshot,
            title=experiment.name,
            days=days,
            experiment=experiment,
            analyses=analyses,
            view=view,
            planned=_planned(days.phases, view),
        )


def _planned(phases: Any, view: AnalysisView | None) -> list[dict[str, Any]]:  # noqa: ANN401 - phases of a page
    """Planned against actual, phase by phase."""
    recorded = view.document.get("results", {}).get("phases", []) if view is not None else []
    if len(recorded) != len(phases):
        recorded = [{}] * len(phases)
    return [
        {
            "label": phase.label, "condition": phase.condition, "starts": phase.starts, "ends": phase.ends,
            "planned": phase.planned_days, "actual": phase.days,
            "with_value": row.get("days with a value"),
        }
        for phase, row in zip(phases, recorded, strict=True)
    ]  # fmt: skip


@ROUTER.get("/analyses/{analysis}")
async def _analysis(request: Request, service: TheService, principal: Reader, analysis: AnalysisId) -> Response:
    async with reading(request, service, principal) as reader:
        view = await read_analysis(reader, analysis)
        return await _answer_analysis(reader, view, None)


@ROUTER.post("/analyses/{analysis}")
async def _verify(request: Request, service: TheService, analysis: AnalysisId) -> Response:
    await service.authentication.sessions.checked_form(request)
    principal = await requires(*_RESEARCHER)(request)
    async with reading(request, service, principal) as reader:
        view = await read_analysis(reader, analysis)
        if view.record is None:
            raise not_found("record")
        verification = await service.worker.verification(view.record.sha256)
        return await _answer_analysis(reader, view, verification)


async def _answer_analysis(reader: PageReader, view: AnalysisView, verification: dict[str, Any] | None) -> Response:
    others = [name for name in await _comparable(reader) if name["name"] != view.name]
    return await answer_page(
        reader.request,
        "analysis.html",
        principal=reader.principal,
        snapshot=reader.snapshot,
        title=view.title,
        view=view,
        others=others,
        verification=verification,
        verified_at=datetime.now(UTC).isoformat(),
    )


async def _comparable(reader: PageReader) -> list[dict[str, str]]:
    """The newest recorded analyses that the principal may see."""
    names = {row["protocol_id"]: row["protocol_name"] for row in await reader.rows(PROTOCOLS, protocol=None)}
    listed = [
        {
            "name": entry.sha256,
            "experiment": str(names.get(entry.protocol_id) or entry.protocol_id or "all learners"),
            "kind": str(entry.analysis),
            "ended": str(entry.ended_at)[:10],
        }
        for entry in await asyncio.to_thread(record_entries.newest, reader.service.settings.paths)
        if entry.protocol_id in names or (entry.protocol_id is None and reader.principal.visible is None)
    ]
    return listed[:_MAX_COMPARABLE]


@ROUTER.get("/compare")
async def _compare(
    request: Request, service: TheService, principal: Reader, a: Name = None, b: Name = None
) -> Response:
    async with reading(request, service, principal) as reader:
        others = await _comparable(reader)
        views: list[AnalysisView] = []
        compared: list[Any] = []
        for name in filter(None, (a, b)):
            view = await read_analysis(reader, name)
            if view.record is None:
                raise not_found("record of this analysis, which a comparison needs")
            views.append(view)
        if len(views) == 2:  # noqa: PLR2004 - two are compared
            records = [view.record.content for view in views if view.record is not None]
            shows_results = all(view.shows_results for view in views)
            values = await asyncio.to_thread(record_entries.compared, records)
            compared = [value for value in values if value.part != "results" or shows_results]
        parts: dict[str, dict[str, list[Any]]] = {}
        for value in compared:
            lists = parts.setdefault(value.part, {"different": [], "details": [], "same": []})
            is_detail = value.part == "results" and "." in value.name
            lists["same" if value.same else "details" if is_detail else "different"].append(value)
        return await answer_page(
            request,
            "compare.html",
            principal=principal,
            snapshot=reader.snapshot,
            title="Compare two analyses",
            views=views,
            parts=parts,
            others=others,
            chosen={"a": views[0].record.sha256 if views and views[0].record else None, "b": b},
        )


@ROUTER.get("/learners/{learner}")
async def _learner(request: Request, service: TheService, principal: Reader, learner: LearnerId) -> Response:
    async with reading(request, service, principal) as reader:
        days = await reader.rows(LEARNER_DAYS, learner=learner)
        experiments = [item for item in await list_experiments(reader) if item.protocol["learner_id"] == learner]
        if not days and not experiments:
            raise not_found("learner")
        totals: dict[str, dict[str, Any]] = {}
        for row in days:
            total = totals.setdefault(row["event_type"] or "no type", {"events": 0, "days": 0, "first": row["day"]})
            total["events"] += row["events"]
            total["days"] += 1
            total["last"] = row["day"]
        return await answer_page(
            request,
            "learner.html",
            principal=principal,
            snapshot=reader.snapshot,
            title=f"Learner {learner}",
            learner=learner,
            days=days,
            totals=sorted(totals.items(), key=lambda item: -item[1]["events"]),
            experiments=experiments,
        )
