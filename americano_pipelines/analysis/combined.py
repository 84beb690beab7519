"""Combine the tests of a group's protocols: p values, and the mean of their standardized effects."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import fsum, sqrt

from pydantic import JsonValue

from americano_pipelines.analysis.combined_extract import CombinedExtract, RecordedTest
from americano_pipelines.analysis.forest_plot import ForestRow, draw_forest
from americano_pipelines.analysis.group_extract import distinct_titles
from americano_pipelines.analysis.parameters import COMBINED_VERSION, CombinedParameters
from americano_pipelines.analysis.registry import COMBINED
from americano_pipelines.analysis.result import Analysis, Pictures
from americano_pipelines.common.json_values import jsonable
from americano_pipelines.statistics.combined_p import edgington, stouffer
from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.formulas import COMBINED_FORMULAS
from americano_pipelines.statistics.outcome_digits import shown_p
from americano_pipelines.statistics.random_effects import RandomEffects, random_effects
from americano_pipelines.statistics.verdict import State, Verdict, shown_level

_METHODS = {"edgington": edgington, "stouffer": stouffer}
_METHOD_NAMES = {"edgington": "Edgington's sum of p values", "stouffer": "Stouffer's sum of normal deviates"}
_STANDINGS = {"planned": "planned", "declared": "planned and declared"}
_MIN_TESTS = 2
_HASH_DIGITS = 12


@dataclass(frozen=True)
class _CombinedP:
    """The p values of one method.

    Attributes:
        p: two-sided, twice the smaller one-sided p.
        p_benefit: one-sided, towards what each plan calls better.
        p_harm: one-sided, the other way.
    """

    p: float
    p_benefit: float
    p_harm: float


@dataclass(frozen=True)
class _CountedTest:
    """A test that counts, with its effect."""

    title: str
    test: RecordedTest
    p_benefit: float
    p_harm: float
    effect: float | None
    error: float | None

    @property
    def has_effect(self) -> bool:
        """Whether it has a standardized difference with an error."""
        return self.effect is not None and self.error is not None


def analyse_combined(extract: CombinedExtract, parameters: CombinedParameters, *, compliance: str) -> Analysis:
    """Combine the tests of a group that count; fewer than two give no verdict.

    Args:
        extract: the protocols and the records of their tests.
        parameters: the parameters.
        compliance: `planned`, `declared` or `exploratory`, for the figure.
    """
    counted, left_out = _count_tests(extract, parameters)
    combined = {name: _combine(counted, name) for name in _METHODS}
    with_effect = [case for case in counted if case.has_effect]
    mean = random_effects(
        [case.effect for case in with_effect if case.effect is not None],
        [case.error for case in with_effect if case.error is not None],
    )
    chosen = combined[parameters.method]
    verdict = _verdict(extract, parameters, counted, chosen, mean)
    return Analysis(
        name=COMBINED,
        version=COMBINED_VERSION,
        sentence=verdict.sentence,
        results={
            "verdict": jsonable(asdict(verdict)),
            "method": parameters.method,
            "combined p": jsonable(
                {name: asdict(p_values) if p_values else None for name, p_values in combined.items()}
            ),
            "random effects": jsonable(asdict(mean)) if mean else None,
            "experiments": _table(counted),
            "left out": jsonable(left_out),
            "formulas": jsonable([asdict(formula) for formula in COMBINED_FORMULAS]),
        },
        pictures=Pictures(_pictures(extract, with_effect, mean, verdict, compliance)),
        methods=_methods(parameters, counted, mean),
        verdict=verdict.state,
        numbers={
            "p": chosen.p if chosen else None,
            "p_benefit": chosen.p_benefit if chosen else None,
            "experiments": float(len(counted)),
            "observed": mean.mean if mean else None,
            "interval_low": mean.interval[0] if mean else None,
            "interval_high": mean.interval[1] if mean else None,
            "tau": mean.tau if mean else None,
        },
        counts={"protocols": len(extract.protocols), "tests": len(counted), "tests left out": len(left_out)},
        files={},
    )


def _count_tests(
    extract: CombinedExtract, parameters: CombinedParameters
) -> tuple[list[_CountedTest], list[dict[str, str]]]:
    """The test of each protocol that counts, and the records and protocols that do not, with the reason."""
    counted, left_out, later = [], [], "a later one was recorded"
    for title, member in zip(distinct_titles(extract.protocols), extract.protocols, strict=True):
        protocol_id = member.protocol.protocol_id
        tests = [test for test in extract.tests if test.protocol_id == protocol_id]
        # A second confirmatory record is only made if the first died before it was wholly recorded: the last counts.
        counting = [test for test in tests if test.exclusion(parameters.include) is None]
        counted += [_effect_of_test(title, test) for test in counting[-1:]]
        left_out += [
            {"protocol": title, "record": test.sha256, "why": test.exclusion(parameters.include) or later}
            for test in tests
            if test not in counting[-1:]
        ]
        if not tests:
            left_out.append(
                {"protocol": title, "record": "none", "why": f"no randomization test of {extract.outcome} is recorded"}
            )
    return counted, left_out


def _effect_of_test(title: str, test: RecordedTest) -> _CountedTest:
    higher, lower = test.p_higher or 1.0, test.p_lower or 1.0
    p_benefit, p_harm = (higher, lower) if test.better == "increase" else (lower, higher)
    number = len(test.effects)
    effect = fsum(test.effects) / number if number else None
    error = sqrt(fsum(error**2 for error in test.errors)) / number if number else None
    return _CountedTest(title, test, p_benefit, p_harm, effect, error or None)


def _combine(counted: Sequence[_CountedTest], method: str) -> _CombinedP | None:
    if len(counted) < _MIN_TESTS:
        return None
    benefit = _METHODS[method]([case.p_benefit for case in counted])
    harm = _METHODS[method]([case.p_harm for case in counted])
    return _CombinedP(min(1.0, 2 * min(benefit, harm)), benefit, harm)


def _verdict(
    extract: CombinedExtract,
    parameters: CombinedParameters,
    counted: Sequence[_CountedTest],
    combined: _CombinedP | None,
    mean: RandomEffects | None,
) -> Verdict:
    experiments = f"{len(counted)} of {len(extract.protocols)} experiments"
    if combined is None:
        standing = _STANDINGS[parameters.include].replace("and", "or")
        why = f"{experiments} have a {standing} randomization test that counts, and at least {_MIN_TESTS} are combined"
        return Verdict("no verdict", why, f"No verdict: {why}.")
    interventions = sorted({name for case in counted for name in case.test.interventions})
    if len(interventions) > 1:
        why = f"{' and '.join(interventions)} are different treatments, and are not pooled"
        return Verdict("no verdict", why, f"No verdict: {why}.")
    effect = (
        "the mean effect cannot be given"
        if mean is None
        else f"the mean effect is {mean.mean:+.2f} standard deviations (95% interval {mean.interval[0]:.2f} to "
        f"{mean.interval[1]:.2f}; between experiments a standard deviation of {mean.tau:.2f})"
    )
    level = "" if parameters.alpha == CombinedParameters().alpha else f", level {shown_level(parameters.alpha)}"
    numbers = (
        f"the {_STANDINGS[parameters.include]} tests of {experiments} give p = {shown_p(combined.p)} (two-sided, "
        f"{_METHOD_NAMES[parameters.method]}{level}); {effect}"
    )
    if not rejects(combined.p, parameters.alpha):
        verdict = Verdict("not shown", f"p = {shown_p(combined.p)}", f"No effect was shown: {numbers}.")
    else:
        state: State = "benefit" if combined.p_benefit < combined.p_harm else "harm"
        verdict = Verdict(state, f"p = {shown_p(combined.p)}", f"{state.capitalize()}: {numbers}.")
        if mean is not None and mean.mean * (1 if state == "benefit" else -1) < 0:
            why = "the tests and the mean effect point opposite ways"
            verdict = Verdict("no verdict", why, f"No verdict: {why}; {numbers}.")
    sentences = [verdict.sentence, *_remarks(extract, counted, verdict.state, mean)]
    return replace(verdict, sentence=" ".join(sentences))


def _remarks(
    extract: CombinedExtract,
    counted: Sequence[_CountedTest],
    state: State,
    mean: RandomEffects | None,
) -> list[str]:
    """What limits the numbers, in sentences."""
    remarks = []
    if mean is not None and (without := [case.title for case in counted if not case.has_effect]):
        remarks.append(
            f"The mean effect is that of {len(mean.weights)} of these tests: {', '.join(without)} "
            f"{'has' if len(without) == 1 else 'have'} no standardized difference."
        )
    if mean is not None and state in {"benefit", "harm"} and mean.interval[0] <= 0 <= mean.interval[1]:
        remarks.append(
            "The interval of the mean effect holds 0: p says that at least one experiment has an effect, and the "
            "interval rests on how the effects of the experiments differ."
        )
    ways = {"increase": "higher", "decrease": "lower"}
    better = {
        way: ", ".join(case.title for case in counted if case.test.better == declared) for declared, way in ways.items()
    }
    if all(better.values()):
        remarks.append(f"Higher is better in {better['higher']}, lower in {better['lower']}.")
    learners = {member.protocol.protocol_id: member.protocol.learner for member in extract.protocols}
    different = len({learners[case.test.protocol_id] for case in counted})
    if different < len(counted):
        remarks.append(
            f"The {len(counted)} experiments are of {different} learner{'s' if different > 1 else ''}; the mean effect "
            "takes experiments for independent."
        )
    return remarks


def _table(counted: Sequence[_CountedTest]) -> JsonValue:
    return jsonable(
        [
            {
                "protocol": case.title,
                "record": case.test.sha256,
                "standing": case.test.standing,
                "interventions": case.test.interventions,
                "verdict": case.test.verdict,
                "p": case.test.p,
                "p_benefit": case.p_benefit,
                "p_harm": case.p_harm,
                "effect": case.effect,
                "se": case.error,
            }
            for case in counted
        ]
    )


def _pictures(
    extract: CombinedExtract,
    with_effect: Sequence[_CountedTest],
    mean: RandomEffects | None,
    verdict: Verdict,
    compliance: str,
) -> dict[str, Callable[[], bytes]]:
    if mean is None:
        return {}
    rows = [
        ForestRow(case.title, case.effect or 0.0, case.error or 0.0, weight)
        for case, weight in zip(with_effect, mean.weights, strict=True)
    ]
    title = f"{extract.title}: {verdict.state}, {compliance}"
    unit = f"standardized difference, positive is better ({extract.outcome})"
    return {"forest.png": partial(draw_forest, rows, mean, unit=unit, title=title)}


def _methods(parameters: CombinedParameters, counted: Sequence[_CountedTest], mean: RandomEffects | None) -> str:
    """The methods paragraph."""
    records = ", ".join(f"{case.title} (record {case.test.sha256[:_HASH_DIGITS]})" for case in counted)
    opening = (
        f"The {_STANDINGS[parameters.include]} randomization tests of {len(counted)} experiments were combined: "
        f"{records or 'none'}. Other analyses were left out. "
        "The one-sided p values towards what each plan calls better were combined by "
        f"{_METHOD_NAMES[parameters.method]}, and the other way likewise; p is twice the smaller one, "
        f"at a level of {parameters.alpha:g}. p values of "
        "randomization tests are discrete, which makes the combined p too large, if anything."
    )
    if mean is None:
        return opening
    return (
        f"{opening} The effect of an experiment is the mean of its pooled standardized differences from each baseline "
        "to the treatment after it; its standard error takes the days for independent. The mean of the effects is that "
        "of a random effects model, with Paule and Mandel's estimate of the spread between experiments, Hartung and "
        "Knapp's interval, never narrower than without their correction, and a prediction interval for the true effect "
        "of a new experiment. Effects are in standard deviations within learners, not between them."
    )
