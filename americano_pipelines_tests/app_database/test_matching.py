"""Resolve a row to its analysis and parameters, or say why that is impossible."""

from typing import Any

import pytest

from americano_pipelines.app_database.matching import Request, merge_parameters, resolve_request
from americano_pipelines.errors import AnalysisError


def resolve(kind: str, parameters: Any) -> tuple[str, dict[str, Any]]:
    return resolve_request(Request("row", "protocol", kind, parameters))


@pytest.mark.parametrize(
    ("kind", "parameters", "expected"),
    [
        ("ABAB_RANDOMIZATION", {}, ("abab_randomization", {})),
        ("ABAB_RANDOMIZATION", {"alpha": 0.01, "outcome": None}, ("abab_randomization", {"alpha": 0.01})),
        ("ABAB_RANDOMIZATION", {"seed": "7"}, ("abab_randomization", {"seed": 7})),
        ("CHANGE_POINT_DETECTION", {"min_size": 5}, ("change_points", {"min_size": 5})),
        ("BAYESIAN_ITS", {"seed": 3}, ("interrupted_time_series", {"seed": 3, "method": "bayesian"})),
        ("BAYESIAN_ITS", {"method": "bayesian"}, ("interrupted_time_series", {"method": "bayesian"})),
    ],
)
def test_a_request_has_its_stated_and_its_fixed_parameters(
    kind: str, parameters: Any, expected: tuple[str, dict[str, Any]]
) -> None:
    assert resolve(kind, parameters) == expected


@pytest.mark.parametrize(
    ("kind", "parameters", "reason"),
    [
        ("GRANGER_CAUSALITY", {}, "no analysis GRANGER_CAUSALITY; an app can request ABAB_RANDOMIZATION, "),
        ("ABAB_RANDOMIZATION", {"alpha": 2}, "parameters of abab_randomization: alpha: .*less than 1"),
        ("ABAB_RANDOMIZATION", {"alpah": 0.05}, "alpah: Extra inputs are not permitted"),
        ("ABAB_RANDOMIZATION", {"analysis_run_id": "x"}, "analysis_run_id: Extra inputs"),
        ("ABAB_RANDOMIZATION", [1], r"inputParams is no JSON object, .*: \[1\]$"),
        ("ABAB_RANDOMIZATION", None, "inputParams is no JSON object, .*: None$"),
        ("BAYESIAN_ITS", {"method": "least_squares"}, "method is 'least_squares', but BAYESIAN_ITS means 'bayesian'"),
    ],
)
def test_an_invalid_request_says_why(kind: str, parameters: Any, reason: str) -> None:
    with pytest.raises(AnalysisError, match=reason):
        resolve(kind, parameters)


def test_a_run_may_add_parameters_and_not_change_them() -> None:
    row = Request("row", "protocol", "ABAB_RANDOMIZATION", {"direction": "decrease", "seed": "7", "outcome": None})

    assert merge_parameters(row, {}) == {"direction": "decrease", "seed": 7}
    assert merge_parameters(row, {"alpha": 0.1, "seed": 7}) == {"alpha": 0.1, "direction": "decrease", "seed": 7}
    with pytest.raises(AnalysisError, match=r"'row' asks for .*: direction is 'decrease', not 'increase'\. Leave out"):
        merge_parameters(row, {"direction": "increase"})
    assert merge_parameters(Request("row", "protocol", "MIXED_EFFECTS", {"effects": 3}), {"seed": 1}) == {"seed": 1}
