"""What is said beside the verdict: two interventions, missing days, trends, level, appraisal, formulas, days."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from americano_pipelines.analysis.abab import analyse_abab
from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.extract import Extract
from americano_pipelines.analysis.html_report import render_report
from americano_pipelines.analysis.interrupted_time_series import analyse_change_points, analyse_segmented
from americano_pipelines.analysis.parameters import AbabParameters, ChangePointParameters, SegmentedParameters
from americano_pipelines.analysis.preregistration import resolve
from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.analysis.result import Analysis
from americano_pipelines.errors import AnalysisError
from americano_pipelines.statistics.day_clock import DAY_US
from americano_pipelines_tests.analysis.examples import (
    LATER,
    ONE,
    ORIGIN,
    alternating,
    changed,
    extract_of,
    planned,
    switching,
)

LENGTHS = (13, 15, 13, 15)
TREATED = np.repeat([0, 1, 0, 1], LENGTHS)


def analysed(extract: Extract, **parameters: object) -> Analysis:
    validated = AbabParameters.model_validate({"direction": "increase", "improvement": "increase", **parameters})
    return analyse_abab(observe(extract), validated, as_of_us=LATER, compliance="planned")


def daily(values: np.ndarray, bounds: tuple[int, int] = (7, 21)) -> Extract:
    """A protocol of 56 days; a day without a value has no events."""
    extract = switching(LENGTHS, (0, 0, 0, 0), np.repeat(values, 4).tolist(), bounds)
    kept = [place for place, value in enumerate(extract.values) if value is not None and not np.isnan(value)]
    return extract.model_copy(
        update={name: [getattr(extract, name)[place] for place in kept] for name in ("times_us", "values", "labels")}
    )


def noise(effect: float, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=56) + effect * TREATED


def test_two_interventions_are_not_pooled() -> None:
    """+12 under one and -6 under the other were +3 under "treatment"."""
    values = noise(0) + np.repeat([0, 12, 0, -6], LENGTHS)
    extract = changed(daily(values), 3, type="INTERVENTION_B")

    analysis = analysed(extract)

    assert analysis.verdict == "no verdict"
    assert analysis.sentence.startswith(
        "No verdict: INTERVENTION_A and INTERVENTION_B are different treatments, and are not pooled"
    )
    first, second = analysis.results["effects"]["differences from baseline"].values()  # type: ignore[index, union-attr, call-overload]
    assert first == pytest.approx(12, abs=0.6)
    assert second == pytest.approx(-6, abs=0.6)
    assert f"INTERVENTION_A {first:+.2f}, INTERVENTION_B {second:+.2f}" in analysis.sentence
    assert [phase["type"] for phase in analysis.results["phases"]] == [  # type: ignore[index, union-attr, call-overload]
        "BASELINE", "INTERVENTION_A", "BASELINE", "INTERVENTION_B",
    ]  # fmt: skip
    numbers = {name for name, value in analysis.numbers.items() if value is not None}
    assert numbers == set()
    assert set(analysis.results["effects"]["combined"].values()) == {None}  # type: ignore[index, union-attr, call-overload]

    assert analysed(daily(noise(2))).verdict == "benefit"


CONTRASTS = [["INTERVENTION_A", "BASELINE"], ["INTERVENTION_B", "WITHDRAWAL"]]


def test_declared_contrasts_are_judged_one_by_one() -> None:
    values = noise(0) + np.repeat([0, 12, 0, 6], LENGTHS)
    extract = changed(daily(values), 3, type="INTERVENTION_B")

    analysis = analysed(extract, contrasts=CONTRASTS)

    assert analysis.verdict == "benefit"
    assert analysis.sentence.startswith("Benefit: INTERVENTION_A days differed from baseline days by +12.")
    # B follows one phase only: 15 assignments, so no p can be at the level.
    numbers = "difference +6.26, p .067, by Holm .067"
    assert f" INTERVENTION_B against BASELINE: no verdict ({numbers}): too few assignments." in analysis.sentence
    first, second = analysis.results["contrasts"]  # type: ignore[misc]
    assert (first["contrast"], first["primary"], first["p by Holm"]) == (  # type: ignore[index, call-overload]
        "INTERVENTION_A-BASELINE", True, pytest.approx(2 * first["p"]),  # type: ignore[index, call-overload, operator]
    )  # fmt: skip
    assert second["test"]["assignments"] == 15  # type: ignore[index, call-overload]
    assert second["verdict"]["why"] == "too few assignments"  # type: ignore[index, call-overload]
    assert "p corrected for 2 contrasts by Holm's method" in analysis.methods
    assert "contrasts, p by Holm" in str(analysis.results["formulas"])

    absent = analysed(daily(noise(2)), contrasts=CONTRASTS[1:])
    assert "INTERVENTION_B against BASELINE cannot be compared: no phase is INTERVENTION_B" in absent.sentence
    beside = analysed(daily(values), contrasts=CONTRASTS)
    assert "INTERVENTION_B against BASELINE: no verdict (INTERVENTION_B against BASELINE cannot be" in beside.sentence
    alone = analysed(daily(noise(2)), contrasts=CONTRASTS[:1])
    assert alone.results == analysed(daily(noise(2))).results


def test_a_further_contrast_that_missing_days_decide_gets_no_verdict() -> None:
    """The days of B that are left are its highest, and nothing has an effect."""
    rejections = 0
    for seed in range(12):
        values = np.random.default_rng(seed).normal(size=56)
        by_value = sorted(range(41, 56), key=lambda day: values[day])
        values[by_value[:7]] = np.nan
        extract = changed(daily(values, (4, 30)), 3, type="INTERVENTION_B")

        analysis = analysed(extract, contrasts=CONTRASTS, alpha=0.2)

        second = analysis.results["contrasts"][1]  # type: ignore[index, call-overload]
        judged = second["verdict"]["state"]  # type: ignore[index, call-overload]
        rejections += second["p"] <= 0.1  # type: ignore[index, call-overload, operator]
        assert judged in {"no verdict", "not shown"}, analysis.sentence
        if second["p by Holm"] <= 0.2:  # type: ignore[index, call-overload, operator]
            assert "): the conditions lack values on unequal shares of their days" in analysis.sentence
    assert rejections >= 3, "the test alone finds what is not there"


@pytest.mark.parametrize(
    "contrasts",
    [
        "INTERVENTION_A",
        "A-B-C",
        [["A"]],
        7,
        "BASELINE-A",
        "A-A",
        "A-BASELINE, A-WITHDRAWAL",
        [["A-B", "BASELINE"]],
        [["A, B", "BASELINE"]],
    ],
)
def test_what_are_no_contrasts_is_refused(contrasts: object) -> None:
    with pytest.raises(ValueError, match="contrasts"):
        AbabParameters.model_validate({"contrasts": contrasts})


def test_contrasts_and_statistic_are_recorded_where_they_are_set() -> None:
    assert AbabParameters().recorded().keys().isdisjoint({"contrasts", "statistic"})
    stated = planned(daily(noise(0)), contrasts=CONTRASTS, statistic="median")
    parameters = resolve(KINDS["abab_randomization"], {}, stated).recorded()
    assert parameters["contrasts"] == "INTERVENTION_A-BASELINE, INTERVENTION_B-BASELINE"
    assert parameters["statistic"] == "median"
    assert AbabParameters.model_validate(parameters).recorded() == parameters


def test_two_interventions_of_an_alternation_are_not_pooled() -> None:
    extract = alternating(
        "BTBTBTBT", [1.0, 5, 1, -3, 1, 5, 1, -3], {"scheme": "days", "treatedDays": 1, "blockDays": 2}
    )
    for index in (3, 7):
        extract = changed(extract, index, type="INTERVENTION_B")

    analysis = analysed(extract)

    assert analysis.verdict == "no verdict"
    assert "INTERVENTION_A +4.00, INTERVENTION_B -4.00" in analysis.sentence
    assert "no drawing is recorded" not in analysis.sentence
    assert analysis.numbers["mean_difference"] is None


def test_the_second_intervention_is_not_called_incomplete_by_its_condition() -> None:
    extract = changed(changed(daily(noise(0)), 2, type="INTERVENTION_B"), 3, type="WITHDRAWAL")

    assert "its phases are BASELINE, INTERVENTION_A" not in analysed(extract).sentence
    assert "a day that" not in analysed(extract).sentence


def test_missing_treatment_days_withhold_a_verdict_and_are_said() -> None:
    values = noise(0, seed=2)
    lowest = np.flatnonzero(TREATED)[np.argsort(values[TREATED == 1])[:12]]
    gone = values.copy()
    gone[lowest] = np.nan

    whole, missing = analysed(daily(values)), analysed(daily(gone))

    assert whole.verdict == "not shown"
    assert missing.numbers["p"] is not None
    assert missing.numbers["p"] <= 0.05
    assert missing.verdict == "no verdict"
    assert missing.sentence.startswith(
        "No verdict: the conditions lack values on unequal shares of their days, and with the worst values on them p "
    )
    assert "; 12 of 30 treatment days and 0 of 26 baseline days have no value (difference p = " in missing.sentence
    strict = analysed(daily(gone), alpha=0.004)
    assert strict.verdict == "not shown"
    assert "; 12 of 30 treatment days" in strict.sentence
    assert "The design does not meet the standards: 12 of 30 treatment days" in missing.sentence
    days = missing.results["missing days"]
    assert days["shares differ"] is True  # type: ignore[index, call-overload]
    assert days["worst_case_p"] == missing.numbers["worst_case_p"] > 0.05  # type: ignore[index, operator, call-overload]


def test_missing_days_that_change_nothing_are_said_too() -> None:
    values = noise(4)
    values[[2, 20, 41]] = np.nan

    analysis = analysed(daily(values))

    assert analysis.verdict == "benefit"
    assert "; 2 of 30 treatment days and 1 of 26 baseline days have no value (difference p = " in analysis.sentence
    days = analysis.results["missing days"]
    assert days["worst_case_p"] < days["worst_case_bound"] < 0.05  # type: ignore[index, operator, call-overload]
    assert "; with the worst values on them p is at least .023 and at most .029)" in analysis.sentence
    assert "have no value" not in analysed(daily(noise(4))).sentence


def test_a_trend_is_said_where_the_phases_show_one_and_only_there() -> None:
    plain, steep = analysed(daily(noise(3))), analysed(daily(noise(3) + 0.3 * np.arange(56)))

    assert "within phases" not in plain.sentence
    trend = steep.results["dependence"]["trend within phases"]  # type: ignore[index, call-overload]
    part = trend["part of the difference"]  # type: ignore[index, call-overload]
    assert part == pytest.approx(trend["slope"] * 14, rel=0.1)  # type: ignore[index, operator, call-overload]
    slope = trend["slope"]  # type: ignore[index, call-overload]
    assert f"; within phases the outcome rises by {slope:.3f} a day, which makes" in steep.sentence
    assert f"which makes {part:+.2f} of this difference" in steep.sentence


def test_the_level_and_the_appraisal_are_said_where_they_are_unusual() -> None:
    extract = daily(noise(3))
    noted = extract.protocol.model_copy(update={"deviations": ["a day late", "ill"]})

    usual, strict = analysed(extract), analysed(extract.model_copy(update={"protocol": noted}), alpha=0.01)

    assert "level" not in usual.sentence
    assert "standards" not in usual.sentence
    assert "one-sided, increase, level .010)" in strict.sentence
    assert strict.sentence.endswith(
        "The design meets the standards with reservations: lengths as planned, 2 deviations noted."
    )


def test_small_outcomes_keep_their_digits() -> None:
    analysis = analysed(daily(0.001 * noise(4)))
    lines = analyse_segmented(observe(daily(0.001 * noise(4))), SegmentedParameters())

    assert "+0.00 " not in analysis.sentence
    assert "by +0.00" in analysis.sentence
    assert f"by {analysis.numbers['observed']:+.5f} (" in analysis.sentence
    assert f"changed by {lines.numbers['level_change']:+.5f} (" in lines.sentence


def test_bounds_of_some_phases_only_name_the_others() -> None:
    extract = daily(noise(3))
    for index in (1, 3):
        extract = changed(extract, index, parameters={"randomization": {"minDays": 7}})

    analysis = analysed(extract)

    missing = ", ".join(str(extract.phases[index].label) for index in (1, 3))
    assert f"no drawing is recorded of {missing}: minDays and maxDays are missing there" in analysis.sentence
    assert analysis.verdict == "no verdict"


def test_bounds_of_7_0_days_are_7_days_and_7_5_are_none() -> None:
    whole, point, half = (daily(noise(3)) for _ in range(3))
    for index in range(4):
        point = changed(point, index, parameters={"randomization": {"minDays": 7.0, "maxDays": 21.0}})
        half = changed(half, index, parameters={"randomization": {"minDays": 7.5, "maxDays": 21}})

    assert analysed(point).results == analysed(whole).results
    assert "a number of whole days is needed (minDays of B0 is 7.5, minDays of T1 is 7.5" in analysed(half).sentence


@pytest.mark.parametrize(
    ("bounds", "named"),
    [
        ({"minDays": "7", "maxDays": 21}, "minDays of T1 is '7'"),
        ({"minDays": True, "maxDays": "21 days"}, "minDays of T1 is True and maxDays of T1 is '21 days'"),
        ({"minDays": 7, "maxDays": 1e300}, "maxDays of T1 is 1e+300"),
        ({"minDays": 7, "maxDays": [21]}, "maxDays of T1 is [21]"),
    ],
)
def test_bounds_that_are_no_whole_days_are_named(bounds: dict[str, object], named: str) -> None:
    analysis = analysed(changed(daily(noise(3)), 1, parameters={"randomization": bounds}))

    assert analysis.verdict == "no verdict"
    assert f"the recorded drawing is not understood: a number of whole days is needed ({named})" in analysis.sentence


def test_a_scheme_of_days_that_is_no_number_of_days_is_named() -> None:
    scheme = {"scheme": "days", "treatedDays": "1", "blockDays": 2.5}
    analysis = analysed(alternating("BTBTBTBT", [1.0, 5, 1, 3, 1, 5, 1, 3], scheme))

    assert analysis.verdict == "no verdict"
    assert "treatedDays of B0 is '1' and blockDays of B0 is 2.5" in analysis.sentence


@pytest.mark.parametrize("alpha", [5, "5 %", 0, -0.05, float("nan")])
def test_a_level_that_is_none_is_refused_and_named(alpha: object) -> None:
    with pytest.raises(AnalysisError, match=r"alpha of the plan \(interventionParams.analysis\): Input should be"):
        resolve(KINDS["abab_randomization"], {}, planned(daily(noise(3)), alpha=alpha))


def test_a_level_next_to_the_usual_one_is_named_with_all_its_digits() -> None:
    usual, next_to_it = (analysed(daily(noise(3)), alpha=alpha).sentence for alpha in (0.05, 0.0500001))

    assert "level" not in usual
    assert "two-sided 94.99999% interval" in next_to_it
    assert ", level .0500001)" in next_to_it


def test_more_draws_can_be_asked_for() -> None:
    lengths = (80, 82, 84, 84)
    values = np.random.default_rng(4).normal(size=330) + np.repeat([0, 0.3, 0, 0.3], lengths)
    extract = switching(lengths, (0, 0, 0, 0), np.repeat(values, 4).tolist(), (1, 330))

    few, many = (analysed(extract, draws=draws) for draws in (999, 20_000))

    assert [analysis.results["test"]["draws"] for analysis in (few, many)] == [999, 20_000]  # type: ignore[index, call-overload]
    assert "of 20,000 drawn from 5,881,204 possible assignments" in many.sentence


def test_every_number_has_its_formula_in_results_and_report() -> None:
    extract = extract_of(ONE)
    analyses = [
        analysed(extract, ratio_scale=True),
        analyse_segmented(observe(extract), SegmentedParameters()),
        analyse_change_points(observe(extract), ChangePointParameters()),
    ]

    for analysis in analyses:
        formulas = analysis.results["formulas"]
        assert all(entry["formula"] and entry["source"] for entry in formulas)  # type: ignore[index, union-attr, call-overload]
        page = render_report(analysis, "t", compliance="c", parameters={}, provenance={})
        assert "<h2>Formulas</h2>" in page
        assert "<h2>Days</h2>" in page
    named = {entry["number"]: entry for entry in analyses[0].results["formulas"]}  # type: ignore[index, union-attr, call-overload]
    pair = analyses[0].results["effects"]["pairs"][0]  # type: ignore[index, call-overload]
    for name, value in pair.items():  # type: ignore[union-attr]
        if isinstance(value, float):
            assert name in named
        elif isinstance(value, dict):
            assert {f"{name}.{part}" for part in value} <= named.keys()
    assert named["p"]["formula"].startswith("assignments with a statistic at least as high")
    assert "SingleCaseES multiplies this error by J as well. Not here" in named["smd_pooled.se"]["note"]
    two_sided = analysed(extract, direction="either").results["formulas"]
    assert any(entry["formula"].startswith("min(1, 2 min(p_higher, p_lower))") for entry in two_sided)  # type: ignore[index, union-attr, call-overload]


def test_days_and_time_zone_are_stated() -> None:
    plain = extract_of(ONE)
    utc = analysed(plain)

    assert utc.results["days"] == {
        "a day begins at": "00:00",
        "time zone": "UTC",
        "time zone from": "the default of AMERICANO_TIME_ZONE",
        "first day": "2025-10-06",
        "days that have not 24 hours": [],
    }
    assert "The two-sided 95% interval of the effect holds" in utc.methods
    page = render_report(utc, "t", compliance="c", parameters={}, provenance={})
    assert "<th>days that have not 24 hours</th><td>none</td>" in page
    assert "a day beginning at 00:00 in the time zone UTC (the default of AMERICANO_TIME_ZONE)" in utc.methods


def test_the_learners_own_days_are_used_where_clocks_change() -> None:
    """The clocks went back on 26 October 2025: that day has 25 hours, and later events belong to another day in UTC."""
    zone = ZoneInfo("Europe/Berlin")
    extract = daily(noise(4))
    begin = datetime(2025, 10, 6, tzinfo=zone)

    def local(days: float) -> int:
        day, rest = divmod(days, 1)
        start = datetime(2025, 10, 6).toordinal() + int(day)  # noqa: DTZ001 - a date
        midnight = datetime.fromordinal(start).replace(tzinfo=zone)
        return round(midnight.timestamp() * 1e6 + rest * DAY_US)

    phases = [
        phase.model_copy(
            update={
                "starts_us": local((phase.starts_us - ORIGIN) / DAY_US),
                "ends_us": None if phase.ends_us is None else local((phase.ends_us - ORIGIN) / DAY_US),
            }
        )
        for phase in extract.phases
    ]
    at_home = extract.model_copy(
        update={
            "phases": phases,
            "times_us": [local((time - ORIGIN) / DAY_US) for time in extract.times_us],
            "time_zone": "Europe/Berlin",
            "time_zone_from": "stated by the protocol",
        }
    )

    analysis, plain = analysed(at_home), analysed(extract)

    assert phases[0].starts_us == round(begin.timestamp() * 1e6)
    assert (analysis.verdict, analysis.numbers) == (plain.verdict, plain.numbers)
    assert analysis.results["days"]["days that have not 24 hours"] == [{"day": 20, "hours": 25.0}]  # type: ignore[index, call-overload]
    assert "1 of them with 23 or 25 hours, because the clocks changed" in analysis.methods
    in_utc = analysed(at_home.model_copy(update={"time_zone": None}))
    assert plain.counts["days left out, a phase switches"] == 0
    assert in_utc.counts["days left out, a phase switches"] > 0, "phases after the change begin within a day in UTC"


def with_criteria(values: np.ndarray) -> Extract:
    """A changing criterion of 2, 4 and 6 after a baseline."""
    extract = daily(values)
    protocol = extract.protocol.model_copy(update={"design": "CHANGING_CRITERION"})
    extract = extract.model_copy(update={"protocol": protocol})
    for place, criterion in ((1, 2), (2, 4), (3, 6)):
        parameters = {**(extract.phases[place].parameters or {}), "criterion": criterion}
        extract = changed(extract, place, parameters=parameters, type="INTERVENTION_A")
    return extract


def test_a_criterion_not_followed_or_with_missing_days_gets_no_verdict() -> None:
    values = np.repeat([0.0, 2.0, 4.0, 6.0], LENGTHS)
    assert analysed(with_criteria(values)).verdict == "benefit"

    away = analysed(with_criteria(np.repeat([12.0, 2.0, 4.0, 6.0], LENGTHS)))
    assert away.verdict == "no verdict"
    assert "from the first phase to the last the outcome does not increase as the criteria do" in away.sentence
    values[20] = np.nan
    missing = analysed(with_criteria(values))
    assert missing.verdict == "no verdict"
    assert "1 of 56 days have no value, and missing days cannot be compared with criteria" in missing.sentence


def test_a_changing_criterion_is_tested_where_its_switches_were_drawn() -> None:
    values = np.repeat([0.0, 2.0, 4.0, 6.0], LENGTHS)
    values[18:23] += 1.5
    extract = with_criteria(values)

    analysis = analysed(extract, band=0.5)

    assert analysis.sentence.startswith(
        "Benefit: the days lay 0.174 from the criterion in force on average; of 2,255 assignments that could have been "
        "drawn, 7 give a distance at least as small (p = .003, one-sided)."
    )
    assert analysis.results["criteria"][0] == {  # type: ignore[index, call-overload]
        "phase": "T1", "criterion": 2.0, "days with a value": 15, "mean distance": pytest.approx(0.5), "band": 0.5,
        "share within the band": pytest.approx(10 / 15),
    }  # fmt: skip
    assert "Whether the outcome follows the criteria was tested" in analysis.methods
    assert analysed(extract, improvement="decrease").verdict == "harm"
    assert "criteria" not in analysed(daily(noise(2))).results

    not_drawn = extract
    for place in range(4):
        not_drawn = changed(not_drawn, place, parameters={"criterion": 2 * place})
    described = analysed(not_drawn)
    assert described.verdict == "no verdict"
    assert "its criteria are steps that nothing was drawn for" in described.sentence
    assert len(described.results["criteria"]) == 4  # type: ignore[arg-type]
    for wrong in ("4", True, [4, 6], {"score": 4}):
        words = changed(extract, 2, parameters={**(extract.phases[2].parameters or {}), "criterion": wrong})
        assert (
            f"the recorded criteria are not understood: a number is needed (B2: {wrong!r})" in analysed(words).sentence
        )
    back = changed(extract, 3, parameters={**(extract.phases[3].parameters or {}), "criterion": 2})
    assert "following them leads no way" in analysed(back).sentence


def test_two_treatments_under_criteria_are_not_pooled() -> None:
    extract = changed(with_criteria(np.repeat([0.0, 2.0, 4.0, 6.0], LENGTHS)), 3, type="INTERVENTION_B")

    plain, declared = analysed(extract), analysed(extract, contrasts=[["INTERVENTION_B", "INTERVENTION_A"]])
    assert declared.results["appraisal"] == plain.results["appraisal"]
    for analysis in (plain, declared):
        assert analysis.verdict == "no verdict"
        assert "INTERVENTION_A and INTERVENTION_B are different treatments, and are not pooled" in analysis.sentence
        # Each switch of criteria counts, whatever is declared.
        assert analysis.results["appraisal"]["points"][0]["found"] == (  # type: ignore[index, call-overload]
            "3 switches between criteria, 3 are needed"
        )
