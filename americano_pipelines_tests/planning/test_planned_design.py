"""A drawn schedule is one of the design's, each as likely as any other, and what it records makes it testable."""

from collections import Counter
from datetime import UTC, date, datetime, time
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chisquare

from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.errors import AnalysisError
from americano_pipelines.planning.planned_design import (
    MAX_SEED,
    PlannedDesign,
    abab,
    alternating,
    draw_schedule,
    intervention_params,
    smallest_p,
)
from americano_pipelines.planning.protocol_check import check_extract
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.warehouse.plan_history import PlanSighting

DESIGNS = {
    "phases": abab(56, 7, 21),
    "any order": alternating(14, 7, None, None),
    "pairs": alternating(14, 1, 2, None),
    "runs of two": alternating(12, 6, 12, 2),
}


def days_of(design: PlannedDesign, seed: int) -> list[bool]:
    return [phase.type != "BASELINE" for phase in draw_schedule(design, seed) for _ in range(phase.days)]


@pytest.mark.parametrize("design", [abab(12, 2, 5), alternating(6, 3, None, 2)], ids=["phases", "days"])
def test_each_schedule_is_as_likely_as_any_other(design: PlannedDesign) -> None:
    drawn = Counter(tuple(days_of(design, seed)) for seed in range(100 * design.schedule.count))

    assert len(drawn) == design.schedule.count
    assert chisquare(list(drawn.values())).pvalue > 0.001


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_a_schedule_is_one_of_the_design_and_the_seed_gives_it_again(design: PlannedDesign) -> None:
    drawn = draw_schedule(design, 7, date(2027, 1, 4))

    assert drawn == draw_schedule(design, 7, date(2027, 1, 4)) != draw_schedule(design, 8, date(2027, 1, 4))
    treated = days_of(design, 7)
    observed = [phase.days for phase in drawn] if isinstance(design.schedule, PhaseSchedule) else treated
    assert design.schedule.contains(observed)
    assert sum(phase.days for phase in drawn) == design.days
    assert len({phase.label for phase in drawn}) == len(drawn)
    for phase, following in pairwise(drawn):
        assert following.first_day == phase.first_day + phase.days
        assert phase.starts is not None
        assert following.starts is not None
        assert (following.starts - phase.starts).days == phase.days


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_what_a_draw_records_is_complete_before_the_first_day(design: PlannedDesign) -> None:
    first = datetime.combine(date(2027, 1, 4), time(), UTC)
    begins_us = int(first.timestamp() * 1e6)
    parameters = intervention_params(design, {"direction": "increase", "alpha": 0.05, "improvement": "increase"}, 7)
    phases = [
        Phase(
            phase_id=phase.label,
            label=phase.label,
            type=phase.type,
            starts_us=begins_us + (phase.first_day - 1) * DAY_US,
            ends_us=None,
            planned_days=phase.days,
            parameters=parameters,
            seed=7,
        )
        for phase in draw_schedule(design, 7)
    ]
    protocol = Protocol(
        protocol_id="drawn",
        learner="learner-x",
        name=None,
        design=design.name,
        primary_outcome="score",
        starts_us=begins_us,
        ends_us=None,
        plan=None,
        deviations=None,
    )
    extract = Extract(outcome="score", protocol=protocol, phases=phases, times_us=[], values=[], labels=[])
    sighting = PlanSighting(
        plan_sha256="0" * 64,
        first_seen_snapshot="20261230T000000Z-1",
        first_seen_at="2026-12-30T00:00:00+00:00",
        source_updated_at=None,
        watched_since="2026-12-01T00:00:00+00:00",
    )

    items = list(check_extract(extract, sighting, begins_us - DAY_US))

    assert [item.text for item in items if not item.complete] == []
    assert f"{design.schedule.count:,} assignments" in next(i.text for i in items if i.what == "randomization")


def test_the_smallest_p_is_one_of_all_assignments() -> None:
    assert smallest_p(abab(56, 7, 21).schedule, two_sided=False) == 1 / 2255
    assert smallest_p(abab(56, 7, 21).schedule, two_sided=True) == 2 / 2255
    assert smallest_p(abab(8, 2, 2).schedule, two_sided=True) == 1


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_a_longer_design_keeps_its_bounds(design: PlannedDesign) -> None:
    longer = design.resized(2 * design.days)

    assert longer.days == 2 * design.days
    assert np.log(longer.schedule.count) > np.log(design.schedule.count)
    if isinstance(longer.schedule, PhaseSchedule):
        assert longer.randomization == {"minDays": 7, "maxDays": 42}


def test_what_cannot_be_drawn_says_why() -> None:
    with pytest.raises(AnalysisError, match="no four phases of 7 to 10 days make 56 days: choose between 28 and 40"):
        abab(56, 7, 10)
    with pytest.raises(AnalysisError, match="14 days are not a whole number of blocks of 4"):
        alternating(14, 2, 4, None)
    with pytest.raises(AnalysisError, match=f"the seed {MAX_SEED + 1} is not between 0 and {MAX_SEED}"):
        draw_schedule(abab(56, 7, 21), MAX_SEED + 1)
