"""A drawn schedule is one of the design's, each as likely as any other, and what it records makes it testable."""

import json
from collections import Counter
from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chisquare

from americano_pipelines.analysis.condition_contrasts import contrasts_of
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning.planned_design import PlannedDesign, alternating, changing_criterion, phase_design
from americano_pipelines.planning.protocol_check import check_extract
from americano_pipelines.planning.schedule_draw import (
    MAX_SEED,
    contrast_reaches,
    draw_schedule,
    intervention_params,
    smallest_p,
)
from americano_pipelines.statistics.alternating_schedules import Alternation
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.warehouse.plan_history import PlanSighting
from americano_pipelines_tests.planning.planned_extracts import BEGINS_US, planned_extract

ABAC = contrasts_of("INTERVENTION_A-BASELINE, INTERVENTION_B-BASELINE")
ABABC = contrasts_of("INTERVENTION_B-INTERVENTION_A, INTERVENTION_A-BASELINE")
DESIGNS = {
    "phases": phase_design("ABAB", 56, 7, 21),
    "two interventions": phase_design("ABAC", 70, 7, 40, ABAC),
    "the second last": phase_design("ABABC", 70, 7, 21, ABABC),
    "without a baseline": phase_design("BCBC", 40, 5, 20, ABABC[:1]),
    "the second intervention alone": phase_design("ACAC", 40, 5, 20),
    "any order": alternating(14, 7, None, None),
    "pairs": alternating(14, 1, 2, None),
    "runs of two": alternating(12, 6, 12, 2),
    "after a baseline": alternating(24, 1, 2, 2, before=5, after=3),
    "two that alternate": alternating(26, 7, None, None, contrast=ABABC[0], before=7, after=5),
    "criteria": changing_criterion(40, 5, 15, (10.0, 15.0, 20.0)),
}

# Of two interventions, a contrast may keep too few assignments.
MAY_BE_SMALL = {"two interventions", "the second last"}


@pytest.mark.parametrize(
    "design",
    [
        phase_design("ABAB", 12, 2, 5),
        phase_design("ABAC", 12, 2, 5, ABAC),
        alternating(6, 3, None, 2),
        alternating(9, 2, None, None, contrast=ABABC[0], before=3, after=2),
        changing_criterion(10, 2, 4, (1.0, 2.0)),
    ],
    ids=["phases", "two interventions", "days", "days between others", "criteria"],
)
def test_each_schedule_is_as_likely_as_any_other(design: PlannedDesign) -> None:
    drawn = Counter(
        tuple((phase.type, phase.days) for phase in draw_schedule(design, seed))
        for seed in range(100 * design.schedule.count)
    )

    assert len(drawn) == design.schedule.count
    assert chisquare(list(drawn.values())).pvalue > 0.001


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_a_schedule_is_one_of_the_design_and_the_seed_gives_it_again(design: PlannedDesign) -> None:
    drawn = draw_schedule(design, 7, date(2027, 1, 4))

    assert drawn == draw_schedule(design, 7, date(2027, 1, 4)) != draw_schedule(design, 8, date(2027, 1, 4))
    observed = [phase.days for phase in drawn]
    if isinstance(design.schedule, Alternation):
        treated = np.repeat([phase.type == design.contrasts[0].first for phase in drawn], observed)
        assert treated[design.days - design.after :].all(), "the last phase is under the treatment"
        observed = (treated & design.schedule.compared_days).tolist()
    assert design.schedule.contains(observed)
    assert sum(phase.days for phase in drawn) == design.days
    assert len({phase.label for phase in drawn}) == len(drawn)
    for phase, following in pairwise(drawn):
        assert following.first_day == phase.first_day + phase.days
        assert phase.starts is not None
        assert following.starts is not None
        assert (following.starts - phase.starts).days == phase.days


@pytest.mark.parametrize("name", DESIGNS)
def test_what_a_draw_records_is_complete_before_the_first_day(name: str) -> None:
    design = DESIGNS[name]
    drawn = draw_schedule(design, 7)
    extract = planned_extract(design, drawn, {"direction": "increase", "alpha": 0.05, "improvement": "increase"})
    sighting = PlanSighting(
        plan_sha256="0" * 64,
        first_seen_snapshot="20261230T000000Z-1",
        first_seen_at="2026-12-30T00:00:00+00:00",
        source_updated_at=None,
        watched_since="2026-12-01T00:00:00+00:00",
    )

    items = {item.what: item for item in check_extract(extract, sighting, BEGINS_US - DAY_US)}

    reaches = contrast_reaches(design, drawn, two_sided=False)
    checked = [items["randomization"], *(items[f"contrast {reach.contrast}"] for reach in reaches[1:])]
    assert [item.text for item in items.values() if not item.complete and item not in checked] == []
    for reach, item in zip(reaches, checked, strict=True):
        assert f"{reach.assignments:,} assignments, the smallest p is {reach.smallest_p:.2g}" in item.text
        assert item.complete == rejects(reach.smallest_p, 0.05)
        assert item.complete or name in MAY_BE_SMALL


def test_the_smallest_p_is_one_of_all_assignments() -> None:
    assert smallest_p(phase_design("ABAB", 56, 7, 21).schedule, two_sided=False) == 1 / 2255
    assert smallest_p(phase_design("ABAB", 56, 7, 21).schedule, two_sided=True) == 2 / 2255
    assert smallest_p(phase_design("ABAB", 8, 2, 2).schedule, two_sided=True) == 1


def test_a_contrast_is_tested_over_assignments_that_keep_other_days() -> None:
    design = DESIGNS["two interventions"]
    assert isinstance(design.schedule, PhaseSchedule)
    drawn = draw_schedule(design, 3)
    lengths = [phase.days for phase in drawn]
    everything = np.concatenate(list(design.schedule.blocks(100_000)))
    # A against the baseline: C keeps its days. C against the baseline: the days of A, and so its first day, stay.
    same_last = (everything[:, 3] == lengths[3]).sum()
    same_first = (everything[:, :2] == lengths[:2]).all(axis=1).sum()

    reaches = contrast_reaches(design, drawn, two_sided=True)

    assert [reach.assignments for reach in reaches] == [same_last, same_first]
    assert [reach.smallest_p for reach in reaches] == [2 / same_last, 2 / same_first]
    assert reaches[0].corrected_p == reaches[0].smallest_p, "the primary contrast is judged as it is"
    assert reaches[1].corrected_p == max(2 * reaches[0].smallest_p, reaches[1].smallest_p)
    (analysis,) = {json.dumps(own["analysis"]) for own in intervention_params(design, drawn, {}, 3)}
    assert json.loads(analysis) == {
        "type": "ABAB_RANDOMIZATION",
        "contrasts": [["INTERVENTION_A", "BASELINE"], ["INTERVENTION_B", "BASELINE"]],
    }


def test_each_phase_records_what_concerns_it() -> None:
    criteria, part = DESIGNS["criteria"], DESIGNS["two that alternate"]

    of_criteria = intervention_params(criteria, draw_schedule(criteria, 3), {}, 3)
    before, *alternate, after = intervention_params(part, draw_schedule(part, 3), {}, 3)

    assert [own.get("criterion") for own in of_criteria] == [None, 10.0, 15.0, 20.0]
    assert all(own["randomization"] == {"minDays": 5, "maxDays": 15} for own in of_criteria)
    assert before == after
    assert "randomization" not in before
    days_of = {"INTERVENTION_B": 7, "INTERVENTION_A": 7}
    assert all(own == {**before, "randomization": {"scheme": "days", "daysOf": days_of}} for own in alternate)


@pytest.mark.parametrize("design", [d for d in DESIGNS.values() if d.name != "CHANGING_CRITERION"])
def test_a_longer_design_keeps_its_bounds(design: PlannedDesign) -> None:
    longer = design.resized(2 * design.days)

    assert longer.days == 2 * design.days
    assert np.log(longer.schedule.count) > np.log(design.schedule.count)
    if isinstance(longer.schedule, PhaseSchedule):
        assert longer.randomization == {**design.randomization, "maxDays": 2 * design.randomization["maxDays"]}  # type: ignore[operator]
    assert (longer.name, longer.contrasts) == (design.name, design.contrasts)


def test_what_cannot_be_drawn_says_why() -> None:
    with pytest.raises(AnalysisError, match="no 4 phases of 7 to 10 days make 56 days: choose between 28 and 40"):
        phase_design("ABAB", 56, 7, 10)
    with pytest.raises(AnalysisError, match="ABA is no design: name 4 phases or more"):
        phase_design("ABA", 56, 7, 21)
    with pytest.raises(AnalysisError, match="ABAD is no design"):
        phase_design("ABAD", 56, 7, 21)
    with pytest.raises(AnalysisError, match="ABAC has two interventions: declare the contrasts"):
        phase_design("ABAC", 56, 7, 21)
    with pytest.raises(AnalysisError, match="no phase of BCBC is BASELINE"):
        phase_design("BCBC", 56, 7, 21, ABAC)
    with pytest.raises(AnalysisError, match="ABAB compares INTERVENTION_A with BASELINE"):
        phase_design("ABAB", 56, 7, 21, ABAC)
    for criteria in ((), (1.0,), (1.0, 2.0, 1.0), (1.0, 1.0, 2.0)):
        with pytest.raises(AnalysisError, match="a changing criterion needs at least two criteria"):
            changing_criterion(40, 5, 15, criteria)
    with pytest.raises(AnalysisError, match="10 days before and 4 after leave none of 14 days"):
        alternating(14, 7, None, None, before=10, after=4)
    with pytest.raises(AnalysisError, match="14 days are not a whole number of blocks of 4"):
        alternating(14, 2, 4, None)
    with pytest.raises(AnalysisError, match=f"the seed {MAX_SEED + 1} is not between 0 and {MAX_SEED}"):
        draw_schedule(phase_design("ABAB", 56, 7, 21), MAX_SEED + 1)
