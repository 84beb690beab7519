"""Route the charts of the pages, each of the snapshot that its page names."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from americano_pipelines.serving.pages import activity_charts, experiment_charts, result_charts
from americano_pipelines.serving.pages.analysis_view import read_analysis
from americano_pipelines.serving.pages.chart_drawing import answer_chart
from americano_pipelines.serving.pages.chart_frame import NARROW, WIDE, Spec
from americano_pipelines.serving.pages.experiment_progress import read_experiment
from americano_pipelines.serving.pages.page_answers import PageRoute
from americano_pipelines.serving.pages.page_reader import PageReader, reading
from americano_pipelines.serving.pages.page_routes import LearnerId, overview_window, recent_days
from americano_pipelines.serving.pages.page_tables import LEARNER_DAYS
from americano_pipelines.serving.problem_details import not_found
from americano_pipelines.serving.route_parameters import AnalysisId, ProtocolId, Reader, SnapshotId, TheService

_WIDTHS = {"wide": WIDE, "narrow": NARROW}
Width = Literal["wide", "narrow"]
_Protocol = Annotated[str, Query(max_length=200)]
ROUTER = APIRouter(prefix="/charts", route_class=PageRoute, include_in_schema=False, default_response_class=Response)


@dataclass(frozen=True)
class ChartRequest:
    """What every request for a chart has.

    Attributes:
        reader: reads from the snapshot that the page names.
        width: in pixels.
    """

    reader: PageReader
    width: int

    async def answer(self, title: str, spec: Spec) -> Response:
        """The drawing of a specification; see `answer_chart`."""
        return await answer_chart(self.reader.request, self.reader.service, self.reader.snapshot, title, spec)


async def _chart_request(
    request: Request, service: TheService, principal: Reader, width: Width, snapshot: SnapshotId = None
) -> AsyncIterator[ChartRequest]:
    async with reading(request, service, principal, snapshot) as reader:
        yield ChartRequest(reader, _WIDTHS[width])


_Chart = Annotated[ChartRequest, Depends(_chart_request)]


@ROUTER.get("/rows/{width}.svg")
async def _rows(chart: _Chart) -> Response:
    days = [row for row in (await recent_days(chart.reader))[0] if row["events"] is not None]
    spec = activity_charts.rows_by_day_chart(days, overview_window(chart.reader), chart.width)
    return await chart.answer("Events by day", spec)


@ROUTER.get("/series/{width}/{protocol}.svg")
async def _series(chart: _Chart, protocol: ProtocolId) -> Response:
    days = await read_experiment(chart.reader, protocol)
    if not days.phases:
        raise not_found("series")
    spec = experiment_charts.series_chart(days.series, days.phases, days.lines, days.outcome, chart.width)
    return await chart.answer(days.description, spec)


@ROUTER.get("/distribution/{width}/{analysis}.svg")
async def _distribution(chart: _Chart, analysis: AnalysisId) -> Response:
    view = await read_analysis(chart.reader, analysis)
    if view.test is None:
        raise not_found("test")
    spec = result_charts.distribution_chart(view.test, "treatment minus baseline", chart.width)
    return await chart.answer("Randomization distribution", spec)


@ROUTER.get("/effect/{width}/{analysis}.svg")
async def _effect(chart: _Chart, analysis: AnalysisId) -> Response:
    numbers = (await read_analysis(chart.reader, analysis)).numbers
    effect = numbers.get("effect")
    if effect is None:
        raise not_found("effect")
    spec = result_charts.effect_chart(
        effect, numbers["interval_low"], numbers["interval_high"], "treatment minus baseline", chart.width
    )
    return await chart.answer("Effect with its interval", spec)


@ROUTER.get("/overlay/{width}.svg")
async def _overlay(chart: _Chart, a: _Protocol, b: _Protocol) -> Response:
    both = [await read_experiment(chart.reader, name) for name in (a, b)]
    outcome = " / ".join(dict.fromkeys(days.outcome for days in both))
    spec = experiment_charts.overlay_chart([days.series for days in both], outcome, chart.width)
    return await chart.answer("Days of two experiments", spec)


@ROUTER.get("/learner/{width}/{learner}.svg")
async def _learner(chart: _Chart, learner: LearnerId) -> Response:
    days = await chart.reader.rows(LEARNER_DAYS, learner=learner)
    if not days:
        raise not_found("learner")
    return await chart.answer("Events by day and type", activity_charts.events_by_type_chart(days, chart.width))
