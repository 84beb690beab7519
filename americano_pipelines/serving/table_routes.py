"""Route the tables: reports, protocols, their phases, days and events, analyses."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from americano_pipelines.serving import answer_tables as tables
from americano_pipelines.serving.answer_tables import AnswerTable
from americano_pipelines.serving.api_description import table_responses
from americano_pipelines.serving.live_analysis import live_answer
from americano_pipelines.serving.parsed_requests import ParsedRequest
from americano_pipelines.serving.pinned_answer import TableAnswer
from americano_pipelines.serving.principals import Principal
from americano_pipelines.serving.route_parameters import (
    AnalysisId,
    AnswerOptions,
    Filter,
    Listed,
    Pinned,
    ProtocolId,
    Reader,
    TheService,
    check_names,
)
from americano_pipelines.serving.service import Service
from americano_pipelines.serving.table_request import TableRequest

# Those whose whole answer follows from the parsed request.
_PARSED_ONCE = (
    *(tables.DAILY, tables.WEEKLY, tables.BY_PHASE, tables.BY_PROTOCOL, tables.PROTOCOLS, tables.PROTOCOL),
    *(tables.PHASES, tables.SERIES, tables.EVENTS),
)
_Endpoint = Callable[..., Awaitable[Response]]


def _answer(
    service: Service,
    principal: Principal,
    table: AnswerTable,
    options: AnswerOptions,
    in_path: str = "",
    **filters: str | None,
) -> Response:
    """The answer with a table.

    Args:
        service: what answers.
        principal: the requesting principal.
        table: the table.
        options: snapshot, format and page.
        in_path: the filter whose value is in the path, or that cannot be set.
        filters: what the statement binds.
    """
    check_names(options, filters.keys() - {in_path})
    table_request = TableRequest(
        table,
        options.path,
        principal,
        options.format,
        filters,
        in_path,
        options.snapshot_id,
        options.limit,
        options.page,
    )
    if table in _PARSED_ONCE:
        service.parsed_requests.put(options.key, ParsedRequest(table_request, options.route))
    return TableAnswer(service, table_request, options.if_none_match)


def _report(table: AnswerTable) -> _Endpoint:
    async def endpoint(service: TheService, principal: Reader, options: Listed) -> Response:
        return _answer(service, principal, table, options)

    return endpoint


def _of_protocol(table: AnswerTable) -> _Endpoint:
    async def endpoint(service: TheService, principal: Reader, protocol: ProtocolId, options: Listed) -> Response:
        return _answer(service, principal, table, options, "protocol", protocol=protocol)

    return endpoint


async def _protocols(service: TheService, principal: Reader, options: Listed) -> Response:
    # The statement is also that of one protocol; None sets no filter.
    return _answer(service, principal, tables.PROTOCOLS, options, "protocol", protocol=None)


async def _protocol(service: TheService, principal: Reader, protocol: ProtocolId, options: Pinned) -> Response:
    return _answer(service, principal, tables.PROTOCOL, options, "protocol", protocol=protocol)


async def _analyses(  # noqa: PLR0913, PLR0917 - parameters of the route
    service: TheService,
    principal: Reader,
    options: Listed,
    protocol: Filter = None,
    kind: Filter = None,
    standing: Filter = None,
    verdict: Filter = None,
    status: Filter = None,
) -> Response:
    return _answer(
        service,
        principal,
        tables.ANALYSES,
        options,
        protocol=protocol,
        kind=kind,
        standing=standing,
        verdict=verdict,
        status=status,
    )


async def _analysis(service: TheService, principal: Reader, analysis: AnalysisId, options: Pinned) -> Response:
    if options.snapshot_id is None:
        check_names(options)
        return await live_answer(service, principal, analysis, options)
    return _answer(service, principal, tables.ANALYSIS, options, "analysis", analysis=analysis)


_ROUTES: tuple[tuple[str, AnswerTable, _Endpoint], ...] = (
    ("/reports/daily", tables.DAILY, _report(tables.DAILY)),
    ("/reports/weekly", tables.WEEKLY, _report(tables.WEEKLY)),
    ("/reports/by-phase", tables.BY_PHASE, _report(tables.BY_PHASE)),
    ("/reports/by-protocol", tables.BY_PROTOCOL, _report(tables.BY_PROTOCOL)),
    ("/protocols", tables.PROTOCOLS, _protocols),
    ("/protocols/{protocol}", tables.PROTOCOL, _protocol),
    ("/protocols/{protocol}/phases", tables.PHASES, _of_protocol(tables.PHASES)),
    ("/protocols/{protocol}/series", tables.SERIES, _of_protocol(tables.SERIES)),
    ("/protocols/{protocol}/events", tables.EVENTS, _of_protocol(tables.EVENTS)),
    ("/analyses", tables.ANALYSES, _analyses),
    ("/analyses/{analysis}", tables.ANALYSIS, _analysis),
)


def table_router() -> APIRouter:
    """The routes of all tables, each also under its path with a suffix, unless an id ends it."""
    router = APIRouter(prefix="/v1", tags=["tables"])
    shared: dict[str, Any] = {"response_class": Response, "methods": ["GET"]}
    for path, table, endpoint in _ROUTES:
        described: dict[str, Any] = {"summary": table.summary, "responses": table_responses(table)}
        router.add_api_route(path, endpoint, operation_id=table.name, **described, **shared)
    for path, _, endpoint in _ROUTES:
        if not path.endswith("}"):
            router.add_api_route(f"{path}.{{suffix}}", endpoint, include_in_schema=False, **shared)
    return router
