"""Read parameters of analyses from texts such as `alpha=0.01`."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from americano_pipelines.analysis.registry import Kind
from americano_pipelines.errors import AnalysisError


def parse_parameters(kinds: Sequence[Kind], assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read the parameters of some analyses from texts.

    Args:
        kinds: the analyses that will run. A parameter is set for each that has one of this name.
        assignments: texts `name=value`; of several with one name the last counts.

    Returns:
        For each analysis that has one of the parameters its name, and the values by parameter, in their types.

    Raises:
        AnalysisError: a text has no `=`, no analysis has the parameter, or the value is of a wrong type or out of its
            bounds; the message lists the parameters there are, with their defaults.
    """
    parameters: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        having = [kind for kind in kinds if name in kind.parameters.model_fields]
        if not separator or not having:
            problem = f"{name!r} is no parameter" if separator else f"{assignment!r} is not of the form name=value"
            raise AnalysisError(f"{problem}; there are:\n{list_parameters(kinds)}")
        for kind in having:
            parameters.setdefault(kind.name, {})[name] = _value(kind, name, text)
    return parameters


def _value(kind: Kind, name: str, text: str) -> Any:  # noqa: ANN401 - of the parameter's type
    try:
        return getattr(kind.parameters.model_validate({name: text}), name)
    except ValidationError as error:
        (detail, *_) = error.errors()
        raise AnalysisError(f"{name} of {kind.name} cannot be {text!r}: {detail['msg']}") from None


def list_parameters(kinds: Iterable[Kind]) -> str:
    """A line for each parameter of some analyses: its name, its default and what it is."""
    lines = []
    for kind in kinds:
        lines.append(f"  {kind.name}")
        for name, field in kind.parameters.model_fields.items():
            default = "unset" if field.default is None else str(field.default)
            lines.append(f"    {name} ({default}): {field.description}")
    return "\n".join(lines)
