"""Decide which analysis a row of the app requests, and whether a run may carry it out."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from americano_pipelines.analysis.app_types import REQUESTABLE, app_type, requested
from americano_pipelines.analysis.direction_words import direction_problem, normalize_direction_names
from americano_pipelines.analysis.preregistration import parse
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.errors import AnalysisError, AppRowError


@dataclass(frozen=True)
class Request:
    """The analysis that a row of the app requests.

    Attributes:
        analysis_run_id: the row.
        protocol_id: the protocol.
        analysis_type: the value of the app's enum AnalysisType.
        parameters: the content of `inputParams`, of any JSON type; an empty object where the table has no such column.
    """

    analysis_run_id: str
    protocol_id: str
    analysis_type: str
    parameters: Any


def resolve_request(request: Request) -> tuple[str, dict[str, Any]]:
    """Resolve a request to a kind of analysis and its parameters.

    Returns:
        The name of the kind, and the parameters that the request states or that its type fixes, validated. A null
        counts as not stated, so that the plan's value applies.

    Raises:
        AnalysisError: no analysis has this type, or a parameter is unknown, out of bounds, or contradicts the type.
    """
    entry = requested(request.analysis_type)
    if entry is None:
        raise AnalysisError(
            f"this project has no analysis {request.analysis_type}; an app can request {', '.join(REQUESTABLE)}"
        )
    name, fixed = entry
    if not isinstance(request.parameters, dict):
        raise AnalysisError(
            f"inputParams is no JSON object, or too deep to be read: {reprlib.repr(request.parameters)}"
        )
    if problem := direction_problem(request.parameters):
        raise AnalysisError(f"in inputParams {problem}")
    stated = normalize_direction_names({key: value for key, value in request.parameters.items() if value is not None})
    for key, value in fixed.items():
        if stated.get(key, value) != value:
            raise AnalysisError(f"{key} is {reprlib.repr(stated[key])}, but {request.analysis_type} means {value!r}")
    parameters = parse(KINDS[name], stated | fixed)
    return name, parameters.model_dump(mode="json", include=stated.keys() | fixed.keys())


def merge_parameters(request: Request, run_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the parameters that a row requests with those of the run that carries it out.

    Parameters of a request whose type has no analysis here are unknown, so they are ignored.

    Args:
        request: the row.
        run_parameters: the run's own parameters, by name.

    Raises:
        AnalysisError: the run has another value than the row requests; and as `resolve_request`.
    """
    requested_parameters = resolve_request(request)[1] if requested(request.analysis_type) is not None else {}
    if conflicts := [
        f"{name} is {value!r}, not {run_parameters[name]!r}"
        for name, value in requested_parameters.items()
        if name in run_parameters and value != run_parameters[name]
    ]:
        raise AnalysisError(
            f"row {request.analysis_run_id!r} asks for something else than this run: {'; '.join(conflicts)}. Leave "
            "out of the run what the row says"
        )
    return {**requested_parameters, **run_parameters}


@dataclass(frozen=True)
class RowMatcher:
    """The properties of an analysis that decide which rows it may carry out.

    Attributes:
        protocol_id: its protocol; None for an analysis without one.
        analysis: its name in this package.
        app_type: its value in the app's enum AnalysisType; None where the enum lacks it.
    """

    protocol_id: str | None
    analysis: str
    app_type: str | None

    def check(self, analysis_run_id: str, protocol_id: str, analysis_type: str) -> None:
        """Check that a row belongs to this protocol and requests this analysis.

        An analysis without an `app_type` may carry out a row whose type has no analysis here, and no other: a row
        that requests a Bayesian model never gets least squares.

        Args:
            analysis_run_id: the row.
            protocol_id: its protocol.
            analysis_type: its value of AnalysisType.

        Raises:
            AppRowError: the row requests another protocol or analysis; the message names both.
        """
        matches = analysis_type not in REQUESTABLE if self.app_type is None else analysis_type == self.app_type
        if not matches or self.protocol_id not in (None, protocol_id):
            raise AppRowError(
                f"row {analysis_run_id!r} is {analysis_type} of protocol {protocol_id}, not {self._label}; it is left "
                "as it is"
            )

    @property
    def _label(self) -> str:
        name = self.app_type or f"{self.analysis} (no value in AnalysisType)"
        return name if self.protocol_id is None else f"{name}, of protocol {self.protocol_id}"


def row_matcher(protocol_id: str | None, analysis: str, parameters: Mapping[str, Any]) -> RowMatcher:
    """Build the matcher of an analysis.

    Args:
        protocol_id: its protocol; None for an analysis without one.
        analysis: its name in this package.
        parameters: its parameters, which are validated later. A default applies where one is missing.
    """
    kind = KINDS.get(analysis)
    type_in_app = app_type(kind.name, kind.parameters.model_construct(**parameters)) if kind else None
    return RowMatcher(protocol_id, analysis, type_in_app)
