"""Decide which analysis a row of the app requests, and whether a run may answer it."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from americano_pipelines.analysis.preregistration import parse
from americano_pipelines.analysis.registry import KINDS, REQUESTABLE, app_type, requested
from americano_pipelines.errors import AnalysisError, AppRowError


@dataclass(frozen=True)
class Request:
    """A row that asks for an analysis, or did.

    Attributes:
        analysis_run_id: the row.
        protocol_id: the protocol.
        analysis_type: what the app calls the analysis.
        parameters: what is asked of it, whatever the app's JSON holds; an empty object where it has no such column.
    """

    analysis_run_id: str
    protocol_id: str
    analysis_type: str
    parameters: Any


def resolve_request(request: Request) -> tuple[str, dict[str, Any]]:
    """The analysis that a row asks for.

    Returns:
        The name of its kind, and the parameters that were given or that the type fixes, as the kind writes them. What
        is null counts as not given, so that the plan stands in for it.

    Raises:
        AnalysisError: there is no such analysis here, or a parameter is unknown, out of its bounds, or other than the
            type says.
    """
    entry = requested(request.analysis_type)
    if entry is None:
        raise AnalysisError(
            f"there is no analysis {request.analysis_type} here; what can be asked for is {', '.join(REQUESTABLE)}"
        )
    name, fixed = entry
    if not isinstance(request.parameters, dict):
        raise AnalysisError(
            f"inputParams is no JSON object, or too deep to be read: {reprlib.repr(request.parameters)}"
        )
    stated = {key: value for key, value in request.parameters.items() if value is not None}
    for key, value in fixed.items():
        if stated.get(key, value) != value:
            raise AnalysisError(f"{key} is {reprlib.repr(stated[key])}, but {request.analysis_type} means {value!r}")
    parameters = parse(KINDS[name], stated | fixed)
    return name, parameters.model_dump(mode="json", include=stated.keys() | fixed.keys())


def merge_parameters(request: Request, run_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a run that answers a row: what the row asks for, and what the run was given besides.

    Parameters of a type that nothing here answers are not known here, and left alone.

    Args:
        request: the row.
        run_parameters: parameters that the run was given, by name.

    Raises:
        AnalysisError: it was given another value than the row asks for; and as `resolve_request`.
    """
    wanted = resolve_request(request)[1] if requested(request.analysis_type) is not None else {}
    if other := [
        f"{name} is {value!r}, not {run_parameters[name]!r}"
        for name, value in wanted.items()
        if name in run_parameters and value != run_parameters[name]
    ]:
        raise AnalysisError(
            f"row {request.analysis_run_id!r} asks for something else than this run: {'; '.join(other)}. Leave out of "
            "the run what the row says"
        )
    return {**wanted, **run_parameters}


@dataclass(frozen=True)
class RowMatcher:
    """An analysis, as far as it decides which rows it may answer.

    Attributes:
        protocol_id: its protocol, None for an analysis that is of none.
        analysis: its name here.
        app_type: what the app calls it, None when the app's enum has no word for it.
    """

    protocol_id: str | None
    analysis: str
    app_type: str | None

    def check(self, analysis_run_id: str, protocol_id: str, analysis_type: str) -> None:
        """Make sure that a row is of this protocol and asks for this analysis.

        An analysis that the app has no word for may answer a row of a type that nothing here answers. One that
        another analysis answers it may not: a row that asks for a Bayesian model never gets least squares.

        Args:
            analysis_run_id: the row.
            protocol_id: its protocol.
            analysis_type: what it asks for, in the app's word.

        Raises:
            AppRowError: it is another's; the message says what it is.
        """
        wanted = analysis_type not in REQUESTABLE if self.app_type is None else analysis_type == self.app_type
        if not wanted or self.protocol_id not in (None, protocol_id):
            raise AppRowError(
                f"row {analysis_run_id!r} is {analysis_type} of protocol {protocol_id}, not {self._label}; it is left "
                "as it is"
            )

    @property
    def _label(self) -> str:
        name = self.app_type or f"{self.analysis} as asked, for which the app has no word"
        return name if self.protocol_id is None else f"{name}, of protocol {self.protocol_id}"


def row_matcher(protocol_id: str | None, analysis: str, parameters: Mapping[str, Any]) -> RowMatcher:
    """The answer that an analysis is.

    Args:
        protocol_id: its protocol, None for an analysis that is of none.
        analysis: its name here.
        parameters: its parameters. They need be neither complete nor valid, for they are judged where they are used: of
            one that is left out the default counts.
    """
    kind = KINDS.get(analysis)
    called = app_type(kind.name, kind.parameters.model_construct(**parameters)) if kind else None
    return RowMatcher(protocol_id, analysis, called)
