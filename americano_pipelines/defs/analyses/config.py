"""Turn the parameters of an analysis into Dagster's run config for the launchpad, and into YAML to copy there."""

import json
from enum import StrEnum
from textwrap import wrap
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import dagster as dg
from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from americano_pipelines.analysis.registry import Kind
from americano_pipelines.defs.job_names import NAME_FIELD, ROW_FIELD

_FIELD_HINTS = {ROW_FIELD: "a PENDING row of the app to complete", NAME_FIELD: "name of the MLflow run"}
_HINT_WIDTH = 88
_ROW = "Id of the app's AnalysisRun row to take and complete; it must be PENDING."

# The attributes in which pydantic keeps a field's bounds, see `annotated_types`.
_BOUNDS = (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))


def launchpad(kind: Kind) -> type[dg.Config]:
    """The config of an analysis: its parameters, and the app's row.

    For an analysis of a protocol or a group every parameter is optional, because the plan gives its value. Another
    analysis has its own defaults, and the name of its MLflow run. The app has no rows of groups.
    """
    parameters = kind.parameters.model_fields.items()
    fields: dict[str, Any] = {}
    if kind.scope != "all learners":
        for field, info in parameters:
            optional = Field(default=None, description=_describe_field(info))
            fields[field] = (_optional(field, info.annotation), optional)
        row = f"{_ROW} Unset: a row is created, if the app has a type for this analysis."
    else:
        fields |= {field: (info.annotation, info) for field, info in parameters}
        fields[NAME_FIELD] = (str, Field(default=kind.title, min_length=1, description="Name of the MLflow run."))
        row = _ROW
    if kind.scope != "group":
        fields[ROW_FIELD] = (str | None, Field(default=None, description=row))
    return create_model(f"{kind.name.title().replace('_', '')}Config", __base__=dg.Config, **fields)


def launchpad_yaml(kind: Kind, step: str) -> str:
    """The run config with every parameter, for a person to copy into the launchpad; as it is, it changes nothing.

    Args:
        kind: the analysis.
        step: key of its step.
    """
    lines = ["ops:", f"  {step}:", "    config:"]
    for name, field in launchpad(kind).model_fields.items():
        parameter = kind.parameters.model_fields.get(name)
        hint = _hint(parameter, planned=kind.scope != "all learners") if parameter else _FIELD_HINTS[name]
        # Above its parameter: a longer line makes the page scroll sideways.
        lines += wrap(hint, _HINT_WIDTH, initial_indent="      # ", subsequent_indent="      # ")
        lines.append(f"      {name}: {json.dumps(field.default)}")
    return "\n".join(lines)


def _hint(info: FieldInfo, *, planned: bool) -> str:
    """The default of an unset parameter, its choices and its bounds; without these, its description."""
    hints = [] if info.default is None or not planned else [f"as planned, else {json.dumps(info.default)}"]
    if get_origin(info.annotation) is Literal:
        hints.append(" | ".join(get_args(info.annotation)))
    if bounds := _bounds(info):
        hints.append(", ".join(bounds))
    return "; ".join(hints) or str(info.description).partition(". ")[0].removesuffix(".")


def given_parameters(config: dg.Config) -> dict[str, Any]:
    """The parameters of an analysis that a config sets, by name."""
    values = {name: getattr(config, name) for name in type(config).model_fields if name not in {ROW_FIELD, NAME_FIELD}}
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in values.items()
        if value is not None
    }


def _optional(field: str, annotation: Any) -> Any:  # noqa: ANN401 - a type
    """The type or None; a literal becomes an enum, since Dagster has no optional literals."""
    if get_origin(annotation) is Literal:
        return StrEnum(field.capitalize(), {label: label for label in get_args(annotation)}) | None  # type: ignore[operator]
    plain = next(member for member in get_args(annotation) or (annotation,) if member is not NoneType)
    return _optional(field, plain) if get_origin(plain) is Literal else plain | None


def _describe_field(info: FieldInfo) -> str:
    """The description with the default and the bounds, for which Dagster's config has no field."""
    bounds = _bounds(info)
    within = f" It must be {', '.join(bounds)}." if bounds else ""
    otherwise = "" if info.default is None else f" Unset: as planned, else {info.default}."
    return f"{info.description}{within}{otherwise}"


def _bounds(info: FieldInfo) -> list[str]:
    return [
        f"{word} {getattr(constraint, name)}"
        for constraint in info.metadata
        for name, word in _BOUNDS
        if hasattr(constraint, name)
    ]
