"""Two records side by side: what differs is what was made to differ."""

from americano_pipelines.provenance.comparison import compare
from americano_pipelines_tests.provenance.conftest import Lab

ALWAYS = {"started"}


def test_the_same_analysis_twice_differs_in_time_and_number_only(lab: Lab) -> None:
    first, second = (lab.analyse(alpha=0.05).record for _ in range(2))

    lines = [line for line in compare(first, second) if line.part != "code"]

    assert {line.name for line in lines if not line.same} == ALWAYS | {"analyses before", "why not"}
    assert {line.part for line in lines} == {"analysis", "inputs", "parameters", "results", "environment"}
    assert len({(line.part, line.name) for line in lines}) == len(lines)


def test_parameters_results_and_what_only_one_has_stand_beside_each_other(lab: Lab) -> None:
    first, second = lab.analyse(alpha=0.05).record, lab.analyse(alpha=0.2, direction="increase").record
    third = lab.analyse("change_points").record

    by_name = {(line.part, line.name): line for line in compare(first, second)}
    assert by_name["parameters", "alpha"].values == (0.05, 0.2)
    assert by_name["parameters", "direction"].values == ("either", "increase")
    assert by_name["parameters", "seed"].same
    assert not by_name["results", "p"].same
    assert by_name["results", "p"].values == tuple(record.logged.metrics["p"][0][1] for record in (first, second))
    assert by_name["results", "observed"].same
    assert by_name["inputs", "extract"].same
    assert by_name["inputs", "analytics/behavioral_events: rows"].values == (first.inputs[2].rows,) * 2

    other = {(line.part, line.name): line for line in compare(first, third)}
    assert other["parameters", "alpha"].values == (0.05, None)
    assert other["parameters", "factor"].values[0] is None
    assert not other["analysis", "analysis"].same
