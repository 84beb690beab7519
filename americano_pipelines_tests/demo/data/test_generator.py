"""The generated year: the same each time, with the promised shape and the protocols' truth."""

from americano_pipelines.demo.data.design import admissible_splits
from americano_pipelines.demo.data.design import daily_outcomes
from americano_pipelines.demo.data.design import drawn_lengths
from americano_pipelines.demo.data.design import phases
from americano_pipelines.demo.data.events import learner_ids
from americano_pipelines.demo.data.generator import generate
from americano_pipelines.demo.data.protocols import DemoProtocol
from americano_pipelines.demo.data.protocols import PROTOCOLS
from americano_pipelines.demo.data.tables import Table
from americano_pipelines.demo.data.tables import Value
from collections import Counter
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from datetime import timedelta
from itertools import accumulate
from itertools import pairwise
from itertools import product
from statistics import fmean
import hashlib
import json
import math
import os
import pytest
import subprocess
import sys


Rows = list[dict[str, Value]]


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
    assert len(per_learner) == 60
    assert max(per_learner.values()) > 5 * min(per_learner.values())
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


def test_labels_match_the_windows(tables: Mapping[str, Rows]) -> None:
    windows = {
        learner_ids()[protocol.learner]: [
            (phase.first.isoformat(), phase.end.isoformat(), phase.label) for phase in phases(protocol)
        ]
        for protocol in PROTOCOLS
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
