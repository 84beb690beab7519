"""Map the app's names of analyses to kinds and back."""

from typing import Any

from americano_pipelines.analysis.parameters import Parameters
from americano_pipelines.analysis.registry import MULTIPLE_BASELINE

# What the app asks for by its enum, and what it thereby fixes. Its other labels name analyses that are not here.
_REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ABAB_RANDOMIZATION": ("abab_randomization", {}),
    "CHANGE_POINT_DETECTION": ("change_points", {}),
    "BAYESIAN_ITS": ("interrupted_time_series", {"method": "bayesian"}),
}
REQUESTABLE = tuple(_REQUESTS)


def requested(app_type: str) -> tuple[str, dict[str, Any]] | None:
    """The analysis that a label of the app's enum asks for, with the parameters it fixes; None when there is none."""
    return _REQUESTS.get(app_type)


# What only plans name: the app's enum has no value for it.
_PLANS: dict[str, tuple[str, dict[str, Any]]] = {**_REQUESTS, "MULTIPLE_BASELINE": (MULTIPLE_BASELINE, {})}


def planned_kind(plan_type: str) -> tuple[str, dict[str, Any]] | None:
    """The analysis that the type in a plan names, with the parameters it fixes; None when there is none."""
    return _PLANS.get(plan_type)


def app_type(name: str, parameters: Parameters) -> str | None:
    """What the app calls an analysis, None when its enum has no word for it."""
    values = parameters.model_dump()
    return next(
        (
            label
            for label, (kind, fixed) in _REQUESTS.items()
            if kind == name and all(values[key] == value for key, value in fixed.items())
        ),
        None,
    )
