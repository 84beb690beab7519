"""Describe the routes that start something: bodies, states and errors, with examples."""

from collections.abc import Mapping
from typing import Any

from americano_pipelines.serving.api_description import problem_responses

BODY_EXAMPLE = {"protocol": "protocol_1", "kind": "abab_randomization", "parameters": {"direction": "increase"}}
STATE_EXAMPLE = {
    "id": "c3k2v9w0b6m1n8x7z5q4r2t0s",
    "status": "PENDING",
    "error": None,
    "protocol_id": "protocol_1",
    "analysis": "abab_randomization",
    "parameters": {"direction": "increase"},
    "requested_at": "2026-03-01T08:30:00Z",
    "dagster_run_id": None,
}
SYNC_EXAMPLE = {
    "id": "5f32b31a-5c6b-4dac-bf6b-c4c91ba765c8",
    "status": "PENDING",
    "error": None,
    "started_at": 1772353800.0,
    "ended_at": None,
}


def _nullable(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


STATE = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "status": {"type": "string", "enum": ["PENDING", "RUNNING", "COMPLETED", "FAILED"]},
        "error": {**_nullable("string"), "description": "Why it FAILED."},
        "protocol_id": {"type": "string"},
        "analysis": {"type": "string"},
        "parameters": {"type": "object"},
        "requested_at": {"type": "string", "format": "date-time"},
        "dagster_run_id": _nullable("string"),
    },
    "required": list(STATE_EXAMPLE),
    "additionalProperties": False,
}
SYNC_STATE = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "status": {"type": "string", "enum": ["PENDING", "RUNNING", "COMPLETED", "FAILED"]},
        "error": {**_nullable("string"), "description": "Why it FAILED."},
        "started_at": {**_nullable("number"), "description": "Seconds since 1970."},
        "ended_at": {**_nullable("number"), "description": "Seconds since 1970."},
    },
    "required": list(SYNC_EXAMPLE),
    "additionalProperties": False,
}


def state_response(description: str, schema: dict[str, Any], example: dict[str, Any], *headers: str) -> dict[str, Any]:
    """An answer with a state, and with some of the headers Location and Retry-After."""
    texts = {"Location": "Where it can be followed.", "Retry-After": "Seconds until it is worth looking again."}
    return {
        "description": description,
        "content": {"application/json": {"schema": schema, "example": example}},
        "headers": {name: {"description": texts[name], "schema": {"type": "string"}} for name in headers},
    }


def described_problems(descriptions: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Errors with descriptions of their own, by status."""
    problem = problem_responses(404)[404]
    return {status: {**problem, "description": text} for status, text in descriptions.items()}
