"""A drawn multiple baseline is what the analysis reads, and each joint start is as likely as any other."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.group_extract import MULTIPLE_BASELINE_DESIGN, GroupExtract
from americano_pipelines.analysis.multiple_baseline_scheme import joint_blockers, read_joint_scheme
from americano_pipelines.analysis.parameters import MultipleBaselineParameters
from americano_pipelines.analysis.preregistration import resolve
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning.group_design import (
    DrawnCase,
    GroupDesign,
    draw_group,
    drawn_starts,
    group_params,
    permuted_cases,
)
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines.statistics.prefix_sums import Values
from americano_pipelines_tests.planning.planned_extracts import BEGINS_US, recorded_extract

DESIGNS = {
    "independent": drawn_starts(3, 20, 4, 16),
    "staggered": drawn_starts(3, 24, 4, 20, 3),
    "fixed starts": permuted_cases(22, [(4, 4), (8, 8), (12, 12), (16, 16)]),
    "windows": permuted_cases(24, [(4, 6), (9, 11), (15, 18)]),
}
PLAN = {"direction": "increase", "alpha": 0.01}
LATER_US = BEGINS_US + 400 * DAY_US


def group_extract(
    design: GroupDesign, cases: list[DrawnCase], values: list[Values], plan: dict[str, Any]
) -> GroupExtract:
    """The extract of a group whose cases were recorded as they were drawn."""
    parameters = group_params(design, "notes", plan, 7)
    members: list[Extract] = []
    for place, case in enumerate(cases):
        own = values[place]
        recorded = [parameters] * len(case.phases)
        members.append(
            recorded_extract(MULTIPLE_BASELINE_DESIGN, case.phases, recorded, own, protocol_id=f"case {case.case}")
        )
    return GroupExtract(group="notes", outcome="score", learners=["learner-x"], protocols=members)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_the_analysis_reads_the_set_that_was_drawn_from(design: GroupDesign) -> None:
    for seed in range(3):
        cases = draw_group(design, seed)
        extract = group_extract(design, cases, [np.arange(design.days, dtype=np.float64)] * design.cases, PLAN)
        members = [observe(member) for member in extract.protocols]

        scheme = read_joint_scheme(members)

        assert scheme.schedule == design.schedule
        assert scheme.experiment is not None
        assert scheme.experiment.admissible
        assert joint_blockers(members, scheme, LATER_US) == ()
        parameters = resolve(KINDS["multiple_baseline"], {}, extract)
        assert isinstance(parameters, MultipleBaselineParameters)
        assert (parameters.direction, parameters.alpha) == ("increase", 0.01)
        assert [sum(phase.days for phase in case.phases) for case in cases] == [design.days] * design.cases


@pytest.mark.parametrize(
    "design",
    [
        drawn_starts(2, 9, 2, 7),
        drawn_starts(3, 12, 2, 10, 3),
        permuted_cases(12, [(2, 2), (5, 5), (8, 8)]),
        permuted_cases(9, [(2, 3), (5, 7)]),
    ],
    ids=DESIGNS,
)
def test_each_joint_start_is_as_likely_as_any_other(design: GroupDesign) -> None:
    drawn = Counter(
        tuple(case.phases[0].days for case in draw_group(design, seed)) for seed in range(100 * design.schedule.count)
    )

    assert len(drawn) == design.schedule.count
    assert chisquare(list(drawn.values())).pvalue > 0.001


def test_what_is_no_multiple_baseline_says_why() -> None:
    for build, words in (
        (lambda: drawn_starts(1, 20, 4, 16), "at least 2 cases, not 1"),
        (lambda: drawn_starts(3, 20, 4, 9), "choose between 8 and 18 days"),
        (lambda: drawn_starts(4, 20, 4, 16, 6), "lie 6 days apart: choose more days"),
        (lambda: permuted_cases(20, [(4, 8), (8, 12)]), "do not overlap"),
        (lambda: permuted_cases(20, [(4, 8), (12, 20)]), "cannot start on day 12 to 20 of 20"),
        (lambda: draw_group(DESIGNS["windows"], -1), "the seed -1 is not between"),
    ):
        with pytest.raises(AnalysisError, match=words):
            build()
