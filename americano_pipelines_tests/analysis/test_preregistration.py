"""What was laid down, and whether a run is that: every way of not being it is named."""

from typing import Any

import pytest

from americano_pipelines.analysis.app_types import app_type, requested
from americano_pipelines.analysis.extract import Extract, Phase, Protocol
from americano_pipelines.analysis.plan_compliance import PlanCompliance, PriorRun, PriorRuns, assess_compliance
from americano_pipelines.analysis.preregistration import parse, plan_of, resolve
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.errors import AnalysisError

ABAB = KINDS["abab_randomization"]
PLAN = {"type": "ABAB_RANDOMIZATION", "direction": "decrease", "alpha": 0.01}
END_US = 1_780_000_000_000_000


def extract(plans: list[Any], outcome: str = "score", primary: str | None = "score") -> Extract:
    """An extract whose phases record these plans."""
    return Extract(
        outcome=outcome,
        protocol=Protocol(
            protocol_id="p", learner="learner-1", name=None, design="ABAB", primary_outcome=primary, starts_us=0,
            ends_us=None, plan="text for people", deviations=None,
        ),
        phases=[
            Phase(
                phase_id=str(index), label=str(index), type="BASELINE", starts_us=index, ends_us=None, planned_days=1,
                parameters=None if plan is None else {"analysis": plan}, seed=None,
            )
            for index, plan in enumerate(plans)
        ],
        times_us=[],
        values=[],
        labels=[],
    )  # fmt: skip


def compliance(
    analysed: Extract, *earlier: PriorRun, ended: bool = True, kind: str = ABAB.name, **overrides: Any
) -> PlanCompliance:
    requested, as_of_us = KINDS[kind], END_US if ended else END_US - 1
    parameters, prior_runs = resolve(requested, overrides, analysed), PriorRuns(earlier)
    return assess_compliance(requested, parameters, analysed, as_of_us=as_of_us, ends_us=END_US, prior_runs=prior_runs)


def test_the_plan_stands_in_for_what_is_not_asked() -> None:
    resolved = resolve(ABAB, {}, extract([PLAN, PLAN])).model_dump()

    assert (resolved["direction"], resolved["alpha"], resolved["outcome"]) == ("decrease", 0.01, "score")
    assert resolve(ABAB, {"alpha": 0.1}, extract([PLAN, PLAN])).model_dump()["alpha"] == 0.1
    assert resolve(ABAB, {}, extract([None])).model_dump()["direction"] == "either"


def test_as_planned_it_is_planned() -> None:
    assert compliance(extract([PLAN, PLAN])) == PlanCompliance(
        planned=True, reasons=(), earlier_runs=0, unrecorded_runs=0, plan_over=True
    )
    assert compliance(extract([PLAN]), direction="decrease").planned


@pytest.mark.parametrize(
    ("plans", "reason"),
    [
        ([None, None], "its phases record no plan of an analysis"),
        ([PLAN, None], "its phases record no plan in 1"),
        ([PLAN, {**PLAN, "alpha": 0.05}], "its phases record different plans"),
        (["a test", "a test"], "its plan is not understood, for it is no JSON object (0: 'a test', 1: 'a test')"),
    ],
)
def test_a_plan_that_not_all_phases_record_alike_is_none(plans: list[Any], reason: str) -> None:
    assert plan_of(extract(plans)) is None
    assert compliance(extract(plans)).reasons == (reason,)


def test_other_parameters_outcome_or_kind_are_named() -> None:
    assert compliance(extract([PLAN]), alpha=0.05).reasons == ("alpha is 0.05, 0.01 was planned",)
    assert compliance(extract([PLAN], outcome="other")).reasons == ("the outcome is other, the primary one is score",)
    assert compliance(extract([PLAN], primary=None)).reasons == ("the outcome is score, the primary one is not stated",)
    assert compliance(extract([PLAN]), kind="change_points").reasons == ("what was planned is the randomization test",)
    unknown = {"type": "SYNTHETIC_CONTROL"}
    assert compliance(extract([unknown])).reasons == ("what was planned is 'SYNTHETIC_CONTROL'",)


def test_a_planned_outcome_and_bounds_that_nobody_drew_from_count_too() -> None:
    other = extract([{**PLAN, "outcome": "hours"}])
    assert compliance(other).reasons == ("the outcome is score, 'hours' was planned",)
    bounds = extract([{**PLAN, "min_days": 7, "max_days": 21}])
    assert compliance(bounds).reasons == ("bounds of the phases were given, not recorded as what was drawn from",)


def test_before_the_end_nothing_is_planned() -> None:
    early = compliance(extract([PLAN]), ended=False)
    assert early.reasons == ("the plan is not over before 2026-05-28",)
    assert not early.plan_over


def test_only_the_same_question_after_the_end_takes_the_place_of_the_first() -> None:
    before, other_kind = PriorRun(ABAB.name, "score", END_US - 1), PriorRun("change_points", "score", END_US)
    other_outcome = PriorRun(ABAB.name, "hours", END_US)
    assessed = compliance(extract([PLAN]), before, other_kind, other_outcome)

    assert (assessed.planned, assessed.earlier_runs) == (True, 3)
    assert assessed.sentence.endswith("3 analyses of this protocol came before it.")
    again = compliance(extract([PLAN]), PriorRun(ABAB.name, "score", END_US))
    assert again.reasons == ("it is not the first of its kind after the end",)
    assert compliance(extract([PLAN]), PriorRun(ABAB.name, "score", None)).reasons == again.reasons
    assert again.sentence.endswith("1 analysis of this protocol came before it.")
    # On the data of all phases, although the protocol's end was later then, or was moved since.
    after_phases = assess_compliance(
        ABAB,
        resolve(ABAB, {}, extract([PLAN])),
        extract([PLAN]),
        as_of_us=END_US,
        ends_us=END_US,
        data_end_us=END_US - 10,
        prior_runs=PriorRuns((PriorRun(ABAB.name, "score", END_US - 5),)),
    )
    assert after_phases.reasons == again.reasons


def test_ends_without_record_and_changed_records_are_named() -> None:
    analysed, requested = extract([PLAN]), resolve(ABAB, {}, extract([PLAN]))
    cut_off = assess_compliance(
        ABAB, requested, analysed, as_of_us=END_US, ends_us=END_US, prior_runs=PriorRuns(unrecorded=2)
    )
    assert cut_off.planned
    assert cut_off.sentence.endswith("came before it, 2 further runs failed before they were recorded.")
    changed = assess_compliance(
        ABAB, requested, analysed, as_of_us=END_US, ends_us=END_US, prior_runs=PriorRuns(changed_records=1)
    )
    assert changed.reasons == ("1 record in the archive was changed, and may be of an earlier run",)


def test_a_plan_that_is_not_valid_is_told_and_does_not_pass_for_one() -> None:
    bad = extract([{**PLAN, "alpha": 7}])

    with pytest.raises(AnalysisError, match="alpha"):
        resolve(ABAB, {}, bad)
    assert "the plan itself is not valid" in compliance(bad, alpha=0.05).reasons[0]


def test_what_is_wrong_with_the_plan_is_told_apart_from_what_was_asked() -> None:
    unknown = extract([{**PLAN, "alhpa": 0.05}])

    with pytest.raises(AnalysisError, match=r"alhpa of the plan \(interventionParams.analysis\): Extra inputs"):
        resolve(ABAB, {}, unknown)
    with pytest.raises(AnalysisError, match=r"randomization: alpha: .*; alhpa of the plan"):
        resolve(ABAB, {"alpha": 7}, unknown)
    with pytest.raises(AnalysisError, match="randomization: alpha: "):
        resolve(ABAB, {"alpha": 7}, extract([PLAN]))


def test_parameters_are_refused_by_name() -> None:
    with pytest.raises(AnalysisError, match="parameters of abab_randomization: alhpa: "):
        parse(ABAB, {"alhpa": 0.05})


def test_what_the_app_asks_for_and_how_it_is_called_are_the_same() -> None:
    its = KINDS["interrupted_time_series"]
    assert requested("BAYESIAN_ITS") == (its.name, {"method": "bayesian"})
    assert app_type(its.name, parse(its, {"method": "bayesian"})) == "BAYESIAN_ITS"
    assert app_type(its.name, parse(its, {})) is None
    assert app_type(ABAB.name, parse(ABAB, {})) == "ABAB_RANDOMIZATION"
    assert requested("GRANGER_CAUSALITY") is None


def test_more_draws_and_other_words_for_a_direction_are_as_planned() -> None:
    assert compliance(extract([PLAN]), draws=200_000).planned
    worded = extract([{"type": "ABAB_RANDOMIZATION", "alternative": "less", "lowerIsBetter": True, "alpha": 0.01}])
    assert compliance(worded).planned
    assert compliance(worded, direction="decrease", improvement="decrease").planned
    assert compliance(worded, improvement="increase").reasons == ("improvement is 'increase', 'decrease' was planned",)
