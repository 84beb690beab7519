"""Write the methods paragraph of a randomization test, as a paper could print it."""

from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.declared_improvement import DeclaredImprovement
from americano_pipelines.analysis.randomization_scheme import RandomizationScheme, as_drawn, is_alternation
from americano_pipelines.analysis.registry import AbabParameters
from americano_pipelines.statistics.verdict import percent


def statistic_of(observations: Observations) -> str:
    """The test statistic in words."""
    if is_alternation(observations):
        return "mean of the treatment days less the mean of the baseline days"
    return "mean of the treatment phases' means less the mean of the baseline phases' means"


def methods_of(
    observations: Observations,
    parameters: AbabParameters,
    scheme: RandomizationScheme,
    declared: DeclaredImprovement,
) -> str:
    """The methods paragraph.

    Args:
        observations: the protocol's days.
        parameters: the parameters.
        scheme: the randomization scheme.
        declared: which way is better.
    """
    days, phases = sum(observations.planned or observations.lengths), ", ".join(observations.labels)
    course = (
        f"through {days} days of baseline and treatment in a drawn order"
        if is_alternation(observations)
        else f"through {len(observations.labels)} phases ({phases}) of {', '.join(map(str, observations.lengths))} days"
    )
    cut = (
        "; days in which a phase switched were left out, under each assignment its own"
        if any(observations.timeline.cut)
        else ""
    )
    better = {"increase": "higher is better", "decrease": "lower is better", None: declared.undeclared}
    drawn = as_drawn(observations)
    return (
        f"One learner went {course}. The outcome, {observations.extract.outcome} ({better[declared.better]}), was "
        f"averaged by day, {observations.day_in_words}{cut}. Days without a value kept their place. "
        f"{f'{drawn[0].upper()}{drawn[1:]}. ' if drawn else ''}{_tested(observations, parameters, scheme)} Days "
        "without a value were compared between the conditions by the same test, and the test was repeated with the "
        "worst values on them, within the observed range. Overlap was measured by NAP with Newcombe's interval, which "
        "takes the days for independent. The formula of each number is listed with the results."
    )


def _tested(observations: Observations, parameters: AbabParameters, scheme: RandomizationScheme) -> str:
    if scheme.case is None:
        why = f": {scheme.problem}" if scheme.problem else ", for no drawing is recorded that these phases could be"
        return f"No test was made{why if scheme.problem else why + ' compared with'}."
    every = (
        "every order of treatment and baseline days that the scheme admits"
        if is_alternation(observations)
        else f"every division of {sum(scheme.observed)} days into phases within the bounds that were drawn from"
    )
    sides = (
        "two-sided: p is twice the smaller of the two one-sided p values"
        if parameters.direction == "either"
        else f"one-sided ({parameters.direction})"
    )
    compared = "was tested by a randomization test" if scheme.admissible else "was compared, which is no test,"
    return (
        f"The effect of the treatment {compared} with a reference set, {scheme.source}, that holds {every}. The "
        f"statistic was the {statistic_of(observations)}, {sides}, at a level of {parameters.alpha:g}. The two-sided "
        f"{percent(1 - parameters.alpha)} interval of the effect holds the constant effects that the two-sided test "
        "does not reject."
    )
