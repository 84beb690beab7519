"""What an analysis compared is listed in rows of one form, whatever its design."""

from typing import Any

import pytest

from americano_pipelines.serving.result_rows import COLUMNS, result_rows
from americano_pipelines_tests.provenance.crate.test_designs_in_crates import (
    DESIGNS,
    combined_crate,
    crate_of,
    multiple_baseline_crate,
)


def results_of(design: str) -> Any:
    extract, parameters = DESIGNS[design]
    return crate_of(extract(), parameters)[1]["results"]


def test_each_contrast_has_its_effect_its_p_and_its_verdict() -> None:
    results = results_of("three conditions alternating")

    first, second, third = result_rows(results)

    assert (first["compared"], first["name"]) == ("contrast", "INTERVENTION_B against BASELINE")
    assert (first["p"], first["adjusted_p"], first["note"]) == (results["test"]["p"], None, "primary")
    assert first["verdict"] == results["verdict"]["state"]
    assert third["name"] == "INTERVENTION_B against INTERVENTION_A"
    for row, recorded in zip((second, third), results["contrasts"][1:], strict=True):
        assert (row["effect"], row["p"]) == (recorded["test"]["observed"], recorded["p"])
        assert row["adjusted_p"] == recorded["p by Holm"] >= row["p"]
        assert row["verdict"] == recorded["verdict"]["state"]


def test_a_contrast_that_was_not_tested_has_no_numbers() -> None:
    rows = result_rows(results_of("a contrast with a condition that does not occur"))

    assert [(row["effect"], row["p"]) for row in rows if row["verdict"] == "no verdict"] != []
    assert {row["effect"] for row in rows if row["p"] is None} == {None}


def test_each_criterion_has_its_distance_and_share() -> None:
    results = results_of("changing criterion, followed")

    rows = result_rows(results)

    assert [row["effect"] for row in rows] == [row["mean distance"] for row in results["criteria"]]
    assert {row["compared"] for row in rows} == {"criterion"}
    assert rows[0]["note"].startswith("mean distance of 15 days, ")
    assert rows[0]["note"].endswith("% of them within 1")


def test_a_group_has_its_cases_or_its_experiments_and_their_mean() -> None:
    cases = multiple_baseline_crate()[1]["results"]
    assert [row["effect"] for row in result_rows(cases)] == [
        case["mean_difference"] for case in cases["effects"]["cases"]
    ]

    combined = combined_crate()[1]["results"]
    rows = result_rows(combined)
    assert [row["compared"] for row in rows] == ["experiment"] * 3 + ["left out", "mean effect"]
    assert [row["p"] for row in rows[:3]] == [row["p"] for row in combined["experiments"]]
    assert rows[-1]["effect"] == combined["random effects"]["mean"]
    assert [rows[-1]["interval_low"], rows[-1]["interval_high"]] == combined["random effects"]["interval"]
    assert rows[-1]["p"] == combined["combined p"]["edgington"]["p"]


@pytest.mark.parametrize(
    "design",
    ["benefit", "not drawn", "a contrast that cannot be tested", "two interventions alternating",
     "changing criterion, undeclared, with missing days"],
)  # fmt: skip
def test_rows_of_all_designs_have_the_same_fields(design: str) -> None:
    rows = result_rows(results_of(design))

    assert all(tuple(row) == COLUMNS for row in rows)
    assert (rows != []) == (design not in {"benefit", "not drawn"})
