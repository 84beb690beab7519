"""What an analysis says of any design is derived again without a fault, and not when its numbers are made better."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from americano_pipelines.analysis import abab
from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.day_values import DAYS, day_values
from americano_pipelines.analysis.extract import BaseExtract, Extract
from americano_pipelines.analysis.parameters import (
    AbabParameters,
    CombinedParameters,
    MultipleBaselineParameters,
    Parameters,
)
from americano_pipelines.analysis.registry import KINDS, Basis
from americano_pipelines.analysis.repeat import Request, repeat
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.provenance.crate import verify_standalone
from americano_pipelines.statistics.recompute import recompute
from americano_pipelines_tests.analysis.examples import (
    LATER,
    ONE,
    alternating,
    alternating_part,
    changed,
    extract_of,
    switching,
)
from americano_pipelines_tests.analysis.test_combined import combined_analysis, combined_extract, recorded_test
from americano_pipelines_tests.analysis.test_multiple_baseline import INDEPENDENT, group

INSTANT = datetime.fromtimestamp(LATER / 1e6, UTC).isoformat()
LENGTHS, PAIRS = (13, 15, 13, 15), {"scheme": "days", "treatedDays": 1, "blockDays": 2}
NOISE = np.random.default_rng(7).normal(size=56)
EFFECT = 3 * np.repeat([0, 1, 0, 1], LENGTHS)


def phased(values: np.ndarray, hours: tuple[float, ...] = (0, 0, 0, 0), bounds: tuple[int, int] = (7, 21)) -> Extract:
    return switching(LENGTHS, hours, np.repeat(values, 4).tolist(), bounds)


def without(extract: Extract, days: slice) -> Extract:
    """The same without the events of some days."""
    kept = [place for place in range(len(extract.values)) if place not in range(len(extract.values))[days]]
    names = ("times_us", "values", "labels")
    return extract.model_copy(update={name: [getattr(extract, name)[place] for place in kept] for name in names})


def with_two(values: np.ndarray) -> Extract:
    """Baseline, A, baseline, B, baseline, B, of 9 days each."""
    days = (9,) * 6
    extract = switching(days, (0,) * 6, np.repeat(values[:54], 4).tolist(), (6, 12))
    return changed(changed(extract, 3, type="INTERVENTION_B"), 5, type="INTERVENTION_B")


THREE = {"scheme": "days", "daysOf": {"BASELINE": 1, "INTERVENTION_A": 1, "INTERVENTION_B": 1}, "blockDays": 3}


def part(before: str, order: str, after: str, scheme: dict[str, object]) -> Extract:
    """Days that alternate between other phases, with an effect of 2 of A and of 4 of C."""
    days = before + order + after
    values = NOISE[: len(days)] + np.array([{"B": 0, "A": 2, "C": 4}[day] for day in days])
    return alternating_part(before, order, after, values.tolist(), scheme)


def stepped(values: np.ndarray) -> Extract:
    """A changing criterion of 2, 4 and 6 after a baseline."""
    extract = phased(values)
    protocol = extract.protocol.model_copy(update={"design": "CHANGING_CRITERION"})
    for place in (1, 2, 3):
        parameters = {**(extract.phases[place].parameters or {}), "criterion": 2 * place}
        extract = changed(extract, place, parameters=parameters, type="INTERVENTION_A")
    return extract.model_copy(update={"protocol": protocol})


BOTH = "INTERVENTION_B-BASELINE, INTERVENTION_A-BASELINE, INTERVENTION_B-INTERVENTION_A"
OF_BOTH = np.repeat([0, 2, 0, 4, 0, 4], 9)
DESIGNS: dict[str, tuple[Callable[[], Extract], dict[str, object]]] = {
    "benefit": (lambda: phased(NOISE + EFFECT), {"direction": "increase", "improvement": "increase"}),
    "harm": (lambda: phased(NOISE + EFFECT), {"direction": "either", "improvement": "decrease"}),
    "differs": (lambda: phased(NOISE - EFFECT), {"direction": "either"}),
    "not shown": (lambda: phased(NOISE), {"direction": "decrease", "ratio_scale": True}),
    "tiny": (lambda: phased((NOISE + EFFECT) * 1e-4), {"direction": "increase"}),
    "large, at another level": (lambda: phased((NOISE + EFFECT) * 1e5), {"direction": "increase", "alpha": 0.01}),
    "no variation": (lambda: phased(np.ones(56)), {"direction": "increase"}),
    "missing days": (lambda: without(phased(NOISE + EFFECT), slice(60, 90)), {"direction": "increase"}),
    "switches within days": (lambda: phased(NOISE + EFFECT, (0, 9, 12, 15)), {"direction": "increase"}),
    "a phase without a value": (lambda: without(phased(NOISE + EFFECT), slice(0, 60)), {"direction": "increase"}),
    "not drawn": (lambda: extract_of(ONE, drawn=False), {"direction": "increase"}),
    "could not have been drawn": (lambda: phased(NOISE, bounds=(14, 21)), {"direction": "increase"}),
    "too few assignments": (lambda: phased(NOISE + EFFECT, bounds=(13, 15)), {"direction": "increase", "alpha": 0.01}),
    "two interventions": (lambda: changed(phased(NOISE), 3, type="INTERVENTION_B"), {"direction": "increase"}),
    "three contrasts": (
        lambda: with_two(NOISE[:54] + OF_BOTH), {"direction": "increase", "contrasts": BOTH, "improvement": "increase"}
    ),
    "a contrast with missing days": (
        lambda: without(with_two(NOISE[:54] + OF_BOTH), slice(48, 72)), {"direction": "either", "contrasts": BOTH}
    ),
    "a contrast with a condition that does not occur": (
        lambda: phased(NOISE + EFFECT),
        {"direction": "increase", "contrasts": "INTERVENTION_A-BASELINE, INTERVENTION_B-BASELINE"},
    ),
    "a contrast that cannot be tested": (
        lambda: with_two(NOISE), {"direction": "increase", "contrasts": "INTERVENTION_B-INTERVENTION_A"}
    ),
    **{
        statistic: (lambda: phased(NOISE + EFFECT), {"direction": "increase", "statistic": statistic})
        for statistic in ("median", "slope", "immediacy", "nap")
    },
    "medians, with missing days": (
        lambda: without(phased(NOISE + EFFECT), slice(60, 90)), {"direction": "either", "statistic": "median"}
    ),
    "overlap, switches within days": (
        lambda: phased(NOISE + EFFECT, (0, 9, 12, 15)), {"direction": "either", "statistic": "nap"}
    ),
    "days that alternate, by medians": (
        lambda: alternating("TB" * 10, [*NOISE[:20]], PAIRS), {"direction": "either", "statistic": "median"}
    ),
    "alternating after a baseline": (
        lambda: part("BBBBB", "ABBAABBABAABABAB", "AAAA", PAIRS), {"direction": "increase"}
    ),
    "two interventions alternating": (
        lambda: part("BBBBB", "ACCACACAACACCAAC", "", {**THREE, "daysOf": {"INTERVENTION_A": 1, "INTERVENTION_B": 1},
                                                       "blockDays": 2}),
        {"direction": "either", "contrasts": "INTERVENTION_B-INTERVENTION_A, INTERVENTION_A-BASELINE"},
    ),
    "three conditions alternating": (
        lambda: part("", "BACCABBCAACBCABABCBAC", "", {**THREE, "maxRunDays": 2}),
        {"direction": "increase", "contrasts": BOTH},
    ),
    "changing criterion, followed": (
        lambda: stepped(NOISE + np.repeat([0, 2, 4, 6], LENGTHS)), {"direction": "increase", "band": 1}
    ),
    "changing criterion, not followed": (lambda: stepped(NOISE + 3), {"direction": "either"}),
    "changing criterion, undeclared, with missing days": (
        lambda: without(stepped(NOISE + np.repeat([0, 2, 4, 6], LENGTHS)), slice(60, 72)), {"direction": "either"}
    ),
    "alternating": (lambda: alternating("TB" * 10, [*np.arange(20.0) % 2], PAIRS), {"direction": "either"}),
    "alternating, not drawn": (lambda: alternating("TB" * 10, [*NOISE[:20]], {}), {"direction": "increase"}),
    "alternating, two interventions": (
        lambda: changed(alternating("TB" * 10, [*NOISE[:20]], PAIRS), 4, type="INTERVENTION_B"),
        {"direction": "increase"},
    ),
    "drawn, for there are too many": (
        lambda: switching((7,) * 8, (0,) * 8, np.repeat(NOISE + np.repeat([0, 2] * 4, 7), 4).tolist(), (3, 14)),
        {"direction": "either", "draws": 2000},
    ),
}  # fmt: skip


def crate_of(extract: Extract, parameters: dict[str, object]) -> tuple[dict[str, bytes], Any]:
    """The files and the record of an analysis, as far as results and verdict need them; without pictures."""
    validated = AbabParameters.model_validate(parameters)
    analysis = abab.analyse_abab(observe(extract), validated, as_of_us=LATER, compliance="planned")
    days = day_values(extract, validated)
    assert days is not None
    return {DAYS: days}, described(analysis, validated, extract)


def described(analysis: Analysis, parameters: Parameters, extract: BaseExtract) -> Any:
    """What a record says of an analysis, as far as results and verdict need it."""
    numbers = {name: [] if value is None else [[0, float(value)]] for name, value in analysis.numbers.items()}
    record = {
        "identity": {"analysis": analysis.name},
        "config": parameters.recorded(),
        "inputs": [{"asset": "research/protocols", "snapshot_id": "snapshot", "instant": INSTANT}],
        "standing": {"planned": True, "declared": False},
        "protocol_sha256": extract.protocol_sha256,
        "phases_sha256": extract.phases_sha256,
        "results": analysis.recorded_results,
        "verdict": analysis.verdict,
        "sentence": analysis.sentence,
        "logged": {"metrics": numbers},
    }
    return json.loads(canonical_json(record))


def faults(files: dict[str, bytes], record: Any) -> list[str]:
    report = verify_standalone.Report()
    if record["identity"]["analysis"] == verify_standalone.COMBINED:
        report.check("the verdict", verify_standalone.check_combined, record)
        return [words for status, words in report.lines if status == "FAULT"]
    report.check("the verdict", verify_standalone.check_verdict, record)
    report.check("the plan", verify_standalone.check_plan, files, record)
    report.check("the test", verify_standalone.check_test, files, record)
    report.check("the effects", verify_standalone.check_effects, files, record)
    if "criteria" in record["results"]:
        report.check("the criteria", verify_standalone.check_criteria, files, record)
    return [words for status, words in report.lines if status == "FAULT"]


def by_modules(
    files: dict[str, bytes], record: Any, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> verify_standalone.Report:
    """What the modules find: the analysis as a whole, or what numpy can compute.

    They run in this process; `test_crate.py` runs them in one of their own.
    """

    def run(_: object, request: Any) -> dict[str, Any]:
        if whole:
            return {"whole": repeat(Request(**request["request"])).model_dump(), "parts": None, "missing": []}
        parts, missing = recompute(request["analysis"], request["days"])
        return {"whole": None, "parts": parts, "missing": missing}

    monkeypatch.setattr(verify_standalone, "run_modules", run)
    report = verify_standalone.Report()
    report.check("the results", verify_standalone.check_by_modules, files, record)
    return report


@pytest.mark.parametrize("design", DESIGNS)
def test_what_an_analysis_says_of_any_design_is_derived_again(design: str, monkeypatch: pytest.MonkeyPatch) -> None:
    extract, parameters = DESIGNS[design]
    files, record = crate_of(extract(), parameters)

    assert faults(files, record) == [], record["sentence"]
    for whole in (True, False):
        report = by_modules(files, record, monkeypatch, whole=whole)
        assert report.faults == 0, report.lines

    test = record["results"]["test"]
    assert (test.get("draws") == 2000) is design.startswith("drawn")
    if test.get("p") is not None:
        test["p"] /= 2
        assert faults(files, record) != []


def test_a_further_contrast_that_is_made_better_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    extract, parameters = DESIGNS["three conditions alternating"]
    files, record = crate_of(extract(), parameters)
    last = record["results"]["contrasts"][2]

    for place, name, value in (
        (last, "p by Holm", last["p by Holm"] / 2),
        (last["test"], "p", last["test"]["p"] / 2),
        (last["test"], "observed", last["test"]["observed"] + 1),
        (last["verdict"], "state", "harm"),
        (last["verdict"], "state", "no verdict"),
        (record, "sentence", record["sentence"].replace("by Holm .", "by Holm .0")),
        (record, "sentence", record["sentence"].replace("(difference +", "(difference +1")),
    ):
        monkeypatch.setitem(place, name, value)
        assert faults(files, record) != [], name
        monkeypatch.undo()
    name = last["contrast"].replace("-", " against ")
    unsaid = record["sentence"].replace(f"{name}: {last['verdict']['state']} (", f"{name}: no verdict (")
    assert unsaid != record["sentence"]
    with (
        replaced(last["verdict"], "state", "no verdict"),
        replaced(record, "sentence", unsaid),
        replaced(record["results"]["verdict"], "sentence", unsaid),
    ):
        assert any(" its numbers give " in words for words in faults(files, record))
    assert faults(files, record) == []


def test_the_better_way_is_that_of_the_parameters_and_of_the_criteria() -> None:
    def forged(design: str, change: Callable[[dict[str, Any]], object]) -> list[str]:
        extract, parameters = DESIGNS[design]
        files, record = crate_of(extract(), parameters)
        record["verdict"] = record["results"]["verdict"]["state"] = "harm"
        record["sentence"] = record["results"]["verdict"]["sentence"] = record["sentence"].replace("Benefit:", "Harm:")
        change(record["results"])
        return [words for words in faults(files, record) if words.startswith("the verdict is harm")]

    def declare_decrease(results: dict[str, Any]) -> None:
        results["declared improvement"]["better"] = results["effects"]["improvement"] = "decrease"

    assert forged("benefit", declare_decrease) != []
    turned = {"criteria lead to": "decrease", "outcome moves": "decrease"}
    assert forged("changing criterion, followed", lambda results: results["test"].update(turned)) != []


@contextmanager
def replaced(container: Any, key: Any, value: object) -> Iterator[None]:
    """Another value under a key, or at a place, within the block."""
    before = container[key]
    container[key] = value
    try:
        yield
    finally:
        container[key] = before


def numbers_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, Any, tuple[Any, ...]]]:
    """Each number inside, as the container and the key that hold it."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, dict | list):
            yield from numbers_in(item, (*path, key))
        elif verify_standalone.is_number(item):
            yield value, key, (*path, key)


def test_each_number_of_a_changing_criterion_is_measured_again() -> None:
    extract, parameters = DESIGNS["changing criterion, followed"]
    files, record = crate_of(extract(), parameters | {"band": 0.5})
    assert faults(files, record) == []

    numbers = list(numbers_in(record["results"]["criteria"]))
    assert len(numbers) >= 12
    for container, key, path in numbers:
        with replaced(container, key, container[key] + 1):
            assert faults(files, record) != [], path


def multiple_baseline_crate() -> tuple[dict[str, bytes], Any]:
    """The files and the record of a multiple baseline."""
    extract, parameters = group(INDEPENDENT), MultipleBaselineParameters()
    analysis = KINDS["multiple_baseline"].analyse(extract, parameters, Basis("snapshot", LATER, "planned"))
    days = day_values(extract, parameters)
    assert days is not None
    return {DAYS: days}, described(analysis, parameters, extract)


def test_each_number_of_a_multiple_baseline_is_computed_again() -> None:
    files, record = multiple_baseline_crate()
    assert faults(files, record) == []

    for case in record["results"]["effects"]["cases"]:
        for container, key in (
            *((case, name) for name in ("mean_difference", "median_difference")),
            *((case["overlap"], name) for name in ("nap", "pnd")),
        ):
            with replaced(container, key, container[key] + 0.01):
                assert faults(files, record) != [], (case["case"], key)
    combined = record["results"]["effects"]["combined"]
    for name in combined:
        with replaced(combined, name, combined[name] + 0.01):
            assert faults(files, record) != [], name


def combined_crate(p_values: Sequence[float] = (0.02, 0.04, 0.2), **parameters: Any) -> tuple[dict[str, bytes], Any]:
    """The files and the record of a combined analysis."""
    tests = [recorded_test(place, p, 1 - p / 2) for place, p in enumerate(p_values)]
    extract, validated = combined_extract(*tests), CombinedParameters(**parameters)
    days = day_values(extract, validated)
    assert days is not None
    return {DAYS: days}, described(combined_analysis(*tests, **parameters), validated, extract)


def test_each_number_of_a_combined_analysis_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    files, record = combined_crate()
    assert faults({}, record) == []
    report = by_modules(files, record, monkeypatch, whole=True)
    assert report.faults == 0, report.lines

    results = record["results"]
    numbers = [*numbers_in(results["random effects"]), *numbers_in(results["combined p"])]
    # A point of a metric is its step and its value.
    numbers += [number for number in numbers_in(record["logged"]) if number[1] == 1]
    assert len(numbers) > 20
    for container, key, path in numbers:
        with replaced(container, key, container[key] * 1.01 + 0.01):
            assert faults({}, record) != [], path
    for number in re.findall(r"[+-]?\d*\.\d+", record["sentence"]):
        sentence = record["sentence"].replace(number, f"{number[:-1]}{9 - int(number[-1])}", 1)
        with replaced(record, "sentence", sentence), replaced(results["verdict"], "sentence", sentence):
            assert faults({}, record) != [], sentence
