"""What a row of the app asks for, in terms of the analyses there are.

Here belongs judging a request: its type and its `inputParams`. What cannot be carried out is told, never replaced by
something like it.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

from americano_pipelines.analysis.catalog import KINDS, REQUESTABLE, requested
from americano_pipelines.analysis.plan import parse
from americano_pipelines.errors import AnalysisError
from americano_pipelines.tracking.requests import Request


def asked_for(request: Request) -> tuple[str, dict[str, Any]]:
    """The analysis that a row asks for.

    Returns:
        The name of its kind, and the parameters that were given or that the type fixes, as the kind writes them. What
        is null counts as not given, so that the plan stands in for it.

    Raises:
        AnalysisError: there is no such analysis here, or a parameter is unknown, out of its bounds, or other than the
            type says.
    """
    asked = requested(request.analysis_type)
    if asked is None:
        raise AnalysisError(
            f"there is no analysis {request.analysis_type} here; what can be asked for is {', '.join(REQUESTABLE)}"
        )
    name, fixed = asked
    if not isinstance(request.parameters, dict):
        raise AnalysisError(
            f"inputParams is no JSON object, or too deep to be read: {reprlib.repr(request.parameters)}"
        )
    given = {key: value for key, value in request.parameters.items() if value is not None}
    for key, value in fixed.items():
        if given.get(key, value) != value:
            raise AnalysisError(f"{key} is {reprlib.repr(given[key])}, but {request.analysis_type} means {value!r}")
    parameters = parse(KINDS[name], given | fixed)
    return name, parameters.model_dump(mode="json", include=given.keys() | fixed.keys())


def with_asked(request: Request, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a run that answers a row: what the row asks for, and what the run was given besides.

    Parameters of a type that nothing here answers are not known here, and left alone.

    Args:
        request: the row.
        given: parameters that the run was given, by name.

    Raises:
        AnalysisError: it was given another value than the row asks for; and as `asked_for`.
    """
    wanted = asked_for(request)[1] if requested(request.analysis_type) is not None else {}
    if other := [
        f"{name} is {value!r}, not {given[name]!r}"
        for name, value in wanted.items()
        if name in given and value != given[name]
    ]:
        raise AnalysisError(
            f"row {request.analysis_run_id!r} asks for something else than this run: {'; '.join(other)}. Leave out of "
            "the run what the row says"
        )
    return {**wanted, **given}
