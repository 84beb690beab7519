"""A consistent forgery is found by the analysis done again, and by numpy alone or left open by name."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from americano_pipelines.analysis.day_values import DAYS
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.provenance.crate import verify_standalone
from americano_pipelines_tests.provenance.crate.test_designs_in_crates import (
    DESIGNS,
    LENGTHS,
    NOISE,
    by_modules,
    combined_crate,
    crate_of,
    multiple_baseline_crate,
    stepped,
)

Forgery = Callable[[dict[str, Any], dict[str, Any]], object]


def design(name: str) -> tuple[dict[str, bytes], Any]:
    extract, parameters = DESIGNS[name]
    return crate_of(extract(), parameters)


def say(record: dict[str, Any], old: str, new: str) -> None:
    """Change words of the sentence, in both places."""
    assert old in record["sentence"], record["sentence"]
    record["sentence"] = record["results"]["verdict"]["sentence"] = record["sentence"].replace(old, new, 1)


def judge(record: dict[str, Any], state: str) -> None:
    """Another verdict, in all places."""
    words = record["sentence"].partition(":")[0]
    record["verdict"] = record["results"]["verdict"]["state"] = state
    say(record, f"{words}:", f"{state.capitalize()}:")


def against_criteria() -> tuple[dict[str, bytes], Any]:
    """An outcome near its criteria that falls from first to last, while they rise: no verdict."""
    days = np.repeat([9.0, 2.0, 4.0, 6.0], LENGTHS) + NOISE / 4
    files, record = crate_of(stepped(days), {"direction": "increase", "improvement": "increase"})
    assert record["results"]["test"]["outcome moves"] == "decrease"
    return files, record


def forge_missing_days(record: dict[str, Any], _: dict[str, Any]) -> None:
    missing = record["results"]["missing days"]
    assert missing["treatment_missing"] + missing["baseline_missing"] > 0
    missing.update(treatment_missing=0, baseline_missing=0)


def exchange_contrasts(record: dict[str, Any], _: dict[str, Any]) -> None:
    rows = record["results"]["contrasts"]
    first, second = (row["contrast"].replace("-", " against ") for row in rows[1:])
    rows[1]["contrast"], rows[2]["contrast"] = rows[2]["contrast"], rows[1]["contrast"]
    say(record, f"{first}:", "@:")
    say(record, f"{second}:", f"{first}:")
    say(record, "@:", f"{second}:")


def drop_contrast(record: dict[str, Any], days: dict[str, Any]) -> None:
    rows = record["results"]["contrasts"]
    name = rows.pop()["contrast"].replace("-", " against ")
    days["contrasts"].pop()
    for row, p in zip(rows, verify_standalone.holm([row["p"] for row in rows]), strict=True):
        row["p by Holm"] = p
    clause = re.search(rf" {name}: [^)]*\)\.", record["sentence"])
    assert clause is not None
    say(record, clause[0], "")


def exchange_conditions(record: dict[str, Any], days: dict[str, Any]) -> None:
    for schedule in (record["results"]["test"]["schedule"], days["test"]["schedule"]):
        schedule["treated"] = [not treated for treated in schedule["treated"]]


def count_three_times(record: dict[str, Any], _: dict[str, Any]) -> None:
    for row in record["results"]["experiments"]:
        row["record"] = "0" * 64


def narrow(record: dict[str, Any], _: dict[str, Any]) -> None:
    """An interval of 50 %, with all its numbers."""
    from dataclasses import asdict

    from americano_pipelines.common.json_values import jsonable
    from americano_pipelines.statistics.random_effects import random_effects

    rows = record["results"]["experiments"]
    effects = random_effects([row["effect"] for row in rows], [row["se"] for row in rows], confidence=0.5)
    assert effects is not None
    record["results"]["random effects"] = json.loads(canonical_json(jsonable(asdict(effects))))
    low, high = effects.interval
    interval = re.search(r"interval \S+ to [^;]+;", record["sentence"])
    assert interval is not None
    say(record, interval[0], f"interval {low:.2f} to {high:.2f};")
    record["logged"]["metrics"] |= {"interval_low": [[0, low]], "interval_high": [[0, high]]}


FORGERIES: dict[str, tuple[Callable[[], tuple[dict[str, bytes], Any]], Forgery]] = {
    "the way that the outcome moves": (
        against_criteria,
        lambda record, _: record["results"]["test"].update({"outcome moves": "increase"}),
    ),
    "missing days beside criteria": (
        lambda: design("changing criterion, undeclared, with missing days"),
        forge_missing_days,
    ),
    "distances from criteria left out": (
        lambda: design("changing criterion, followed"),
        lambda record, _: record["results"].pop("criteria"),
    ),
    "names of contrasts exchanged": (lambda: design("three conditions alternating"), exchange_contrasts),
    "names of contrasts exchanged, in phases": (lambda: design("three contrasts"), exchange_contrasts),
    "another name of the primary contrast": (
        lambda: design("three conditions alternating"),
        lambda record, _: record["results"]["contrasts"][0].update(contrast="INTERVENTION_A-BASELINE"),
    ),
    "another condition in the sentence": (
        lambda: design("three conditions alternating"),
        lambda record, _: say(record, "INTERVENTION_B days differed", "INTERVENTION_A days differed"),
    ),
    "a contrast dropped": (lambda: design("three conditions alternating"), drop_contrast),
    "treatment and baseline exchanged": (lambda: design("harm"), exchange_conditions),
    "a level that the sentence does not name": (
        lambda: design("not shown"),
        lambda record, _: record["config"].update(alpha=0.9),
    ),
    "another method than the parameters": (
        lambda: combined_crate((0.002, 0.5, 0.4), method="stouffer"),
        lambda record, _: (
            record["config"].update(method="edgington"),
            say(record, "Stouffer's sum of normal deviates", "Edgington's sum of p values"),
        ),
    ),
    "one record counted three times": (lambda: combined_crate((0.04, 0.04, 0.04)), count_three_times),
    "a narrower interval": (combined_crate, narrow),
    "fewer experiments than there are": (
        combined_crate,
        lambda record, _: say(record, "tests of 3 of 4 ", "tests of 3 of 3 "),
    ),
    "a number that MLflow does not show": (combined_crate, lambda record, _: record["logged"]["metrics"].pop("p")),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_consistent_forgery_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, forge = FORGERIES[name]
    files, record = make()
    days = json.loads(files[DAYS])

    forge(record, days)

    forged = {DAYS: canonical_json(days)}
    assert numpy_alone(forged, record).faults > 0, record["sentence"]
    if "MLflow" not in name:  # what MLflow shows is no result
        assert by_modules(forged, record, monkeypatch, whole=True).faults > 0


def numpy_alone(files: dict[str, bytes], record: Any) -> verify_standalone.Report:
    report = verify_standalone.Report()
    combined = record["identity"]["analysis"] == verify_standalone.COMBINED
    check = verify_standalone.check_combined if combined else verify_standalone.check_verdict
    report.check("the verdict", check, record)
    verify_standalone.check_days(files, record, report)
    report.close()
    return report


def other_lengths(days: dict[str, Any]) -> None:
    days["test"]["observed"] = [length + change for length, change in zip(LENGTHS, (1, -1, 1, -1), strict=True)]


def other_starts(days: dict[str, Any]) -> None:
    days["test"]["starts"][0] += 1


def other_cut(days: dict[str, Any]) -> None:
    days["test"]["cut"][0] = not days["test"]["cut"][0]


@pytest.mark.parametrize(
    ("make", "change", "words"),
    [
        (lambda: design("not shown"), other_lengths, "whether phases had the lengths that were drawn"),
        (multiple_baseline_crate, other_starts, "whether treatment began on the days that were drawn"),
        (multiple_baseline_crate, other_cut, "whether treatment began on the days that were drawn"),
    ],
)
def test_what_was_drawn_is_open_unless_the_analysis_is_repeated(
    make: Callable[[], tuple[dict[str, bytes], Any]], change: Callable[[Any], None], words: str
) -> None:
    files, record = make()
    assert words not in open_words(numpy_alone(files, record))
    days = json.loads(files[DAYS])

    change(days)

    report = numpy_alone({DAYS: canonical_json(days)}, record)
    assert words in open_words(report)
    report.repeated, report.lines = True, []
    report.close()
    assert report.lines == []


def open_words(report: verify_standalone.Report) -> str:
    return "\n".join(text for status, text in report.lines if status == "unknown")


@pytest.mark.parametrize("part", ["protocol", "phases"])
def test_another_plan_beside_the_days_is_found(part: str) -> None:
    files, record = design("benefit")
    days = json.loads(files[DAYS])
    plan = days["extract"][part] if part == "protocol" else days["extract"][part][0]
    plan["ends_us" if part == "protocol" else "planned_days"] = 5

    report = numpy_alone({DAYS: canonical_json(days)}, record)

    assert ("FAULT", "the plan or the phases are not as recorded") in report.lines
