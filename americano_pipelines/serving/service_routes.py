"""Route what is about the service: health, readiness, metrics, snapshots, description and its page."""

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from americano_pipelines.errors import AmericanoError
from americano_pipelines.serving.api_description import problem_responses
from americano_pipelines.serving.principals import ROW_SCOPES, Principal, Scope
from americano_pipelines.serving.problem_details import Problem, not_found
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.route_parameters import Anybody, Operator, TheService, requires
from americano_pipelines.serving.service_metrics import CONTENT_TYPE
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.settings.cron import last_tick
from americano_pipelines.warehouse.snapshots import current, record_beside, snapshots

# A sync may take so long before its file counts as late.
_GRACE = timedelta(hours=1)
_FILES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "favicon.png": "image/png"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>americano API</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = "SwaggerUIBundle({url: 'openapi.json', dom_id: '#page', deepLinking: true, validatorUrl: null});\n"


_SNAPSHOT_EXAMPLE = {
    "snapshot_id": "20260301T020000Z-1a2b3c4d",
    "instant": "2026-03-01T02:00:00+00:00",
    "built_at": "2026-03-01T02:00:09+00:00",
    "sha256": "0" * 64,
    "current": True,
}


def _example(example: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {
        "description": "The answer.",
        "content": {"application/json": {"schema": {"type": "object"}, "example": example}},
    }


_ERRORS = problem_responses(401, 403, 429, 503)
_RowReader = Annotated[Principal, Depends(requires(*ROW_SCOPES, Scope.OPERATOR))]
ROUTER = APIRouter(prefix="/v1", tags=["service"])


@ROUTER.get("/health", summary="Whether the service answers", responses={200: _example({"status": "ok"})})
async def _health() -> Response:
    return JSONResponse({"status": "ok"})


@ROUTER.get(
    "/ready",
    summary="Whether there is a published file to answer from, and whether it is late",
    responses={200: _example({"status": "ready", "late": False, "age_seconds": 3600}), **_ERRORS},
)
async def _ready(_principal: Operator, service: TheService) -> Response:
    snapshot = await service.lease()
    try:
        return JSONResponse({"status": "ready", **snapshot_age(service.settings, snapshot)})
    finally:
        service.pool.release(snapshot)


@ROUTER.get(
    "/metrics",
    summary="Figures for Prometheus",
    responses={200: {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}, **_ERRORS},
)
async def _metrics(_principal: Operator, service: TheService) -> Response:
    figures = service.metrics
    try:
        snapshot = await service.lease()
    except Problem:
        figures.snapshot_age.set(float("nan"))
    else:
        age = snapshot_age(service.settings, snapshot)
        figures.snapshot_age.set(age["age_seconds"])
        figures.snapshot_late.set(age["late"])
        figures.failed_checks.set(sum(not check.passed for check in snapshot.record.checks))
        service.pool.release(snapshot)
    figures.open_files.set(service.pool.files)
    figures.set_run_figures(service.run_figures())
    return Response(figures.text(), headers={"content-type": CONTENT_TYPE})


@ROUTER.get(
    "/snapshots",
    summary="The kept snapshots, newest first",
    responses={200: _example({"snapshots": [_SNAPSHOT_EXAMPLE]}), **_ERRORS},
)
def _kept_snapshots(_principal: _RowReader, service: TheService) -> Response:
    return JSONResponse({"snapshots": _snapshots(service.settings.paths)})


@ROUTER.get("/openapi.json", include_in_schema=False)
async def _description(_principal: Anybody, request: Request) -> Response:
    return JSONResponse(request.app.openapi())


@ROUTER.get("/docs", include_in_schema=False)
async def _page(_principal: Anybody) -> Response:
    return HTMLResponse(_PAGE, headers={"content-security-policy": _PAGE_POLICY})


@ROUTER.get("/docs/{name}", include_in_schema=False)
async def _page_file(_principal: Anybody, name: str) -> Response:
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    if name not in _FILES:
        raise not_found("file")
    return FileResponse(str(files("fastapi_offline").joinpath("static", name)), media_type=_FILES[name])


def snapshot_age(settings: Settings, snapshot: OpenSnapshot) -> dict[str, Any]:
    """How old a file is, against the schedule of syncs.

    A sync that finds nothing new publishes nothing, so a late file is a hint, and the service is ready all the same.
    """
    moment = datetime.now(UTC)
    zone = ZoneInfo(settings.americano_sync_timezone)
    expected = last_tick(settings.americano_sync_cron, (moment - _GRACE).astimezone(zone))
    return {
        "snapshot": snapshot.record.snapshot_id,
        "instant": snapshot.record.instant,
        "age_seconds": round((moment - snapshot.instant).total_seconds()),
        "expected_since": expected.astimezone(UTC).isoformat() if expected is not None else None,
        "late": expected is not None and snapshot.instant < expected,
    }


def _snapshots(paths: DataFolder) -> list[dict[str, Any]]:
    """The kept snapshots; without numbers of rows, which would count rows that a principal may not see."""
    published = current(paths)
    listed = []
    for folder in reversed(snapshots(paths)):
        try:
            record = record_beside(folder / paths.published.name)
        except (AmericanoError, OSError):
            continue
        listed.append(
            {
                "snapshot_id": record.snapshot_id,
                "instant": record.instant,
                "built_at": record.built_at,
                "sha256": record.sha256,
                "current": published is not None and published.parent == folder.resolve(),
            }
        )
    return listed
