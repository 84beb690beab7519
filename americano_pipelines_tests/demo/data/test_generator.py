"""The generated year: the same each time, with the promised shape and the protocols' truth."""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import accumulate, pairwise, product
from statistics import fmean

import pytest

from americano_pipelines.demo.data.demo_experiments import Experiment, experiments
from americano_pipelines.demo.data.design import admissible_splits, daily_outcomes, drawn_lengths
from americano_pipelines.demo.data.events import learner_ids
from americano_pipelines.demo.data.generator import generate
from americano_pipelines.demo.data.protocols import PROTOCOLS, DemoProtocol
from americano_pipelines.demo.data.tables import Table, Value

Rows = list[dict[str, Value]]
OTHERS = [experiment for experiment in experiments() if experiment.learner >= 60]
HASH_OF_THE_YEAR = "5afb73fedcb2e11d0d5a1c6578758ed148ba34ce14d37ae5ffa05cca0ec5d397"


def named(name: str) -> Experiment:
    return next(experiment for experiment in experiments() if experiment.name == name)


def rows_of(table: Table) -> Rows:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


@pytest.fixture(scope="module")
def tables() -> Mapping[str, Rows]:
    return {table.name: rows_of(table) for table in generate()}


@pytest.fixture(scope="module")
def day_means(tables: Mapping[str, Rows]) -> Mapping[tuple[str, str], float]:
    scores = defaultdict(list)
    for event in tables["behavioral_events"]:
        score = event["sessionPerformanceScore"]
        if isinstance(score, int):
            scores[str(event["userId"]), str(event["timestamp"])[:10]].append(score)
    return {place: fmean(values) for place, values in scores.items()}


def observed(protocol: DemoProtocol, day_means: Mapping[tuple[str, str], float]) -> list[float]:
    learner = learner_ids()[protocol.learner]
    days = [(protocol.start + timedelta(days=day)).isoformat() for day in range(protocol.total_days)]
    return [day_means.get((learner, day), math.nan) for day in days]


def p_value(values: list[float], lengths: tuple[int, ...], splits: list[tuple[int, ...]], sign: int) -> float:
    """Exact one-sided randomization test over all admissible splits."""
    sums = [0.0, *accumulate(0.0 if math.isnan(value) else value for value in values)]
    known = [0, *accumulate(0 if math.isnan(value) else 1 for value in values)]

    def statistic(split: tuple[int, ...]) -> float:
        edges = pairwise([0, *accumulate(split)])
        first, second, third, fourth = ((sums[end] - sums[begin]) / (known[end] - known[begin]) for begin, end in edges)
        return sign * (second + fourth - first - third) / 2

    least = statistic(lengths) - 1e-9
    return sum(statistic(split) >= least for split in splits) / len(splits)


@pytest.mark.slow
def test_another_process_generates_the_same_rows() -> None:
    program = (
        "import hashlib; from americano_pipelines.demo.data.generator import generate;"
        "print(hashlib.sha256(repr(generate()).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    theirs = subprocess.check_output([sys.executable, "-c", program], text=True, env=environment)
    assert theirs.strip() == hashlib.sha256(repr(generate()).encode()).hexdigest()


@pytest.mark.slow
def test_a_year_of_sixty_learners(tables: Mapping[str, Rows]) -> None:
    events = tables["behavioral_events"]
    assert 190_000 < len(events) < 210_000
    assert len({event["id"] for event in events}) == len(events)
    per_learner = Counter(event["userId"] for event in events)
    assert len(per_learner) == 60 + 7
    of_the_year = [per_learner[learner] for learner in learner_ids()[:60]]
    assert max(of_the_year) > 5 * min(of_the_year)
    times = [str(event["timestamp"]) for event in events]
    assert min(times).startswith("2025-09-01T")
    assert max(times).startswith("2026-08-31T")
    assert len({event["eventType"] for event in events}) == 13


def test_some_rows_arrive_late(tables: Mapping[str, Rows]) -> None:
    times = [datetime.fromisoformat(str(event["timestamp"])) for event in tables["behavioral_events"]]
    newest = list(accumulate(times, max))
    late = sum(time < latest - timedelta(hours=1) for time, latest in zip(times, newest, strict=True))
    assert 0.01 < late / len(times) < 0.1


def test_sessions_begin_and_end(tables: Mapping[str, Rows]) -> None:
    kinds = Counter(event["eventType"] for event in tables["behavioral_events"])
    assert kinds["SESSION_STARTED"] == kinds["SESSION_ENDED"]
    assert kinds["MISSION_STARTED"] == kinds["MISSION_COMPLETED"]


def test_ids_look_like_cuids(tables: Mapping[str, Rows]) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789")
    for row in [*tables["behavioral_events"][:100], *tables["phase_assignments"], *tables["analysis_runs"]]:
        identity = str(row["id"])
        assert identity[0] == "c"
        assert len(identity) == 25
        assert set(identity) <= allowed


def test_event_data_has_what_json_can_do_to_you(tables: Mapping[str, Rows]) -> None:
    text = "".join(str(event["eventData"]) for event in tables["behavioral_events"][:20_000])
    for awkward in ("ä", "Ö", "心", "🧠", "«", '\\"', "\\n", "null", "[]"):
        assert awkward in text
    numbers = [json.loads(str(event["eventData"])) for event in tables["behavioral_events"][:20_000]]
    assert max(data["layout"]["seed"] for data in numbers if "layout" in data) > 2**64


def test_splits_are_all_and_only_the_admissible_ones() -> None:
    by_hand = [split for split in product(range(2, 6), repeat=4) if sum(split) == 13]
    assert admissible_splits(13, 2, 5) == by_hand
    assert admissible_splits(21, 2, 5) == []


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_drawn_phases_are_admissible_and_recorded(protocol: DemoProtocol, tables: Mapping[str, Rows]) -> None:
    splits = admissible_splits(protocol.total_days, protocol.min_days, protocol.max_days)
    assert 500 < len(splits) < 10_000
    assert drawn_lengths(protocol) in splits
    (record,) = (row for row in tables["experiment_protocols"] if row["protocolName"] == protocol.title)
    assert record["userId"] == learner_ids()[protocol.learner]
    recorded = [row for row in tables["phase_assignments"] if row["protocolId"] == record["id"]]
    assert tuple(row["plannedDuration"] for row in recorded) == drawn_lengths(protocol)
    for row in recorded:
        parameters = json.loads(str(row["interventionParams"]))
        assert parameters["randomization"] == {"minDays": protocol.min_days, "maxDays": protocol.max_days}
        assert parameters["seed"] == row["randomizationSeed"] == protocol.seed
    for before, after in pairwise(recorded):
        assert before["endDate"] == after["startDate"]
    assert recorded[-1]["endDate"] == (None if protocol.open_ended else record["endDate"])
    assert [row["phaseLabel"] for row in recorded] == [
        "baseline_1",
        "intervention_A_1",
        "baseline_2",
        "intervention_A_2",
    ]


def test_other_designs_change_nothing_of_the_year() -> None:
    """The rows of the sixty learners and their eight protocols, as they were before other designs came after them."""
    events, protocols, phase_rows, _ = generate()
    learners = set(learner_ids()[:60])
    rows = [
        protocols.rows[:8],
        phase_rows.rows[:32],
        [row for row in events.rows if row[events.columns.index("userId")] in learners],
    ]

    assert hashlib.sha256(repr(rows).encode()).hexdigest() == HASH_OF_THE_YEAR


@pytest.mark.parametrize("experiment", OTHERS, ids=lambda experiment: experiment.name)
def test_other_designs_are_recorded_as_drawn(experiment: Experiment, tables: Mapping[str, Rows]) -> None:
    (record,) = (row for row in tables["experiment_protocols"] if row["protocolName"] == experiment.title)
    recorded = [row for row in tables["phase_assignments"] if row["protocolId"] == record["id"]]
    assert [row["plannedDuration"] for row in recorded] == [phase.days for phase in experiment.phases]
    assert record["designType"] == experiment.design
    assert recorded[-1]["endDate"] == record["endDate"]
    for before, after in pairwise(recorded):
        assert before["endDate"] == after["startDate"]
    parameters = [json.loads(str(row["interventionParams"])) for row in recorded]
    assert len({json.dumps(own["analysis"]) for own in parameters}) == 1
    assert {own["seed"] for own in parameters} == {row["randomizationSeed"] for row in recorded} == {experiment.seed}


def test_two_interventions_lie_within_their_bounds() -> None:
    experiment = named("recall_or_summaries")
    kinds = [phase.kind for phase in experiment.phases]
    assert kinds == ["BASELINE", "INTERVENTION_A", "BASELINE", "INTERVENTION_B"]
    assert experiment.days == 77
    assert all(7 <= phase.days <= 45 for phase in experiment.phases)
    assert experiment.parameters[0]["analysis"]["contrasts"] == [
        ["INTERVENTION_A", "BASELINE"],
        ["INTERVENTION_B", "BASELINE"],
    ]


@pytest.mark.parametrize(
    ("name", "before", "blocks", "after", "other"),
    [("standing_desk", 8, 14, 6, "BASELINE"), ("cards_or_notes", 8, 15, 0, "INTERVENTION_B")],
)
def test_each_block_has_a_day_of_either(name: str, before: int, blocks: int, after: int, other: str) -> None:
    experiment = named(name)
    days = [phase.kind for phase in experiment.phases for _ in range(phase.days)]
    order = days[before : before + 2 * blocks]
    assert days[:before] == ["BASELINE"] * before
    assert days[before + 2 * blocks :] == ["INTERVENTION_A"] * after
    assert all({*order[day : day + 2]} == {"INTERVENTION_A", other} for day in range(0, 2 * blocks, 2))
    recorded = ["randomization" in own for own in experiment.parameters]
    assert recorded == [False, *[True] * (len(recorded) - 1 - bool(after)), *[False] * bool(after)]


def test_criteria_and_starts_are_recorded() -> None:
    criterion = named("longer_focus")
    assert [own.get("criterion") for own in criterion.parameters] == [None, 60, 66, 72]
    assert all(6 <= phase.days <= 18 for phase in criterion.phases)
    assert not any(map(math.isnan, criterion.outcomes.tolist()))
    cases = [named(f"note_taking_{case}") for case in (1, 2, 3)]
    starts = sorted(case.phases[0].days for case in cases)
    assert all(7 <= start <= 35 for start in starts)
    assert all(later - earlier >= 4 for earlier, later in pairwise(starts))
    assert len({case.learner for case in cases}) == 3


@pytest.mark.parametrize("experiment", OTHERS, ids=lambda experiment: experiment.name)
def test_events_realise_other_designs(experiment: Experiment, day_means: Mapping[tuple[str, str], float]) -> None:
    learner = learner_ids()[experiment.learner]
    days = [(experiment.start + timedelta(days=day)).isoformat() for day in range(experiment.days)]
    values = [day_means.get((learner, day), math.nan) for day in days]
    # Days whose sessions have no scored event are missing too.
    assert sum(map(math.isnan, values)) - sum(map(math.isnan, experiment.outcomes.tolist())) in range(3)
    for value, truth in zip(values, experiment.outcomes.tolist(), strict=True):
        assert math.isnan(value) or abs(value - truth) <= 0.5 + 1e-9


def test_labels_match_the_windows(tables: Mapping[str, Rows]) -> None:
    windows = {
        learner_ids()[experiment.learner]: [
            (phase.first.isoformat(), phase.end.isoformat(), phase.label) for phase in experiment.phases
        ]
        for experiment in experiments()
    }
    missing = labelled = 0
    for event in tables["behavioral_events"]:
        time = str(event["timestamp"])
        inside = [label for first, end, label in windows.get(str(event["userId"]), []) if first <= time[:10] < end]
        assert event["experimentPhase"] in (None, *inside)
        assert (event["randomizationSeed"] is not None) == bool(inside)
        labelled += event["experimentPhase"] is not None
        missing += bool(inside) and event["experimentPhase"] is None
    assert labelled > 5_000
    assert 0 < missing < 0.03 * labelled


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_events_realise_the_protocols_truth(protocol: DemoProtocol, day_means: Mapping[tuple[str, str], float]) -> None:
    values = observed(protocol, day_means)
    missing = sum(map(math.isnan, values))
    assert 2 <= missing <= 6
    for value, truth in zip(values, daily_outcomes(protocol).tolist(), strict=True):
        assert math.isnan(value) or abs(value - truth) <= 0.5 + 1e-9  # rounding to whole points
    splits = admissible_splits(protocol.total_days, protocol.min_days, protocol.max_days)
    declared = 1 if protocol.direction == "increase" else -1
    chance = p_value(values, drawn_lengths(protocol), splits, declared)
    if protocol.effect:
        assert math.copysign(1, protocol.effect) == declared
        assert chance < 0.02
    else:
        assert chance > 0.15
