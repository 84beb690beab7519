"""Turn a test into a verdict: benefit, harm, not shown, or no verdict and why not.

Use only the test and what was fixed before it: no effect size and no figure can make a verdict.

A one-sided test looks one way only. When the outcome went the other way nothing was shown, however far it went: to
test that too would be a second look, and doubles the rate of false alarms. What was declared may well be the
harmful direction; then finding it is the verdict harm. A two-sided test may find either.

p compares with what else could have been drawn, not with zero. On a steep trend all assignments differ one way, and
the test may find an increase where the treatment days lie lower: then neither word would be right, and none is
given.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from americano_pipelines.statistics.randomization_test import Direction, RandomizationTest

State = Literal["benefit", "harm", "not shown", "no verdict"]


@dataclass(frozen=True)
class Verdict:
    """The verdict on an analysis.

    Attributes:
        state: one of four.
        why: the reason in a few words, for a table.
        sentence: the same for people, with the numbers.
    """

    state: State
    why: str
    sentence: str


def judge(
    test: RandomizationTest,
    *,
    level: float,
    improvement: Direction,
    objections: tuple[str, ...] = (),
    remedy: str = "",
) -> Verdict:
    """Judge a test.

    Args:
        test: the test.
        level: the level fixed before, such as .05.
        improvement: which way is better for the learner.
        objections: what forbids a verdict whatever the numbers: no recorded randomisation, the plan is not over.
        remedy: how the smallest p could come to the level, to be read after "at least 20 assignments are needed".
    """
    numbers = describe(test)
    if not test.admissible:
        objections = objections or ("not a randomisation test, for what was observed could not have been drawn",)
    if objections:
        return Verdict("no verdict", objections[0], f"No verdict: {'; '.join(objections)}. Descriptively, {numbers}.")
    if test.smallest_p > level:
        few = test.assignments * level < 1
        cause = "" if few else " and these days with values"
        hint = (
            f"at least {ceil(1 / level)} assignments are needed{remedy}"
            if few
            else "too many treat the same days, or just the others, or leave a phase without a value"
        )
        return Verdict(
            "no verdict",
            "too few assignments" if few else "too few assignments that can be told apart",
            f"No verdict: with {test.assignments:,} possible assignments{cause} p cannot be smaller than "
            f"{_p(test.smallest_p)}, so a level of {_p(level)} is out of reach; {hint}. Descriptively, {numbers}.",
        )
    if test.undecided(level) and test.p_interval is not None:
        low, high = test.p_interval
        return Verdict(
            "no verdict",
            "undecided: more draws are needed",
            f"No verdict: p was estimated from {test.draws:,} draws, and its 99 % interval, {_p(low)} to {_p(high)}, "
            f"holds the level of {_p(level)}; draw more. Descriptively, {numbers}.",
        )
    if test.p > level:
        return Verdict("not shown", f"p = {_p(test.p)}", f"An effect was not shown: {numbers}.{_other_way(test)}")
    observed_direction: Direction = "increase" if test.observed > 0 else "decrease"
    if test.direction not in (None, observed_direction):
        return Verdict(
            "no verdict",
            "the test and the difference point opposite ways",
            f"No verdict: among what could have been drawn the outcome speaks for an {test.direction}"
            f", yet the difference itself is the other way, as a steep trend makes it; {numbers}.",
        )
    state: State = "benefit" if observed_direction == improvement else "harm"
    return Verdict(state, f"p = {_p(test.p)}", f"{state.capitalize()}: {numbers}.{_wider(test)}")


def describe(test: RandomizationTest) -> str:
    """The numbers of a test in a clause."""
    interval = test.interval
    if interval.low is None and interval.high is None:
        bounds = f"no two-sided {interval.confidence:.0%} interval: {interval.why}"
    else:
        low, high = ("unbounded" if bound is None else f"{bound:.2f}" for bound in (interval.low, interval.high))
        bounds = f"two-sided {interval.confidence:.0%} interval {low} to {high}"
    # The bins hold all differences of the reference set.
    if test.edges[0] > test.tolerance or test.edges[-1] < -test.tolerance:
        bounds += (
            "; under every assignment they differ this way, as a trend would make them, so this difference is not "
        )
        bounds += "the size of an effect"
    looked = (
        f"of {test.assignments:,} assignments that could have been drawn"
        if test.draws is None
        else (f"of {test.draws:,} drawn from {test.assignments:,} possible assignments")
    )
    sides = "two-sided" if test.direction is None else f"one-sided, {test.direction}"
    return (
        f"treatment days differed from baseline days by {test.observed:+.2f} ({bounds}); {looked}, "
        f"{test.as_extreme:,} give a difference at least as far out (p = {_p(test.p)}, {sides})"
    )


def _other_way(test: RandomizationTest) -> str:
    """The sentence for an outcome that went against the declared direction."""
    if test.direction is None or test.observed == 0 or (test.observed > 0) is (test.direction == "increase"):
        return ""
    return f" The difference went the other way than the {test.direction} that was declared, which was not tested."


def _wider(test: RandomizationTest) -> str:
    """The sentence for a one-sided test that finds an effect where the two-sided interval holds 0."""
    low, high = test.interval.low, test.interval.high
    if (
        test.direction is None
        or low is high is None
        or (low is not None and low > 0)
        or (high is not None and high < 0)
    ):
        return ""
    return " The interval looks both ways and holds 0; the test looked one way only."


def _p(value: float) -> str:
    """As papers print it: no zero before the point, three digits, more for what would read as zero."""
    text = f"{value:.3f}" if value >= 0.001 else f"{value:.1g}" if value < 0.0001 else f"{value:.4f}"  # noqa: PLR2004
    return text.removeprefix("0")
