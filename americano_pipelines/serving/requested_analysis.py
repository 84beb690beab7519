"""Check an analysis that a principal requests: its kind and its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from pydantic import JsonValue, ValidationError

from americano_pipelines.analysis.app_types import REQUESTABLE, app_type, requested
from americano_pipelines.analysis.direction_words import normalize_direction_names
from americano_pipelines.analysis.registry import KINDS, PROTOCOL_KINDS
from americano_pipelines.serving.problem_details import INVALID_FIELDS, invalid


@dataclass(frozen=True)
class AnalysisRequest:
    """An analysis that a principal requests, checked.

    Attributes:
        protocol_id: of which protocol.
        kind: name of the kind of analysis.
        parameters: the parameters that are stated, or that the kind's name in the app fixes.
        app_type: the app's word for it, None when its enum has none.
    """

    protocol_id: str
    kind: str
    parameters: Mapping[str, JsonValue]
    app_type: str | None


def parse_request(protocol_id: str, kind: str, parameters: Mapping[str, JsonValue]) -> AnalysisRequest:
    """Check kind and parameters of an analysis.

    Args:
        protocol_id: of which protocol.
        kind: name of a kind of analysis, or the app's word for one.
        parameters: by name; null counts as not stated.

    Raises:
        Problem: 422, with the field and the reason.
    """
    entry = requested(kind) or (kind, {})
    if entry[0] not in PROTOCOL_KINDS:
        names = ", ".join([*PROTOCOL_KINDS, *REQUESTABLE])
        raise invalid(INVALID_FIELDS, [("kind", f"there is no such analysis; there are {names}")])
    name, fixed = entry
    stated = normalize_direction_names({key: value for key, value in parameters.items() if value is not None})
    if contradicted := [key for key, value in fixed.items() if stated.get(key, value) != value]:
        raise invalid(INVALID_FIELDS, [(f"parameters.{key}", f"{kind} means {fixed[key]!r}") for key in contradicted])
    try:
        checked = KINDS[name].parameters.model_validate(stated | fixed)
    except ValidationError as error:
        raise invalid(INVALID_FIELDS, [(_field(item["loc"]), str(item["msg"])) for item in error.errors()]) from None
    values = checked.model_dump(mode="json", include=stated.keys() | fixed.keys())
    if infinite := [key for key, value in values.items() if isinstance(value, float) and not isfinite(value)]:
        raise invalid(INVALID_FIELDS, [(f"parameters.{key}", "must be a finite number") for key in infinite])
    return AnalysisRequest(protocol_id, name, values, app_type(name, checked))


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(["parameters", *map(str, location)])
