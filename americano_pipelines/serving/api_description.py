"""Describe the API: the OpenAPI document, with columns, examples and errors of every route."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from americano_pipelines.serving.answer_formats import MEDIA_TYPES, Format
from americano_pipelines.serving.answer_tables import AnswerTable, Column
from americano_pipelines.serving.problem_details import MEDIA_TYPE

_EXAMPLES: dict[str, Any] = {
    "string": "text",
    "integer": 12,
    "number": 3.25,
    "boolean": False,
    "date": "2026-03-01",
    "date-time": "2026-03-01T08:30:00Z",
    "json": {"seed": 7},
}
PROBLEMS = {
    401: "No valid API key or token came with the request.",
    403: "The key or token lacks the scope.",
    404: "There is no such thing, or the principal may not see it; or the snapshot is not kept.",
    422: "A parameter is not allowed.",
    429: "Too many requests of this principal; wait as Retry-After says.",
    503: "Nothing is published, or too many queries run; try again as Retry-After says.",
    504: "The query took longer than AMERICANO_API_TIMEOUT.",
}
_HEADERS = {
    "X-Americano-Snapshot": "The snapshot that the answer comes from.",
    "Last-Modified": "The instant of the source that the snapshot holds.",
    "ETag": "Strong; send it as If-None-Match to learn whether the answer is still the same.",
}
_DESCRIPTION = """
Answers come from the published file. Every answer names its snapshot; `snapshot=` reads an earlier one. Tables come as
JSON, CSV, Arrow stream or Parquet: by the header Accept, by `format=`, or by a suffix such as `/v1/protocols.csv`. With
`limit=`, `next` (in JSON) and the header Link lead to the next page of the same snapshot. Errors are problem documents
(RFC 9457). Send an API key or a token as `Authorization: Bearer ...`.
""".strip()


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its description."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": PROBLEMS[status], "content": content} for status in statuses}


def table_responses(table: AnswerTable) -> dict[int | str, dict[str, Any]]:
    """The answers of a table's route."""
    properties = {name: _schema(column) for name, column in table.columns.items()}
    row = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    example = {name: _EXAMPLES[column.kind] for name, column in table.columns.items()}
    document = {
        "type": "object",
        "properties": {
            "snapshot": {"type": "string", "description": "The snapshot."},
            "instant": {"type": "string", "format": "date-time", "description": "The instant of the source."},
            "rows": {"type": "array", "items": row},
            "next": {"type": ["string", "null"], "description": "Address of the next page, null after the last."},
        },
        "required": ["snapshot", "instant", "rows", "next"],
    }
    whole = {"snapshot": "20260301T020000Z-1a2b3c4d", "instant": "2026-03-01T02:00:00+00:00", "rows": [example]}
    content: dict[str, Any] = {MEDIA_TYPES[Format.JSON]: {"schema": document, "example": {**whole, "next": None}}}
    for format_ in (Format.CSV, Format.ARROW, Format.PARQUET):
        content[MEDIA_TYPES[format_]] = {"schema": {"type": "string", "format": "binary"}}
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()}
    return {
        200: {"description": f"{table.summary}.", "content": content, "headers": headers},
        304: {"description": "The answer that If-None-Match names is still the same.", "headers": headers},
        406: {**problem_responses(404)[404], "description": "The header Accept names none of the formats."},
        400: {**problem_responses(404)[404], "description": "The page token is of another request."},
        **problem_responses(401, 403, 404, 422, 429, 503, 504),
    }


def _schema(column: Column) -> dict[str, Any]:
    if column.kind == "json":
        return {"description": column.description}
    if column.kind in {"date", "date-time"}:
        # Not format date-time: DuckDB's infinite timestamps come as `infinity`.
        kind: dict[str, Any] = {"type": ["string", "null"]}
    else:
        kind = {"type": [column.kind, "null"]}
    return {**kind, "description": column.description, "examples": [_EXAMPLES[column.kind]]}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an app; it names no server, because the address is the reader's."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
        components = document.setdefault("components", {})
        components.get("schemas", {}).pop("HTTPValidationError", None)
        components.get("schemas", {}).pop("ValidationError", None)
        components.setdefault("schemas", {})["Problem"] = {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "code": {"type": "string", "description": "A short name for programs."},
                "detail": {"type": "string", "description": "What happened and what to do."},
                "errors": {"type": "array", "items": {"type": "object"}},
            },
            "required": ["type", "title", "status", "code", "detail"],
            "example": {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "code": "not-found",
                "detail": "there is no such protocol, or you may not see it",
            },
        }
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the issuer."},
            "basic": {"type": "http", "scheme": "basic", "description": "An API key as password, for browsers."},
        }
        document["security"] = [{"bearer": []}, {"basic": []}]
        document["paths"]["/v1/health"]["get"]["security"] = []
        app.openapi_schema = document
    return app.openapi_schema
