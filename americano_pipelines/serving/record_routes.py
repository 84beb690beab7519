"""Route what was recorded of an analysis: record, comparisons, extract, report, pictures, verification."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import JSONResponse, Response

from americano_pipelines.serving.answer_headers import is_not_modified, pinned_headers, strong_etag
from americano_pipelines.serving.api_description import problem_responses
from americano_pipelines.serving.principals import Principal
from americano_pipelines.serving.recorded_analyses import StoredRecord, extract_of, file_of, visible_record
from americano_pipelines.serving.result_rows import COLUMNS, result_rows
from americano_pipelines.serving.route_parameters import (
    AnalysisId,
    AnswerOptions,
    Pinned,
    Reader,
    Researcher,
    TheService,
    check_names,
)
from americano_pipelines.serving.service import Service

_JSON, _HTML, _PNG = "application/json", "text/html; charset=utf-8", "image/png"
# The report carries its pictures and styles in itself, and no script.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
_PictureName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.\-]{1,100}\.png$", description="The name of the picture.")]


def _hash(sha256: str) -> dict[str, str]:
    """The hash by which the record, or the record's file, names the bytes."""
    return {"x-americano-sha256": sha256}


def _responses(media_type: str, *others: int) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "object"} if media_type == _JSON else {"type": "string", "format": "binary"}
    problem = problem_responses(404)[404]
    return {
        200: {"description": "The bytes as they were recorded.", "content": {media_type: {"schema": schema}}},
        304: {"description": "The answer that If-None-Match names is still the same."},
        **problem_responses(401, 403, 404, 422, 429, 503, 504),
        500: {**problem, "description": "What was recorded was changed afterwards."},
        **{status: {**problem, "description": "MLflow or Dagster does not answer."} for status in others},
    }


_NUMBER = {"type": ["number", "null"]}
_TEXT = {"type": ["string", "null"]}
_COMPARED = {"compared": {"type": "string"}, "name": {"type": "string"}, "verdict": _TEXT, "note": {"type": "string"}}
_COMPARISONS = {
    **_responses(_JSON),
    200: {
        "description": "A row for each comparison; none where the analysis made one alone.",
        "content": {
            _JSON: {
                "schema": {
                    "type": "object",
                    "required": ["comparisons"],
                    "properties": {
                        "comparisons": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": list(COLUMNS),
                                "properties": {name: _COMPARED.get(name, _NUMBER) for name in COLUMNS},
                            },
                        }
                    },
                },
                "example": {
                    "comparisons": [
                        {
                            "compared": "contrast",
                            "name": "INTERVENTION_A against BASELINE",
                            "effect": 8.69,
                            "interval_low": 2.9,
                            "interval_high": 14.02,
                            "p": 0.006,
                            "adjusted_p": None,
                            "verdict": "benefit",
                            "note": "primary",
                        }
                    ]
                },
            }
        },
    },
}
ROUTER = APIRouter(prefix="/v1/analyses/{analysis}", tags=["records"])


async def _pinned(
    service: Service, principal: Principal, analysis: str, options: AnswerOptions, what: str
) -> tuple[StoredRecord, dict[str, str], Response | None]:
    """The record, the headers of an answer from it, and the answer where the client has it already."""
    check_names(options)
    snapshot = await service.lease(options.snapshot_id)
    try:
        record = await visible_record(service, snapshot, principal, analysis)
        headers = pinned_headers(snapshot, strong_etag(snapshot.identity, what, record.sha256))
    finally:
        service.pool.release(snapshot)
    unchanged = is_not_modified(options.if_none_match, headers["etag"])
    return record, headers, Response(status_code=304, headers=headers) if unchanged else None


@ROUTER.get("/provenance", summary="The provenance record, as it was written", responses=_responses(_JSON))
async def _provenance(service: TheService, principal: Reader, analysis: AnalysisId, options: Pinned) -> Response:
    record, headers, unchanged = await _pinned(service, principal, analysis, options, "provenance")
    return unchanged or Response(record.content, headers=headers | _hash(record.sha256), media_type=_JSON)


@ROUTER.get(
    "/comparisons",
    summary="Contrasts, criteria, cases of a group or combined experiments, a row each",
    responses=_COMPARISONS,
)
async def _comparisons(service: TheService, principal: Reader, analysis: AnalysisId, options: Pinned) -> Response:
    record, headers, unchanged = await _pinned(service, principal, analysis, options, "comparisons")
    rows = result_rows(record.document["results"])
    return unchanged or JSONResponse({"comparisons": rows}, headers=headers | _hash(record.sha256))


@ROUTER.get("/extract", summary="The exact input, with pseudonyms", responses=_responses(_JSON))
async def _extract(service: TheService, principal: Reader, analysis: AnalysisId, options: Pinned) -> Response:
    record, headers, unchanged = await _pinned(service, principal, analysis, options, "extract")
    # Also where nothing was modified: an extract can be erased.
    sha256, content = await extract_of(service, record)
    return unchanged or Response(content, headers=headers | _hash(sha256), media_type=_JSON)


@ROUTER.get("/report.html", summary="The report", responses=_responses("text/html", 502))
async def _report(service: TheService, principal: Reader, analysis: AnalysisId, options: Pinned) -> Response:
    record, headers, unchanged = await _pinned(service, principal, analysis, options, "report.html")
    if unchanged is not None:
        return unchanged
    sha256, content = await file_of(service, record, "report.html")
    policy = {"content-security-policy": _REPORT_POLICY}
    return Response(content, headers=headers | policy | _hash(sha256), media_type=_HTML)


@ROUTER.get("/pictures/{picture}", summary="A picture", responses=_responses(_PNG, 502))
async def _picture(
    service: TheService, principal: Reader, analysis: AnalysisId, picture: _PictureName, options: Pinned
) -> Response:
    record, headers, unchanged = await _pinned(service, principal, analysis, options, picture)
    if unchanged is not None:
        return unchanged
    sha256, content = await file_of(service, record, picture)
    return Response(content, headers=headers | _hash(sha256), media_type=_PNG)


@ROUTER.get("/verify", summary="Compare all copies of what was recorded, now", responses=_responses(_JSON, 502))
async def _verify(service: TheService, principal: Researcher, analysis: AnalysisId, options: Pinned) -> Response:
    record, headers, _ = await _pinned(service, principal, analysis, options, "verify")
    del headers["etag"]
    answer = await service.worker.verification(record.sha256)
    return JSONResponse(answer, headers=headers | {"cache-control": "no-store"})
