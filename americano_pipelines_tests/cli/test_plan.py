"""`americano plan`: a schedule to record, the power of its test, what a protocol lacks."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines_tests.conftest import Database, Done

Cli = Callable[..., Done]
ABAB = ("--design", "ABAB", "--days", "28", "--min", "4", "--max", "12")
ABAC = ("--design", "ABAC", "--days", "40", "--min", "4", "--max", "16")
PAIRS = ("--contrast", "INTERVENTION_A-BASELINE", "--contrast", "INTERVENTION_B-BASELINE")
DAYS = ("--design", "ALTERNATING", "--days", "12", "--treated", "1", "--block", "2")


def test_a_draw_can_be_repeated_and_is_complete(cli: Cli) -> None:
    first, again = (cli("plan", "draw", *ABAB, "--seed", "5", "--start", "2027-01-04", "--json") for _ in range(2))

    assert first.code == 0
    assert first.json == again.json
    assert sum(phase["days"] for phase in first.json["phases"]) == 28
    assert first.json["phases"][0]["starts"] == "2027-01-04"
    assert first.json["smallest_p"] == 2 / first.json["assignments"]
    assert first.json["interventionParams"] == {
        "randomization": {"minDays": 4, "maxDays": 12},
        "analysis": {"type": "ABAB_RANDOMIZATION", "direction": "either", "alpha": 0.05},
        "seed": 5,
    }
    shown = cli("plan", "draw", *DAYS, "--improvement", "increase")
    assert shown.code == 0
    assert '"improvement": "increase"' in shown.out
    assert "the smallest p is 0.031" in shown.out


def test_two_interventions_are_drawn_and_simulated_with_their_contrasts(cli: Cli) -> None:
    as_json = cli("plan", "draw", *ABAC, *PAIRS, "--seed", "5", "--json").json
    shown = cli("plan", "draw", *ABAC, *PAIRS, "--seed", "5")
    few = ("--simulations", "100", "--autocorrelation", "0", "--effect", "4")
    power = cli("plan", "power", *ABAC, *PAIRS, *few)

    assert [phase["type"] for phase in as_json["phases"]] == [
        "BASELINE", "INTERVENTION_A", "BASELINE", "INTERVENTION_B",
    ]  # fmt: skip
    assert as_json["recorded_as"] == "ABAB"
    assert as_json["interventionParams"]["analysis"]["contrasts"] == [
        ["INTERVENTION_A", "BASELINE"], ["INTERVENTION_B", "BASELINE"],
    ]  # fmt: skip
    assert [reach["contrast"] for reach in as_json["contrasts"]] == [*PAIRS[1::2]]
    assert as_json["smallest_p"] == 2 / as_json["contrasts"][0]["assignments"] > 2 / as_json["assignments"]
    assert "INTERVENTION_B-BASELINE cannot show an effect. Choose more days or wider bounds." in shown.out
    assert "Record it in the app as a design ABAB." in shown.out
    assert power.code == 0, power.err
    assert "INTERVENTION_A against BASELINE; two-sided" in power.out
    assert "INTERVENTION_B against BASELINE; two-sided" in power.out


def test_the_cases_of_a_group_are_drawn_together(cli: Cli) -> None:
    group = ("plan", "group", "--group", "notes", "--days", "24", "--cases", "3", "--min", "4", "--max", "20")
    drawn = cli(
        *group, "--distance", "3", "--seed", "5", "--start", "2027-01-04", "--improvement", "increase", "--json"
    )
    few = cli("plan", "group", "--group", "[b]", "--days", "24", "--window", "7", "--window", "10-12", "--window", "14")

    assert drawn.code == 0, drawn.err
    assert drawn.json["smallest_p"] == 2 / drawn.json["assignments"]
    assert [sum(phase["days"] for phase in case["phases"]) for case in drawn.json["cases"]] == [24] * 3
    starts = sorted(case["phases"][0]["days"] for case in drawn.json["cases"])
    assert min(later - earlier for earlier, later in pairwise(starts)) >= 3
    assert drawn.json["interventionParams"] == {
        "randomization": {"minDays": 4, "maxDays": 20, "staggerDays": 3},
        "analysis": {
            "type": "MULTIPLE_BASELINE", "group": "notes", "direction": "either", "alpha": 0.05,
            "improvement": "increase",
        },
        "seed": 5,
    }  # fmt: skip
    small = (*group[:-4], "--min", "8", "--max", "16", "--simulations", "100", "--direction", "increase")
    simulated, figures = cli(*small), cli(*small, "--json").json["power"]

    assert simulated.code == 0, simulated.err
    assert "joint test, one-sided, increase, alpha 0.05: share that finds the effect" in simulated.out
    assert "100 simulated groups each" in simulated.out
    assert [figure["autocorrelation"] for figure in figures if figure["effect"] == 2] == [0, 0.3, 0.5]
    assert min(figure["power"] for figure in figures if figure["effect"] == 2) > 0.6
    assert max(figure["low"] for figure in figures if figure["effect"] == 0) <= 0.05
    assert drawn.json["power"] == []
    assert few.code == 0, few.err
    assert "[b]: 3 cases of 24 days" in few.out
    assert "One of 18 joint assignments; the smallest p is 0.11." in few.out
    assert "cannot show an effect. Choose more cases or wider windows." in few.out


def test_another_statistic_is_part_of_the_plan_and_simulated(cli: Cli) -> None:
    few = ("--statistic", "slope", "--simulations", "100", "--autocorrelation", "0")

    draw = cli("plan", "draw", *ABAB, "--statistic", "nap", "--json").json
    shown, as_json = cli("plan", "power", *ABAB, *few), cli("plan", "power", *ABAB, *few, "--json").json

    assert draw["interventionParams"]["analysis"]["statistic"] == "nap"
    assert "effect in SD a day" in shown.out
    assert "slope, two-sided, alpha 0.05" in shown.out
    assert as_json["statistic"] == "slope"
    assert max(figure["effect"] for figure in as_json["power"]) == 0.3


def test_phases_that_record_different_parameters_are_shown_apart(cli: Cli) -> None:
    criteria = ("--design", "CHANGING_CRITERION", "--days", "30", "--min", "4", "--max", "16")
    criteria += ("--criterion", "10", "--criterion", "20", "--seed", "5", "--improvement", "increase")
    pair = ("--contrast", "INTERVENTION_B-INTERVENTION_A")
    part = cli("plan", "draw", "--design", "ALTERNATING", "--days", "20", "--treated", "1", "--block", "2",
               "--before", "6", "--after", "4", *pair, "--seed", "5", "--json").json  # fmt: skip
    shown, as_json = cli("plan", "draw", *criteria), cli("plan", "draw", *criteria, "--json").json

    assert [own["interventionParams"].get("criterion") for own in as_json["phases"]] == [None, 10, 20]
    assert as_json["interventionParams"] is None
    assert as_json["smallest_p"] == 1 / as_json["assignments"], "the test has one side"
    assert "interventionParams of baseline_1:" in shown.out
    assert "interventionParams of intervention_A_2:" in shown.out
    assert (part["phases"][0]["type"], part["phases"][0]["days"]) == ("BASELINE", 6)
    assert (part["phases"][-1]["type"], part["phases"][-1]["days"]) == ("INTERVENTION_B", 4)
    assert part["phases"][1]["interventionParams"]["randomization"]["daysOf"] == {
        "INTERVENTION_B": 1, "INTERVENTION_A": 1,
    }  # fmt: skip
    assert part["assignments"] == 2**5


def test_power_is_shown_with_what_would_be_enough(cli: Cli, tmp_path: Path) -> None:
    few, picture = ("--simulations", "100", "--autocorrelation", "0", "--effect", "0.5"), tmp_path / "power.png"

    shown = cli("plan", "power", *ABAB, *few, "--effect", "3", "--find", "3", "--plot", picture)
    as_json = cli("plan", "power", *ABAB, *few, "--find", "3", "--json")

    assert shown.code == 0, shown.err
    assert "100 simulated experiments each" in shown.out
    assert "28 days with 4-12 days a phase are enough." in shown.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [figure["effect"] for figure in as_json.json["power"]] == [0.5]
    assert {option["days"] for option in as_json.json["options"]} == {28}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("draw", "--design", "ABAB", "--days", "56"), "ABAB needs --min and --max"),
        (("draw", *ABAB, "--treated", "2"), "ABAB needs --min and --max, and no --treated"),
        (("draw", "--design", "ALTERNATING", "--days", "12"), "ALTERNATING needs --treated"),
        (("draw", "--design", "ABAB", "--days", "56", "--min", "7", "--max", "9"), "choose between 28 and 36 days"),
        (("draw", *ABAC), "ABAC has two interventions: declare the contrasts, the primary one first, such as"),
        (("draw", *ABAC, "--contrast", "A"), "--contrast: ['A'] is no pair of conditions"),
        (("draw", *DAYS, *PAIRS), "ALTERNATING compares two conditions, so it has one --contrast"),
        (("draw", *DAYS, "--min", "2"), "ALTERNATING needs --treated, and no --min, --max, --criterion"),
        (("draw", "--design", "CROSSOVER", "--days", "28", "--min", "4", "--max", "12"), "CROSSOVER is no design"),
        (
            ("draw", *DAYS, "--statistic", "slope"),
            "days that alternate are compared by mean, median, nap, not by slope",
        ),
        (("draw", *ABAB, "--seed", "-1"), "the seed -1 is not between 0 and"),
        (("power", *ABAB, "--missing", "1.5"), "missing days 1.5"),
        (("draw", "--design", "multiple_baseline", "--days", "28"), "use `americano plan group`"),
        (("group", "--group", "g", "--days", "24", "--cases", "3"), "needs --cases, --min and --max, or a --window"),
        (("group", "--group", "g", "--days", "24", "--window", "7", "--min", "3"), "leave out --cases, --min, --max"),
        (("group", "--group", "g", "--days", "24", "--window", "a"), "--window: 'a' is no number of days such as 14"),
        (("group", "--group", "g", "--days", "24", "--window", "7-"), "--window: '7-' is no number of days"),
        (("group", "--group", " ", "--days", "24", "--window", "7", "--window", "9"), "the key of a group is empty"),
        (("group", "--group", "g", "--days", "24", "--window", "7"), "at least 2 cases, not 1"),
        (("check", "nothing"), "no protocol matches 'nothing'"),
    ],
)
def test_what_cannot_be_planned_says_why(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    done = cli("plan", *arguments)

    assert done.code != 0
    assert words in done.err


def test_a_check_names_what_a_published_protocol_lacks(
    prisma: Database, publish: Callable[..., None], cli: Cli
) -> None:
    prisma.execute("UPDATE experiment_protocols SET \"protocolName\" = 'Walks before lunch' WHERE id = 'protocol_0'")
    values: dict[str, Any] = prisma.variables()
    publish(**values)

    shown, as_json = cli("plan", "check", "walks", **values), cli("plan", "check", "walks", "--json", **values)

    assert shown.code == as_json.code == 1
    assert "Walks before lunch" in shown.out
    assert "Without the lines marked no there is no planned verdict." in shown.out
    assert not as_json.json["complete"]
    assert {item["what"] for item in as_json.json["items"]} > {"phases", "plan", "randomization"}
