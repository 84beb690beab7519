"""Turn the parameters of an analysis into Dagster's run config for the launchpad.

Every field may be left out, since the plan gives its value. Choices are enums, because Dagster has no literals.
"""

from enum import StrEnum
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import dagster as dg
from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from americano_pipelines.analysis.registry import Parameters

ROW_FIELD = "analysis_run_id"
_ROW = "Id of the app's AnalysisRun row to take and complete; it must be PENDING. Unset: a row is made, if it can be."

# As `annotated_types` calls them, which pydantic keeps a field's bounds by.
_BOUNDS = (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))


def launchpad(name: str, parameters: type[Parameters]) -> type[dg.Config]:
    """The config of an asset.

    Args:
        name: of the class.
        parameters: the analysis's own.
    """
    fields: dict[str, Any] = {
        field: (
            _optional(field, info.annotation),
            Field(default=None, description=_describe_field(info)),
        )
        for field, info in parameters.model_fields.items()
    }
    fields[ROW_FIELD] = (str | None, Field(default=None, description=_ROW))
    return create_model(name, __base__=dg.Config, **fields)


def given_parameters(config: dg.Config) -> dict[str, Any]:
    """What was filled in, by the names of the original."""
    values = {name: getattr(config, name) for name in type(config).model_fields if name != ROW_FIELD}
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in values.items()
        if value is not None
    }


def _optional(field: str, annotation: Any) -> Any:  # noqa: ANN401 - a type
    if get_origin(annotation) is Literal:
        return StrEnum(field.capitalize(), {label: label for label in get_args(annotation)}) | None  # type: ignore[operator]
    plain = [member for member in get_args(annotation) or (annotation,) if member is not NoneType]
    return plain[0] | None


def _describe_field(info: FieldInfo) -> str:
    """The description with the bounds, which Dagster's config has no words for, and the default."""
    bounds = [
        f"{word} {getattr(constraint, name)}"
        for constraint in info.metadata
        for name, word in _BOUNDS
        if hasattr(constraint, name)
    ]
    within = f" It must be {', '.join(bounds)}." if bounds else ""
    otherwise = "" if info.default is None else f" Unset: as planned, else {info.default}."
    return f"{info.description}{within}{otherwise}"
