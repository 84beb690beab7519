"""How a protocol was tested, in words that a paper could print.

Here belongs the paragraph of the randomization test, for phases and for days that alternate. Of the analyses that
describe a series it is in `series.py` and `posterior.py`.
"""

from americano_pipelines.analysis.config import AbabParameters
from americano_pipelines.analysis.design import Drawing, is_alternation
from americano_pipelines.analysis.observations import Observations


def statistic_of(seen: Observations) -> str:
    """What the test statistic is."""
    if is_alternation(seen):
        return "mean of the treatment days less the mean of the baseline days"
    return "mean of the treatment phases' means less the mean of the baseline phases' means"


def methods_of(seen: Observations, asked: AbabParameters, drawn: Drawing) -> str:
    """The paragraph.

    Args:
        seen: the protocol's days.
        asked: the parameters.
        drawn: what was drawn.
    """
    days, phases = sum(seen.planned or seen.lengths), ", ".join(seen.labels)
    went = (
        f"through {days} days of baseline and treatment in a drawn order"
        if is_alternation(seen)
        else f"through {len(seen.labels)} phases ({phases}) of {', '.join(map(str, seen.lengths))} days"
    )
    cut = (
        "; days in which a phase switched were left out, under each assignment its own"
        if any(seen.timeline.cut)
        else ""
    )
    better = "higher" if asked.improvement == "increase" else "lower"
    return (
        f"One learner went {went}. The outcome, {seen.extract.outcome} ({better} is better), was averaged by day, a "
        f"day being 24 hours from the start of the first phase{cut}. Days without a value kept their place. "
        f"{_tested(seen, asked, drawn)} Overlap was measured by NAP with Newcombe's interval, which takes the days "
        "for independent."
    )


def _tested(seen: Observations, asked: AbabParameters, drawn: Drawing) -> str:
    if drawn.case is None:
        return "No test was made, for no drawing is recorded that these phases could be compared with."
    every = (
        "every order of treatment and baseline days that the scheme admits"
        if is_alternation(seen)
        else f"every division of {sum(drawn.observed)} days into phases within the bounds that were drawn from"
    )
    sides = "two-sided, on its absolute value" if asked.direction == "either" else f"one-sided ({asked.direction})"
    compared = "was tested by a randomization test" if drawn.admissible else "was compared, which is no test,"
    return (
        f"The effect of the treatment {compared} with a reference set, {drawn.source}, that holds {every}. The "
        f"statistic was the {statistic_of(seen)}, {sides}, at a level of {asked.alpha:g}. The two-sided "
        f"{1 - asked.alpha:.0%} interval of the effect is that of the constant effects which inverting the test leaves."
    )
