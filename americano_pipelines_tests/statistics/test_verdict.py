"""The verdict: four states, and no verdict where one is forbidden."""

import numpy as np
import pytest

from americano_pipelines.demo.data.design import daily_outcomes, phases
from americano_pipelines.demo.data.protocols import PROTOCOLS, DemoProtocol
from americano_pipelines.statistics.phase_schedules import PhaseSchedule
from americano_pipelines.statistics.randomization_test import Direction, RandomizationTest, randomization_test
from americano_pipelines.statistics.reference_set import Case
from americano_pipelines.statistics.verdict import STATES, Remarks, judge
from americano_pipelines_tests.statistics.examples import TRUTHS

ABAB = (False, True, False, True)


def outcome_of(values: np.ndarray, direction: Direction | None) -> RandomizationTest:
    schedule = PhaseSchedule(values.size, ABAB, (5,) * 4, (values.size,) * 4)
    return randomization_test([Case(values, schedule, [values.size // 4] * 4)], direction=direction)


def stepped(effect: float, days: int = 40) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=days)
    return noise + effect * np.repeat([0, 1, 0, 1], days // 4)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_the_demos_protocols_are_judged_as_their_generator_says(protocol: DemoProtocol) -> None:
    schedule = PhaseSchedule(protocol.total_days, ABAB, (protocol.min_days,) * 4, (protocol.max_days,) * 4)
    case = Case(daily_outcomes(protocol), schedule, [phase.days for phase in phases(protocol)])

    verdict = judge(randomization_test([case], direction=protocol.direction), level=0.05, improvement="increase")

    assert verdict.state == TRUTHS[protocol.name]


@pytest.mark.parametrize(
    ("effect", "direction", "improvement", "state"),
    [
        (4, "increase", "increase", "benefit"),
        (4, "increase", "decrease", "harm"),
        (4, "increase", None, "differs, higher under treatment"),
        (-4, "decrease", None, "differs, lower under treatment"),
        (4, None, None, "differs, higher under treatment"),
        (-4, None, None, "differs, lower under treatment"),
        (0, None, None, "not shown"),
        (-4, "decrease", "decrease", "benefit"),
        (-4, None, "increase", "harm"),
        (4, None, "increase", "benefit"),
        (-4, "increase", "increase", "not shown"),
        (0, None, "increase", "not shown"),
    ],
)
def test_direction_and_improvement_decide_what_a_finding_means(
    effect: float, direction: Direction | None, improvement: Direction | None, state: str
) -> None:
    verdict = judge(outcome_of(stepped(effect), direction), level=0.05, improvement=improvement)

    assert verdict.state == state
    assert verdict.state in STATES
    assert "of 1,771 assignments that could have been drawn" in verdict.sentence
    judged = {"Benefit", "Harm", "Differs"} & set(verdict.sentence.replace(",", ":").split(":"))
    assert judged == ({state.split(",", maxsplit=1)[0].capitalize()} if state != "not shown" else set())
    assert ("neither benefit nor harm, for which way is better was not declared" in verdict.sentence) is (
        state.startswith("differs")
    )


def test_an_objection_forbids_a_verdict_however_small_p_is() -> None:
    verdict = judge(
        outcome_of(stepped(9), "increase"),
        level=0.05,
        improvement="increase",
        remarks=Remarks(objections=("no randomisation is recorded",)),
    )

    assert (verdict.state, verdict.why) == ("no verdict", "no randomisation is recorded")
    assert verdict.sentence.startswith(
        "No verdict: no randomisation is recorded. Descriptively, treatment days differed"
    )


def test_too_few_assignments_forbid_a_verdict_and_say_the_days_needed() -> None:
    test = outcome_of(stepped(9, 20), "increase")
    assert test.smallest_p == 1

    verdict = judge(
        test,
        level=0.05,
        improvement="increase",
        remarks=Remarks(remedy="; with the same bounds 23 days would be needed"),
    )

    assert (verdict.state, verdict.why) == ("no verdict", "too few assignments")
    assert "at least 20 assignments are needed; with the same bounds 23 days would be needed. D" in verdict.sentence


def test_an_estimate_that_cannot_tell_is_undecided() -> None:
    values = stepped(0.62)
    schedule = PhaseSchedule(40, ABAB, (5,) * 4, (40,) * 4)
    case = Case(values, schedule, [10, 10, 10, 10])
    exact = randomization_test([case], direction="increase")
    drawn = randomization_test([case], direction="increase", max_exact=10, draws=200)

    verdict = judge(drawn, level=exact.p, improvement="increase")

    assert (verdict.state, verdict.why) == ("no verdict", "undecided: more draws are needed")
    assert "draw more, with the parameter draws above 200." in verdict.sentence
    more = randomization_test([case], direction="increase", max_exact=10, draws=400_000)
    assert judge(more, level=0.05, improvement="increase").why != verdict.why


def test_a_trend_that_hides_an_increase_is_not_called_a_harm() -> None:
    schedule = PhaseSchedule(40, ABAB, (7,) * 4, (13,) * 4)
    noise = 0.3 * np.random.default_rng(0).normal(size=40)
    values = -1.0 * np.arange(40) + 6 * np.repeat([0, 1, 0, 1], 10) + noise
    test = randomization_test([Case(values, schedule, [10, 10, 10, 10])], direction="increase")
    assert test.p <= 0.05
    assert test.observed < 0
    assert test.interval.low is not None
    assert test.interval.low > 0

    verdict = judge(test, level=0.05, improvement="increase")

    assert (verdict.state, verdict.why) == ("no verdict", "the test and the difference point opposite ways")


def test_enough_assignments_that_cannot_be_told_apart_are_too_few_as_well() -> None:
    schedule = PhaseSchedule(23, ABAB, (5,) * 4, (23,) * 4)
    values = np.repeat([0.0, 9.0, 0.0, 9.0], [5, 6, 6, 6]) + np.random.default_rng(0).normal(size=23)
    values[5] = np.nan
    test = randomization_test([Case(values, schedule, [5, 6, 6, 6])], direction="increase")

    verdict = judge(test, level=0.05, improvement="increase", remarks=Remarks(remedy="; 23 days would be needed"))

    assert (verdict.state, verdict.why) == ("no verdict", "too few assignments that can be told apart")
    assert "days would be needed" not in verdict.sentence
    assert "p cannot be smaller than .100" in verdict.sentence
    assert (
        "no two-sided 95% interval: more than 0 of 20 assignments are as extreme whatever the effect"
        in verdict.sentence
    )


def test_a_plan_that_could_not_be_drawn_gets_no_verdict_at_any_p() -> None:
    values = np.repeat([0.0, 9.0, 0.0, 9.0], [4, 12, 12, 12])
    schedule = PhaseSchedule(40, ABAB, (5,) * 4, (20,) * 4)
    test = randomization_test([Case(values, schedule, [4, 12, 12, 12])], direction="increase")

    verdict = judge(test, level=0.05, improvement="increase")

    assert test.p < 0.05
    assert verdict.state == "no verdict"
    assert verdict.why == "not a randomisation test, for what was observed could not have been drawn"


def test_a_difference_against_the_declared_way_is_reported_untested() -> None:
    against = judge(outcome_of(stepped(-4), "increase"), level=0.05, improvement="increase")
    for_it = judge(outcome_of(stepped(0.3), "increase"), level=0.01, improvement="increase")

    assert (against.state, for_it.state) == ("not shown", "not shown")
    assert against.sentence.endswith("the other way than the increase that was declared, which was not tested.")
    assert "other way" not in for_it.sentence


def test_p_at_the_level_is_enough_and_above_it_is_not() -> None:
    test = outcome_of(stepped(4), "increase")

    assert judge(test, level=test.p, improvement="increase").state == "benefit"
    assert judge(test, level=test.p * 0.999, improvement="increase").state != "benefit"


def test_nothing_is_said_of_a_trend_that_was_not_looked_for() -> None:
    """Where all assignments differ one way, as large effects and trends alike make them."""
    schedule = PhaseSchedule(40, ABAB, (9,) * 4, (11,) * 4)
    noise = np.random.default_rng(3).normal(size=40)
    large_effect, steep_trend = noise + 9 * np.repeat([0, 1, 0, 1], 10), noise + 1.0 * np.arange(40)

    for values in (large_effect, steep_trend):
        test = randomization_test([Case(values, schedule, [10, 10, 10, 10])], direction="increase", level=0.1)
        assert test.edges[0] > 0
        assert "trend" not in judge(test, level=0.1, improvement="increase").sentence
        limited = judge(test, level=0.1, improvement="increase", remarks=Remarks(clauses=("it rises",)))
        assert "level .100); it rises." in limited.sentence


@pytest.mark.parametrize("effect", [0.9, 4])
def test_a_one_sided_finding_whose_two_sided_interval_holds_0_says_so(effect: float) -> None:
    test = outcome_of(stepped(effect), "increase")
    assert test.interval.low is not None
    holds_0 = effect < 1
    assert (test.interval.low < 0) is holds_0

    verdict = judge(test, level=0.05, improvement="increase")

    assert verdict.state == "benefit"
    assert ("The interval looks both ways and holds 0; the test looked one way only." in verdict.sentence) is holds_0
    assert "two-sided 95% interval" in verdict.sentence


def test_a_two_sided_finding_has_an_interval_without_0() -> None:
    enough, few = (PhaseSchedule(days, ABAB, (5,) * 4, (days,) * 4) for days in (25, 23))
    assert (enough.count, few.count) == (56, 20)
    enough_verdict, few_verdict = (
        judge(
            randomization_test(
                [Case(stepped(30, 4 * (schedule.total // 4 + 1))[: schedule.total], schedule, lengths)], direction=None
            ),
            level=0.05,
            improvement="increase",
        )
        for schedule, lengths in ((enough, [7, 7, 6, 5]), (few, [6, 6, 6, 5]))
    )

    assert "at least 40 assignments are needed" in few_verdict.sentence
    assert "p cannot be smaller than .100" in few_verdict.sentence
    assert "p cannot be smaller" not in enough_verdict.sentence


@pytest.mark.parametrize(("level", "named"), [(0.05, ""), (0.01, ", level .010"), (1 - 0.95, "")])
def test_the_level_is_named_where_it_is_not_the_usual(level: float, named: str) -> None:
    verdict = judge(outcome_of(stepped(9), "increase"), level=level, improvement="increase")

    assert f"one-sided, increase{named})" in verdict.sentence


@pytest.mark.parametrize(
    ("scale", "shown"),
    [
        (1.0, "+4.05 (two-sided 95% interval 2.97 to 5.32)"),
        (1e-3, "+0.00405 (two-sided 95% interval 0.00297 to 0.00532)"),
        (1e3, "+4054 (two-sided 95% interval 2973 to 5324)"),
        (1e-12, "+4.05e-12 (two-sided 95% interval 2.97e-12 to 5.32e-12)"),
    ],
)
def test_digits_follow_the_outcomes_size(scale: float, shown: str) -> None:
    verdict = judge(outcome_of(scale * stepped(4), "increase"), level=0.05, improvement="increase")

    assert f"by {shown}" in verdict.sentence


def test_a_doubt_withholds_a_finding_and_nothing_else() -> None:
    remarks = Remarks(doubts=("8 days are gone",))
    sure, none = (
        judge(outcome_of(stepped(effect), "increase"), level=0.05, improvement="increase", remarks=remarks)
        for effect in (4, 0)
    )

    assert (sure.state, sure.why) == ("no verdict", "8 days are gone")
    assert sure.sentence.startswith("No verdict: 8 days are gone. Descriptively, treatment days differed")
    assert none.state == "not shown"
