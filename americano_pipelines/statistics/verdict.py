"""Turn a test into a verdict: benefit, harm, differs, not shown, or no verdict and why not.

Use only the test and what was fixed before it: no effect size and no figure can make a verdict.
"""

# Benefit and harm need a declaration of which way is better. Without one the verdict says only which way the outcome
# differs.
#
# A one-sided test looks one way only. When the outcome went the other way nothing was shown, however far it went: to
# test that too would be a second look, and doubles the rate of false alarms. What was tested for may well be the
# harmful direction; then finding it is the verdict harm. A two-sided test may find either.
#
# p compares with what else could have been drawn, not with zero. Where all assignments differ one way, the test may
# find an increase although the treatment days lie lower: then there is no verdict.

from dataclasses import dataclass
from math import ceil
from typing import Literal, get_args

from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome, interval_text, shown_p
from americano_pipelines.statistics.randomization_test import Direction, RandomizationTest

State = Literal[
    "benefit",
    "harm",
    "differs, higher under treatment",
    "differs, lower under treatment",
    "not shown",
    "no verdict",
]
STATES: tuple[State, ...] = get_args(State)
UNDECLARED = "which way is better was not declared"
_USUAL_LEVEL = 0.05
_FEW, _INDISTINCT = "too few assignments", "too few assignments that can be told apart"
_UNDECIDED, _OPPOSITE = "undecided: more draws are needed", "the test and the difference point opposite ways"
# Reasons for no verdict that say nothing against p, so it may be combined with others.
COMBINABLE_REASONS = frozenset({_FEW, _INDISTINCT, _UNDECIDED, _OPPOSITE})


@dataclass(frozen=True)
class Verdict:
    """The verdict on an analysis.

    Attributes:
        state: one of `STATES`.
        why: the reason in a few words, for a table.
        sentence: the same for people, with the numbers.
    """

    state: State
    why: str
    sentence: str


@dataclass(frozen=True)
class Remarks:
    """What belongs into the sentence beside the numbers of the test.

    Attributes:
        objections: what forbids a verdict whatever the numbers: no recorded randomisation, the plan is not over.
        doubts: what forbids a verdict that the test would give, and leaves "not shown" as it is.
        remedy: how the smallest p could come to the level, to be read after "at least 20 assignments are needed".
        clauses: what limits the numbers, each a clause without a full stop.
        undeclared: why no way is better, to be read after "Differs, ...".
        compared: the two conditions, first less second.
        measure: what the number is where it is no difference of means, to be read after it.
        adjusted_p: p corrected for the number of contrasts, by which the test is judged; None where it is the only one,
            or the primary one.
        criteria_lead: of a changing criterion, which way the outcome goes that follows it; None of any other design.
    """

    objections: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    remedy: str = ""
    clauses: tuple[str, ...] = ()
    undeclared: str = UNDECLARED
    compared: tuple[str, str] = ("treatment", "baseline")
    measure: str = ""
    adjusted_p: float | None = None
    criteria_lead: Direction | None = None


def judge(
    test: RandomizationTest, *, level: float, improvement: Direction | None, remarks: Remarks | None = None
) -> Verdict:
    """Judge a test.

    Args:
        test: the test.
        level: the level fixed before, such as .05.
        improvement: which way is better for the learner; None where that was not declared.
        remarks: what else the sentence has to say.
    """
    remarks = remarks or Remarks()
    numbers = _describe(test, level, remarks)
    p = test.p if remarks.adjusted_p is None else remarks.adjusted_p
    obstacle = _obstacle(test, level, remarks)
    if obstacle is not None:
        why, reason = obstacle
        return Verdict("no verdict", why, f"No verdict: {reason}. Descriptively, {numbers}.")
    if not rejects(p, level):
        against = "" if remarks.criteria_lead else _opposite_note(test)
        return Verdict("not shown", f"p = {shown_p(p)}", f"No effect was shown: {numbers}.{against}")
    observed_direction: Direction = "increase" if test.observed > 0 else "decrease"
    if remarks.criteria_lead is not None:
        observed_direction = remarks.criteria_lead
    elif test.favoured_direction != observed_direction:
        return Verdict(
            "no verdict",
            _OPPOSITE,
            f"No verdict: among what could have been drawn the outcome speaks for an {test.favoured_direction}, yet "
            f"the difference itself is the other way, so the assignments cannot tell its size; {numbers}.",
        )
    if remarks.doubts:
        doubts = "; ".join(remarks.doubts)
        return Verdict("no verdict", remarks.doubts[0], f"No verdict: {doubts}. Descriptively, {numbers}.")
    if improvement is None:
        higher: State = "differs, higher under treatment"
        lower: State = "differs, lower under treatment"
        state = higher if observed_direction == "increase" else lower
        reason = f" It is called neither benefit nor harm, for {remarks.undeclared}."
    else:
        state, reason = ("benefit" if observed_direction == improvement else "harm"), ""
    return Verdict(
        state, f"p = {shown_p(p)}", f"{state[0].upper()}{state[1:]}: {numbers}.{_interval_note(test)}{reason}"
    )


def _obstacle(test: RandomizationTest, level: float, remarks: Remarks) -> tuple[str, str] | None:
    """What forbids a verdict, in a few words and in full; None when nothing does."""
    objections = remarks.objections
    if not test.admissible:
        objections = objections or ("not a randomisation test, for what was observed could not have been drawn",)
    if objections:
        return objections[0], "; ".join(objections)
    if not rejects(test.smallest_p, level):
        needed = ceil(test.sides / level - 1e-9)
        few = test.assignments < needed
        cause = "" if few else " and these days with values"
        hint = (
            f"at least {needed:,} assignments are needed{remarks.remedy}"
            if few
            else "too many treat the same days, or just the others, or leave a phase without a value"
        )
        return _FEW if few else _INDISTINCT, (
            f"with {test.assignments:,} possible assignments{cause} p cannot be smaller than "
            f"{shown_p(test.smallest_p)}, so a level of {shown_level(level)} is out of reach; {hint}"
        )
    factor = 1.0 if remarks.adjusted_p is None else remarks.adjusted_p / test.p
    if test.undecided(level / factor) and test.p_interval is not None and test.draws is not None:
        low, high = map(shown_p, test.p_interval)
        return _UNDECIDED, (
            f"p was estimated from {test.draws:,} draws, and its 99 % interval, {low} to {high}, holds the level of "
            f"{shown_level(level)}; draw more, with the parameter draws above {test.draws:,}"
        )
    return None


def _describe(test: RandomizationTest, level: float, remarks: Remarks) -> str:
    """The numbers of a test in a clause; the level is named where it is not the usual .05."""
    interval = test.interval
    decimals = decimals_for((test.observed, interval.low, interval.high))
    if interval.low is None and interval.high is None:
        bounds = f"no two-sided {percent(interval.confidence)} interval: {interval.why}"
    else:
        ends = interval_text(interval.low, interval.high, decimals)
        bounds = f"two-sided {percent(interval.confidence)} interval {ends}"
    looked = (
        f"of {test.assignments:,} assignments that could have been drawn"
        if test.draws is None
        else (f"of {test.draws:,} drawn from {test.assignments:,} possible assignments")
    )
    sides = f"one-sided, {test.direction}" if test.direction else "two-sided"
    doubled = "twice their share, " if test.sides > 1 else ""
    usual = rejects(level, _USUAL_LEVEL) and rejects(_USUAL_LEVEL, level)
    named = "" if usual else f", level {shown_level(level)}"
    limits = "".join(f"; {clause}" for clause in remarks.clauses)
    adjusted = "" if remarks.adjusted_p is None else f", by Holm {shown_p(remarks.adjusted_p)}"
    p = f"p = {shown_p(test.p)}, {doubled}{sides}{named}{adjusted}"
    if remarks.criteria_lead is not None:
        return (
            f"the days lay {format_outcome(test.observed, decimals)} from the criterion in force on average; {looked}, "
            f"{test.as_extreme:,} {'gives' if test.as_extreme == 1 else 'give'} a distance at least as small "
            f"(p = {shown_p(test.p)}, one-sided{named}){limits}"
        )
    first, second = remarks.compared
    return (
        f"{first} days differed from {second} days by {format_outcome(test.observed, decimals, sign=True)}"
        f"{remarks.measure} ({bounds}); {looked}, {test.as_extreme:,} "
        f"{'gives' if test.as_extreme == 1 else 'give'} a difference at least as extreme ({p}){limits}"
    )


def percent(share: float) -> str:
    """A confidence as papers print it: 95%, 99.5%."""
    return f"{100 * share:.10g}%"


def _opposite_note(test: RandomizationTest) -> str:
    """The sentence for an outcome that went against the declared direction."""
    if test.direction is None or test.observed == 0 or (test.observed > 0) is (test.direction == "increase"):
        return ""
    return f" The difference went the other way than the {test.direction} that was declared, which was not tested."


def _interval_note(test: RandomizationTest) -> str:
    """The sentence for a one-sided test that finds an effect where the two-sided interval holds 0."""
    interval = test.interval
    if test.direction is None or interval.low is interval.high is None or not interval.holds_zero:
        return ""
    return " The interval looks both ways and holds 0; the test looked one way only."


def shown_level(level: float) -> str:
    """A level as `shown_p`, with more digits where these three would be another level."""
    text = shown_p(level)
    return text if rejects(float(text), level) and rejects(level, float(text)) else f"{level:.10g}".removeprefix("0")
