"""Write the methods paragraph of a randomization test, as a paper could print it."""

from americano_pipelines.analysis.alternation_scheme import alternating_phases
from americano_pipelines.analysis.daily_series import Observations
from americano_pipelines.analysis.declared_improvement import DeclaredImprovement
from americano_pipelines.analysis.method_sentences import better_in_words, interval_sentence, sides_in_words
from americano_pipelines.analysis.parameters import AbabParameters
from americano_pipelines.analysis.randomization_scheme import (
    RandomizationScheme,
    as_drawn,
    compared_names,
    condition_names,
    declared_contrasts,
    has_criteria,
    is_alternation,
)
from americano_pipelines.statistics.outcome_statistics import is_linear

_WITH_ANOTHER = 2
MEASURES = {
    "mean": "",
    "median": " in median",
    "slope": " in slope a day",
    "immediacy": " about the switches",
    "nap": " in NAP less .5",
}
"""What the statistic is, to be read after its number; a difference of means needs no words."""


def statistic_of(observations: Observations, statistic: str, compared: tuple[str, str]) -> str:
    """The test statistic in words.

    Args:
        observations: the protocol's days.
        statistic: the parameter.
        compared: the two conditions.
    """
    first, second = compared
    if has_criteria(observations):
        return "mean distance of the days from the criterion in force"
    if statistic == "nap":
        return (
            f"share of the pairs of a {first} and a {second} day in which the {first} day is higher, ties half, less .5"
        )
    if statistic == "immediacy":
        return (
            f"mean over the switches of the mean of the three {first} days next to it less that of the three {second} "
            "days"
        )
    if is_alternation(observations):
        return f"{statistic} of the {first} days less the {statistic} of the {second} days"
    return f"mean of the {first} phases' {statistic}s less the mean of the {second} phases' {statistic}s"


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
    phases, lengths = ", ".join(observations.labels), ", ".join(map(str, observations.lengths))
    course = (
        _alternating_course(observations)
        if is_alternation(observations)
        else f"through {len(observations.labels)} phases ({phases}) of {lengths} days"
    )
    cut = (
        "; days in which a phase switched were left out, under each assignment its own"
        if any(observations.timeline.cut)
        else ""
    )
    drawn = as_drawn(observations)
    compared_days = "counted" if has_criteria(observations) else "compared between the conditions by the same test"
    worst = (
        ", and the test was repeated with the worst values on them, within the observed range"
        if parameters.statistic == "mean" and not has_criteria(observations)
        else ""
    )
    return (
        f"One learner went {course}. The outcome, {observations.extract.outcome} ({better_in_words(declared)}), was "
        f"averaged by day, {observations.day_in_words}{cut}. Days without a value kept their place. "
        f"{f'{drawn[0].upper()}{drawn[1:]}. ' if drawn else ''}{_tested(observations, parameters, scheme)} Days "
        f"without a value were {compared_days}{worst}. "
        "Overlap was measured by NAP with Newcombe's interval, which "
        "takes the days for independent. The formula of each number is listed with the results."
    )


def _alternating_course(observations: Observations) -> str:
    """The days that alternate, and the phases before and after them, whose days were not drawn."""
    part, lengths = alternating_phases(observations), observations.lengths_as_drawn
    names = [name.replace("BASELINE", "baseline") for name in condition_names(observations)]
    beside = [
        f"{place} {sum(lengths[index] for index in held)} days of {' and '.join(dict.fromkeys(names[i] for i in held))}"
        for place, held in (("after", range(part.start)), ("before", range(part.stop, len(lengths))))
        if held
    ]
    *others, last = dict.fromkeys(sorted((names[index] for index in part), key="baseline".__ne__))
    conditions = f"{', '.join(others)} and {last}" if others else last
    days = sum(lengths[index] for index in part)
    return ", ".join([f"through {days} days of {conditions} in a drawn order", *beside])


def _tested(observations: Observations, parameters: AbabParameters, scheme: RandomizationScheme) -> str:
    if scheme.case is None:
        why = f": {scheme.problem}" if scheme.problem else ", for no drawing is recorded that these phases could be"
        return f"No test was made{why if scheme.problem else why + ' compared with'}."
    contrasts = declared_contrasts(observations, parameters)
    first, second = compared_names(scheme.contrast if contrasts else None)
    every = (
        f"every order of {first} and {second} days that the scheme admits"
        if is_alternation(observations)
        else f"every division of {sum(scheme.observed)} days into phases within the bounds that were drawn from"
    )
    if contrasts:
        every += ", with the days of all other conditions as they were"
    sides = "one-sided (a smaller distance)" if has_criteria(observations) else sides_in_words(parameters.direction)
    compared = "was tested by a randomization test" if scheme.admissible else "was compared, which is no test,"
    effect = f"The difference between {first} and {second}" if contrasts else "The effect of the treatment"
    if has_criteria(observations):
        effect = "Whether the outcome follows the criteria"
    corrected = (
        f" Beside this primary contrast, {', '.join(contrast.words for contrast in contrasts[1:])} "
        f"{'was' if len(contrasts) == _WITH_ANOTHER else 'were'} tested in the same way, with p corrected for "
        f"{len(contrasts)} contrasts by Holm's method."
        if len(contrasts) > 1
        else ""
    )
    interval = (
        f" {interval_sentence(parameters.alpha)}"
        if is_linear(parameters.statistic) and not has_criteria(observations)
        else ""
    )
    return (
        f"{effect} {compared} with a reference set, {scheme.source}, that holds {every}. The "
        f"statistic was the {statistic_of(observations, parameters.statistic, (first, second))}, {sides}, at a "
        f"level of {parameters.alpha:g}.{interval}{corrected}"
    )
