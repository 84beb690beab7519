"""Route the charts of the pages, each of the snapshot that its page names."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from americano_pipelines.serving.pages import chart_specs
from americano_pipelines.serving.pages.analysis_view import read_analysis
from americano_pipelines.serving.pages.chart_drawing import answer_chart
from americano_pipelines.serving.pages.chart_specs import NARROW, WIDE
from americano_pipelines.serving.pages.experiment_progress import read_experiment
from americano_pipelines.serving.pages.page_answers import PageRoute
from americano_pipelines.serving.pages.page_reader import reading
from americano_pipelines.serving.pages.page_routes import LearnerId, morning_window, recent_days
from americano_pipelines.serving.pages.page_tables import LEARNER_DAYS
from americano_pipelines.serving.problem_details import not_found
from americano_pipelines.serving.route_parameters import AnalysisId, ProtocolId, Reader, SnapshotId, TheService

_WIDTHS = {"wide": WIDE, "narrow": NARROW}
Width = Literal["wide", "narrow"]
_Protocol = Annotated[str, Query(max_length=200)]
ROUTER = APIRouter(prefix="/charts", route_class=PageRoute, include_in_schema=False, default_response_class=Response)


@ROUTER.get("/rows/{width}.svg")
async def _rows(
    request: Request, service: TheService, principal: Reader, width: Width, snapshot: SnapshotId = None
) -> Response:
    async with reading(request, service, principal, snapshot) as reader:
        days = [row for row in (await recent_days(reader))[0] if row["events"] is not None]
        spec = chart_specs.rows_by_day_chart(days, morning_window(reader), _WIDTHS[width])
        return await answer_chart(request, service, reader.snapshot, "Events by day", spec)


@ROUTER.get("/series/{width}/{protocol}.svg")
async def _series(
    request: Request,
    service: TheService,
    principal: Reader,
    width: Width,
    protocol: ProtocolId,
    snapshot: SnapshotId = None,
) -> Response:
    async with reading(request, service, principal, snapshot) as reader:
        days = await read_experiment(reader, protocol)
        if not days.phases:
            raise not_found("series")
        spec = chart_specs.series_chart(days.series, days.phases, days.lines, days.outcome, _WIDTHS[width])
        return await answer_chart(request, service, reader.snapshot, days.description, spec)


@ROUTER.get("/distribution/{width}/{analysis}.svg")
async def _distribution(
    request: Request,
    service: TheService,
    principal: Reader,
    width: Width,
    analysis: AnalysisId,
    snapshot: SnapshotId = None,
) -> Response:
    async with reading(request, service, principal, snapshot) as reader:
        view = await read_analysis(reader, analysis)
        if view.test is None:
            raise not_found("test")
        spec = chart_specs.distribution_chart(view.test, "treatment minus baseline", _WIDTHS[width])
        return await answer_chart(request, service, reader.snapshot, "Randomization distribution", spec)


@ROUTER.get("/effect/{width}/{analysis}.svg")
async def _effect(
    request: Request,
    service: TheService,
    principal: Reader,
    width: Width,
    analysis: AnalysisId,
    snapshot: SnapshotId = None,
) -> Response:
    async with reading(request, service, principal, snapshot) as reader:
        numbers = (await read_analysis(reader, analysis)).numbers
        effect = numbers.get("effect")
        if effect is None:
            raise not_found("effect")
        spec = chart_specs.effect_chart(
            effect, numbers["interval_low"], numbers["interval_high"], "treatment minus baseline", _WIDTHS[width]
        )
        return await answer_chart(request, service, reader.snapshot, "Effect with its interval", spec)


@ROUTER.get("/overlay/{width}.svg")
async def _overlay(
    request: Request,
    service: TheService,
    principal: Reader,
    width: Width,
    a: _Protocol,
    b: _Protocol,
    snapshot: SnapshotId = None,
) -> Response:
    async with reading(request, service, principal, snapshot) as reader:
        both = [await read_experiment(reader, name) for name in (a, b)]
        outcome = " / ".join(dict.fromkeys(days.outcome for days in both))
        spec = chart_specs.overlay_chart([days.series for days in both], outcome, _WIDTHS[width])
        return await answer_chart(request, service, reader.snapshot, "Days of two experiments", spec)


@ROUTER.get("/learner/{width}/{learner}.svg")
async def _learner(
    request: Request,
    service: TheService,
    principal: Reader,
    width: Width,
    learner: LearnerId,
    snapshot: SnapshotId = None,
) -> Response:
    async with reading(request, service, principal, snapshot) as reader:
        days = await reader.rows(LEARNER_DAYS, learner=learner)
        if not days:
            raise not_found("learner")
        spec = chart_specs.events_by_type_chart(days, _WIDTHS[width])
        return await answer_chart(request, service, reader.snapshot, "Events by day and type", spec)
