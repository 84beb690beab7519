"""Compute the results of an analysis again from its days alone, as far as the installed libraries allow.

It needs numpy only; what needs another library that is missing is left out.
"""

# `analysis/day_values.py` writes the days.

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from americano_pipelines.common.json_values import jsonable
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.changepoint_search import change_points
from americano_pipelines.statistics.criterion_schedules import CriterionSchedule
from americano_pipelines.statistics.effect_sizes import OutcomeScale, compare
from americano_pipelines.statistics.holm_correction import holm
from americano_pipelines.statistics.joint_randomization import MultipleBaseline, joint_missing_days, joint_test
from americano_pipelines.statistics.missing_days import missing_days
from americano_pipelines.statistics.overlap_measures import DatedValues
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines.statistics.randomization_test import Direction, RandomizationTest, randomization_test
from americano_pipelines.statistics.reference_set import Case, Schedule
from americano_pipelines.statistics.segmented_regression import segmented
from americano_pipelines.statistics.start_schedules import StartSchedule

_SCHEDULES: dict[str, Callable[..., Schedule]] = {
    kind.__name__: kind for kind in (PhaseSchedule, Alternation, CriterionSchedule)
}


def recompute(analysis: str, document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Compute again what follows from the days.

    Args:
        analysis: name of the analysis.
        document: the days, as JSON; with the recorded `improvement` where phases were compared.

    Returns:
        Parts of the results under the names that they have in a record; and what is left out, with the reason.
    """
    parts: dict[str, Any] = {}
    if cases := document.get("cases", [document] if "values" in document else []):
        parts["phases"] = [row for days in cases for row in _phases(days)]
    missing = []
    for name, compute in _PARTS.get(analysis, {}).items():
        try:
            part = compute(document)
        except ImportError as error:
            missing.append(f"{name}: needs {error.name}, which is not installed")
        else:
            if part is not None:
                parts[name] = jsonable(part)
    return parts, missing


def _values(numbers: Any) -> Values:  # noqa: ANN401 - JSON
    return np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)


def _phases(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Days with a value of each phase, and their mean."""
    values, phase = _values(document["values"]), np.array(document["phase"], dtype=np.int64)
    rows = []
    for index, label in enumerate(document["labels"]):
        present = values[(phase == index) & ~np.isnan(values)]
        mean = float(present.mean()) if present.size else None
        rows.append({"phase": label, "days with a value": int(present.size), "mean of days": mean})
    return rows


def _case(document: Mapping[str, Any], tested: Mapping[str, Any] | None) -> Case | None:
    """The tested days with their schedule, None where nothing was tested."""
    if tested is None:
        return None
    fields = dict(tested["schedule"])
    kind = _SCHEDULES[fields.pop("kind")]
    schedule = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
    statistic = document["parameters"].get("statistic", "mean")
    if isinstance(schedule, CriterionSchedule):
        statistic = "distance"
    return Case(_values(tested["values"]), schedule, tested["observed"], statistic)


def _run_test(document: Mapping[str, Any], case: Case, direction: Direction | None) -> RandomizationTest:
    parameters = document["parameters"]
    return randomization_test(
        [case], direction=direction, level=parameters["alpha"], seed=parameters["seed"], draws=parameters["draws"]
    )


def _declared_test(
    document: Mapping[str, Any], tested: Mapping[str, Any] | None
) -> tuple[Case, RandomizationTest] | None:
    direction, case = document["parameters"]["direction"], _case(document, tested)
    if case is None:
        return None
    if case.statistic == "distance":
        return case, _run_test(document, case, "decrease")
    return case, _run_test(document, case, None if direction == "either" else direction)


def _test(document: Mapping[str, Any]) -> dict[str, Any] | None:
    tested = _declared_test(document, document["test"])
    return None if tested is None else asdict(tested[1])


def _contrasts(document: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The declared contrasts, None where none is declared."""
    if "contrasts" not in document:
        return None
    cases = [document["test"], *document["contrasts"]]
    tests = [None if case is None else _declared_test(document, case) for case in cases]
    adjusted = holm([1.0 if tested is None else tested[1].p for tested in tests])
    rows: list[dict[str, Any]] = []
    for index, (case, tested, p) in enumerate(zip(cases, tests, adjusted, strict=True)):
        row: dict[str, Any] = {"p": tested[1].p if tested else None, "p by Holm": p if tested else None}
        if index and tested:
            row |= {"test": asdict(tested[1]), "missing days": _missing_days({**document, "test": case})}
        rows.append(row)
    return rows


def _missing_days(document: Mapping[str, Any]) -> dict[str, Any] | None:
    tested = _declared_test(document, document["test"])
    if tested is None or tested[0].statistic == "distance":
        return None
    missing = missing_days(*tested, partial(_run_test, document))
    return missing.recorded()


def _effects(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The effects of neighbouring phases, where they were compared; None for an alternation, whose days are pooled."""
    if "improvement" not in document:
        return None
    values, phase = _values(document["values"]), np.array(document["phase"], dtype=np.int64)
    present = [np.flatnonzero((phase == index) & ~np.isnan(values)) for index in range(len(document["labels"]))]
    parameters = document["parameters"]
    pairs = compare(
        document["labels"],
        document["conditions"],
        [DatedValues(values[days], days) for days in present],
        improvement=document["improvement"] or "increase",
        scale=OutcomeScale(parameters["ratio_scale"], parameters.get("highest"), parameters.get("goal")),
    )
    return {"pairs": [asdict(pair) for pair in pairs]}


def _regression(document: Mapping[str, Any]) -> dict[str, Any] | None:
    parameters = document["parameters"]
    if parameters["method"] != "least_squares":
        return None
    phase = np.array(document["phase"], dtype=np.int64)
    return asdict(segmented(_values(document["values"]), phase, document["labels"], parameters["hac_lag"]))


def _change_points(document: Mapping[str, Any]) -> dict[str, Any]:
    parameters = document["parameters"]
    return asdict(
        change_points(_values(document["values"]), min_size=parameters["min_size"], factor=parameters["factor"])
    )


def _experiment(document: Mapping[str, Any]) -> MultipleBaseline | None:
    """The tested cases of a multiple baseline, None where nothing was tested."""
    tested = document["test"]
    if tested is None:
        return None
    schedule = tested["schedule"]
    return MultipleBaseline(
        values=tuple(_values(values) for values in tested["values"]),
        schedule=StartSchedule(
            tuple(schedule["days"]),
            tuple((first, last) for first, last in schedule["windows"]),
            schedule["permuted"],
            schedule["distance"],
        ),
        starts=tuple(tested["starts"]),
        cut=tuple(tested["cut"]),
    )


def _joint_test(document: Mapping[str, Any]) -> RandomizationTest | None:
    parameters, experiment = document["parameters"], _experiment(document)
    if experiment is None:
        return None
    direction = None if parameters["direction"] == "either" else parameters["direction"]
    drawn = {name: parameters[name] for name in ("seed", "draws")}
    return joint_test(experiment, direction=direction, level=parameters["alpha"], **drawn)


def _joint_test_results(document: Mapping[str, Any]) -> dict[str, Any] | None:
    test = _joint_test(document)
    return None if test is None else asdict(test)


def _joint_missing_days(document: Mapping[str, Any]) -> dict[str, Any] | None:
    parameters, experiment, test = document["parameters"], _experiment(document), _joint_test(document)
    if experiment is None or test is None:
        return None
    drawn = {name: parameters[name] for name in ("seed", "draws")}
    missing = joint_missing_days(experiment, test, level=parameters["alpha"], **drawn)
    return missing.recorded()


_PARTS: dict[str, dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "abab_randomization": {
        "test": _test,
        "contrasts": _contrasts,
        "missing days": _missing_days,
        "effects": _effects,
    },
    "interrupted_time_series": {"regression": _regression},
    "change_points": {"change points": _change_points},
    "multiple_baseline": {"test": _joint_test_results, "missing days": _joint_missing_days},
}
