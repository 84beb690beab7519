"""Route what starts something: analyses and syncs; and how far a sync is."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Path, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from starlette.responses import JSONResponse, Response

from americano_pipelines.analysis.app_types import REQUESTABLE
from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.defs.job_names import NIGHTLY
from americano_pipelines.serving.analysis_trigger import AcceptedRequest, dagster_problem
from americano_pipelines.serving.answer_tables import PROTOCOL_IS_VISIBLE, SCOPE
from americano_pipelines.serving.api_description import problem_responses
from americano_pipelines.serving.dagster_client import FAILED, DagsterUnavailableError, LaunchedRun
from americano_pipelines.serving.live_analysis import read_live
from americano_pipelines.serving.principals import ROW_SCOPES, Principal, Scope
from americano_pipelines.serving.problem_details import INVALID_FIELDS, Problem, invalid, not_found
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.request_parts import is_same_origin, read_body
from americano_pipelines.serving.requested_analysis import parse_request
from americano_pipelines.serving.route_parameters import TheService, requires
from americano_pipelines.serving.service import Service
from americano_pipelines.serving.trigger_description import (
    BODY_EXAMPLE,
    STATE,
    STATE_EXAMPLE,
    SYNC_EXAMPLE,
    SYNC_STATE,
    described_problems,
    state_response,
)

_MAX_BODY_BYTES = 64 << 10
_MAX_ID = 200
_POLL_SECONDS = "2"
_ENDED = frozenset({"COMPLETED", "FAILED"})
_IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Repeat a request with the same key, and nothing is started twice; 1 to 200 printable characters.",
    ),
]
_RunId = Annotated[str, Path(pattern=r"^[0-9a-f\-]{36}$", description="The Dagster run.")]


class AnalysisBody(BaseModel):
    """The requested analysis."""

    model_config = ConfigDict(extra="forbid", str_max_length=_MAX_ID)

    protocol: str = Field(min_length=1, pattern=r"^[^/\x00]+$", description="The protocol.")
    kind: str = Field(
        description="The analysis by its name, or by the app's word.",
        json_schema_extra={"enum": [*PROTOCOL_KINDS, *REQUESTABLE]},
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Parameters by name, see docs/analyses.md. What is not stated is as planned, else as usual.",
    )


async def _refuse_other_pages(request: Request) -> None:
    """Refuse what a page of another site sends: a browser adds the password that it keeps for Basic by itself.

    Raises:
        Problem: 403.
    """
    if not is_same_origin(request):
        raise Problem(HTTPStatus.FORBIDDEN, "foreign-page", "the request comes from a page of another site")


ROUTER = APIRouter(prefix="/v1", tags=["triggers"], dependencies=[Depends(_refuse_other_pages)])
_Trigger = Annotated[Principal, Depends(requires(Scope.TRIGGER, Scope.ADMIN))]
_Admin = Annotated[Principal, Depends(requires(Scope.ADMIN))]


async def _body(request: Request) -> AnalysisBody:
    """The body; read here, because FastAPI would read it before it knows the principal.

    Raises:
        Problem: 413, it is too long; 415, it is no JSON by its type; 422, it is malformed, or a field is not allowed.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "send application/json")
    detail = f"the body has more than {_MAX_BODY_BYTES} bytes"
    too_long = Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", detail)
    content = await read_body(request, _MAX_BODY_BYTES, too_long)
    try:
        # orjson refuses what JSON does not have: NaN, infinite numbers, halves of surrogate pairs.
        return AnalysisBody.model_validate(orjson.loads(content))
    except orjson.JSONDecodeError:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-parameters", "the body is no JSON") from None
    except ValidationError as error:
        errors = [(".".join(map(str, item["loc"])) or "body", str(item["msg"])) for item in error.errors()]
        raise invalid(INVALID_FIELDS, errors) from None


@ROUTER.post(
    "/analyses",
    summary="Request an analysis of a protocol",
    operation_id="request_analysis",
    status_code=202,
    response_class=Response,
    responses={
        202: state_response("It will be carried out.", STATE, STATE_EXAMPLE, "Location", "Retry-After"),
        200: state_response("It was requested before, and has ended.", STATE, STATE_EXAMPLE, "Location"),
        **problem_responses(401, 403, 404, 429),
        **described_problems(
            {
                409: "The app's table cannot hold the request.",
                413: "The body is too long.",
                415: "The body is no application/json.",
                422: "A field is not allowed, or the Idempotency-Key came with another request.",
                502: "The app's database or Dagster refuses; the log of the API has the reason.",
                503: "The app's database or, without an app, Dagster does not answer; try again as Retry-After says.",
            }
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": AnalysisBody.model_json_schema(), "example": BODY_EXAMPLE}},
        }
    },
)
async def _request_analysis(
    service: TheService, principal: _Trigger, request: Request, idempotency_key: _IdempotencyKey = None
) -> Response:
    """Answer at once; `Location` says how far it is.

    It is carried out by Dagster, at once if its web server answers, else within a minute after its daemon runs.
    """
    if not principal.scopes & ROW_SCOPES:
        detail = "what a key may not see it may not start: this needs the scope read, learner or admin too"
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", detail)
    body = await _body(request)
    await _check_visible(service, principal, body.protocol)
    requested = parse_request(body.protocol, body.kind, body.parameters)
    trigger = service.trigger
    accepted = await _in_thread(service, trigger.accept, principal, requested, idempotency_key)
    state = await _state(service, principal, accepted)
    headers = {"location": f"/v1/analyses/{accepted.card.request_id}", "cache-control": "no-store"}
    if state["status"] in _ENDED:
        return JSONResponse(state, 200, headers)
    if accepted.has_row and state["status"] == "PENDING":
        trigger.start_soon(accepted.card)
    return JSONResponse(state, 202, headers | {"retry-after": _POLL_SECONDS})


async def _state(service: Service, principal: Principal, accepted: AcceptedRequest) -> dict[str, Any]:
    """How far a request is."""
    card = accepted.card
    state = {
        "id": card.request_id,
        "status": "PENDING",
        "error": None,
        "protocol_id": card.protocol_id,
        "analysis": card.analysis,
        "parameters": dict(card.parameters),
        "requested_at": card.requested_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "dagster_run_id": card.dagster_run_id,
    }
    if accepted.is_new:
        return state
    snapshot = await service.lease()
    try:
        live = await _in_thread(
            service, read_live, service.settings, service.trigger, snapshot, principal, card.request_id
        )
    finally:
        service.pool.release(snapshot)
    values = live.values
    return {**state, **{name: values[name] for name in ("status", "error", "dagster_run_id")}}


async def _check_visible(service: Service, principal: Principal, protocol_id: str) -> None:
    """Refuse a protocol that is not published, or that the principal may not see.

    Raises:
        Problem: 404.
    """
    snapshot = await service.lease()
    try:
        async with service.slot():
            looking = service.threads.submit(_is_visible, snapshot, principal, protocol_id)
            if not await asyncio.wrap_future(looking):
                raise not_found("protocol")
    finally:
        service.pool.release(snapshot)


def _is_visible(snapshot: OpenSnapshot, principal: Principal, protocol_id: str) -> bool:
    if "research.protocols" not in snapshot.relations:
        return False
    with snapshot.cursor() as cursor:
        values = {SCOPE: principal.visible, "protocol": protocol_id}
        return cursor.execute(PROTOCOL_IS_VISIBLE.text, values).fetchone() is not None


@ROUTER.post(
    "/syncs",
    summary="Start the nightly job now",
    operation_id="start_sync",
    status_code=202,
    response_class=Response,
    responses={
        202: state_response("It is queued.", SYNC_STATE, SYNC_EXAMPLE, "Location", "Retry-After"),
        **problem_responses(401, 403, 429),
        **described_problems(
            {
                409: "A sync is under way; Location leads to it.",
                502: "Dagster refuses; the log of the API has the reason.",
                503: "Dagster does not answer; try again as Retry-After says.",
            }
        ),
    },
)
async def _sync(service: TheService, principal: _Admin) -> Response:
    run = await _in_thread(service, service.trigger.sync, principal)
    headers = {"location": f"/v1/syncs/{run.run_id}", "cache-control": "no-store", "retry-after": _POLL_SECONDS}
    return JSONResponse(_sync_state(run, None), 202, headers)


@ROUTER.get(
    "/syncs/{run}",
    summary="How far a sync is",
    operation_id="sync",
    response_class=Response,
    responses={
        200: state_response("The state.", SYNC_STATE, SYNC_EXAMPLE),
        **problem_responses(401, 403, 404, 422, 429),
        **described_problems({503: "Dagster does not answer; try again as Retry-After says."}),
    },
)
async def _sync_progress(service: TheService, _principal: _Admin, run: _RunId) -> Response:
    return JSONResponse(await _in_thread(service, _read_sync, service, run), headers={"cache-control": "no-store"})


def _read_sync(service: Service, run_id: str) -> dict[str, Any]:
    dagster = service.trigger.dagster
    try:
        run = dagster.run(run_id)
        if run is None or run.job != NIGHTLY:
            raise not_found("sync")
        return _sync_state(run, dagster.failure(run_id) if run.progress == FAILED else None)
    except DagsterUnavailableError as error:
        dagster_problem(error)


def _sync_state(run: LaunchedRun, error: str | None) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "status": run.progress,
        "error": error,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }


async def _in_thread(service: Service, function: Any, *arguments: Any) -> Any:  # noqa: ANN401 - what it takes and gives
    """Call a function that waits for other processes."""
    return await asyncio.wrap_future(service.trigger.threads.submit(function, *arguments))
