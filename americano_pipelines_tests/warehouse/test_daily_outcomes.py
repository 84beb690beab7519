"""`research.daily_outcomes` has the days that an analysis computes, and none where it computes none."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from americano_pipelines.analysis.daily_series import observe
from americano_pipelines.analysis.extract_reading import read_extract
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.statistics.phase_windows import CONDITIONS
from americano_pipelines.warehouse.snapshots import open_published, record_of
from americano_pipelines_tests.warehouse.helpers import rows, synced

DAY = 86_400_000_000
ORIGIN = 1_736_150_400_000_000  # 2025-01-06T08:00
SECOND = 1_000_000
START = pa.timestamp("us")

# Phases of a protocol: type, start, stated end and planned days; times in days from the origin.
Phases = list[tuple[str | None, float | None, float | None, int | None]]
PROTOCOLS: dict[str, tuple[str | None, float | None, Phases]] = {
    "plain": ("score", 20, [("BASELINE", 0, None, 7), ("INTERVENTION_A", 7, None, 7), ("WITHDRAWAL", 14, None, 6)]),
    "other outcome": ("minutes", None, [("BASELINE", 0, None, 5), ("INTERVENTION_B", 5, None, 5)]),
    "yes or no": ("passed", None, [("BASELINE", 0, None, 5), ("INTERVENTION_B", 5, None, 5)]),
    "switches within days": ("score", 15.25, [("BASELINE", 0, None, 7), ("INTERVENTION_A", 7.5, None, 7)]),
    "overlap": ("score", None, [("BASELINE", 0, 9, 7), ("INTERVENTION_A", 7, 14, 7)]),
    "long overlap": ("score", None, [("BASELINE", 0, 30, 7), ("INTERVENTION_A", 7, 14, 7)]),
    "gap": ("score", None, [("BASELINE", 0, 5, 7), ("INTERVENTION_A", 7, 14, 7)]),
    "a second short": (
        "score", None, [("BASELINE", 0, 7 - 0.5 / 86400, 7), ("INTERVENTION_A", 7, 14 - 0.001 / 86400, 7)]
    ),
    "ends within a day": ("score", None, [("BASELINE", 0, None, 7), ("INTERVENTION_A", 7, 13.4, 7)]),
    "no planned days": ("score", 14, [("BASELINE", 0, None, None), ("INTERVENTION_A", 7, None, None)]),
    "no end": ("score", None, [("BASELINE", 0, None, 7), ("INTERVENTION_A", 7, None, None)]),
    "unknown type": ("score", None, [("BASELINE", 0, None, 7), ("SOMETHING", 7, None, 7)]),
    "no type": ("score", None, [("BASELINE", 0, None, 7), (None, 7, None, 7)]),
    "same start": ("score", None, [("BASELINE", 0, None, 7), ("INTERVENTION_A", 0, None, 7)]),
    "ends before it begins": ("score", None, [("BASELINE", 0, -1, 7), ("INTERVENTION_A", 7, None, 7)]),
    "0 days": ("score", None, [("BASELINE", 0, None, 0), ("INTERVENTION_A", 7, None, 7)]),
    "too many days": ("score", 14, [("BASELINE", 0, None, 100_001), ("INTERVENTION_A", 7, None, 7)]),
    "outcome of words": ("mood", None, [("BASELINE", 0, None, 7), ("INTERVENTION_A", 7, None, 7)]),
    "outcome of another case": ("Score", None, [("BASELINE", 0, None, 7), ("INTERVENTION_A", 7, None, 7)]),
    "no outcome": (None, None, [("BASELINE", 0, None, 7), ("INTERVENTION_A", 7, None, 7)]),
    "no phases": ("score", None, []),
}  # fmt: skip
REFUSED = list(PROTOCOLS)[list(PROTOCOLS).index("no end") :]


def at(days: float | None) -> int | None:
    return None if days is None else ORIGIN + round(days * DAY)


def write(path: Path, columns: dict[str, tuple[list[object], pa.DataType]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array(values, kind) for name, (values, kind) in columns.items()}), path)
    return str(path)


@pytest.fixture(params=[False, True], ids=["by learner and window", "events that name their protocol"])
def settings(request: pytest.FixtureRequest, settings_for: Callable[..., Settings], tmp_path: Path) -> Settings:
    """A published file with the protocols above, each of a learner of its own; events at awkward times too."""
    draw, names = random.Random(7), list(PROTOCOLS)  # noqa: S311 - test data
    phases = [(name, number, *phase) for name in names for number, phase in enumerate(PROTOCOLS[name][2])]
    # A millisecond is 1.2e-8 days.
    awkward = [0.0, 5.0, 6.9999999, 7.0, 7.5, 13.999999995, 14.0, 15.25]
    edges = [*awkward * 9, *(draw.uniform(-2, 22) for _ in range(60))]
    learners = [name for name in names for _ in edges]
    times = [at(edge) for _ in names for edge in edges]
    scores = [draw.choice([None, float("nan"), float("inf"), draw.gauss(50, 10), 7.0]) for _ in times]
    events = {
        "id": ([str(number) for number in range(len(times))], pa.string()),
        "learner_id": (learners, pa.string()),
        "ts": (times, START),
        "score": (scores, pa.float64()),
        "minutes": ([draw.choice([None, 3, 40]) for _ in times], pa.int32()),
        "passed": ([draw.choice([None, True, False]) for _ in times], pa.bool_()),
        "mood": (["good"] * len(times), pa.string()),
        "parts": ([[1, 2]] * len(times), pa.list_(pa.int64())),
    }
    if request.param:
        events["protocol_id"] = ([draw.choice([None, name, "another"]) for name in learners], pa.string())
    values = {
        "behavioral_events_parquet": write(tmp_path / "in/events.parquet", events),
        "experiment_protocols_parquet": write(
            tmp_path / "in/protocols.parquet",
            {
                "id": (names, pa.string()),
                "learner_id": (names, pa.string()),
                "primary_outcome": ([PROTOCOLS[name][0] for name in names], pa.string()),
                "end_date": ([at(PROTOCOLS[name][1]) for name in names], START),
            },
        ),
        "phase_assignments_parquet": write(
            tmp_path / "in/phases.parquet",
            {
                "id": ([f"{name} {number}" for name, number, *_ in phases], pa.string()),
                "protocol_id": ([phase[0] for phase in phases], pa.string()),
                "phase": ([f"phase {phase[1]}" for phase in phases], pa.string()),
                "phase_type": ([phase[2] for phase in phases], pa.string()),
                "start_date": ([at(phase[3]) for phase in phases], START),
                "end_date": ([at(phase[4]) for phase in phases], START),
                "planned_days": ([phase[5] for phase in phases], pa.int32()),
            },
        ),
    }
    settings = settings_for(**values)
    assert synced(settings).blocked_by == []
    return settings


def days_of_analysis(settings: Settings, protocol: str) -> list[tuple[object, ...]]:
    """Number, phase, condition, value and events of each day, as an analysis computes them; none where it fails."""
    with open_published(settings) as connection:
        document = record_of(connection)
        assert document is not None
        try:
            observations = observe(read_extract(connection, settings, document, protocol, None))
        except AnalysisError:
            return []
    days, windows = observations.days, observations.timeline.windows
    return [
        (
            day,
            windows[phase].label if phase >= 0 else None,
            windows[phase].condition if phase >= 0 else None,
            None if np.isnan(value) else pytest.approx(value, rel=1e-12),
            events,
        )
        for day, (value, events, phase) in enumerate(
            zip(days.values.tolist(), days.events.tolist(), days.phase.tolist(), strict=True)
        )
    ]


def test_days_are_those_of_an_analysis(settings: Settings) -> None:
    published = rows(
        settings,
        "SELECT protocol_id, day, phase, condition, value, events FROM research.daily_outcomes",
    )

    assert published == sorted(published, key=lambda row: row[:2])
    assert {row[0] for row in published} == PROTOCOLS.keys() - set(REFUSED)
    for protocol in PROTOCOLS:
        assert [row[1:] for row in published if row[0] == protocol] == days_of_analysis(settings, protocol), protocol


def test_a_day_names_its_learner_outcome_and_start(settings: Settings) -> None:
    (first,) = rows(
        settings,
        "SELECT learner_id, outcome, epoch_us(starts_at) FROM research.daily_outcomes "
        "WHERE protocol_id = 'other outcome' AND day = 3",
    )

    assert first == ("other outcome", "minutes", ORIGIN + 3 * DAY)


def test_every_type_of_phase_that_analyses_know_has_its_condition(settings: Settings) -> None:
    with open_published(settings) as connection:
        (statement,) = connection.execute(
            "SELECT sql FROM duckdb_views() WHERE view_name = 'daily_outcomes'"
        ).fetchone() or ("",)
    named = {kind: condition for kind, condition in CONDITIONS.items() if f"'{kind}'" in statement}

    assert named == CONDITIONS
