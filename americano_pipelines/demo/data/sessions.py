"""Generate the sessions of the demo's learners and the kinds of events within them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.demo.data.design import daily_outcomes
from americano_pipelines.demo.data.protocols import PROTOCOLS
from americano_pipelines.demo.data.tables import chance

LEARNERS = 60
FIRST_DAY = date(2025, 9, 1)
DAYS = 365
DAY_MS = 86_400_000

KINDS = (
    "SESSION_STARTED",
    "SESSION_ENDED",
    "MISSION_STARTED",
    "MISSION_COMPLETED",
    "CARD_REVIEWED",
    "VALIDATION_COMPLETED",
    "LECTURE_UPLOADED",
    "SEARCH_PERFORMED",
    "GRAPH_VIEWED",
    "RECOMMENDATION_VIEWED",
    "RECOMMENDATION_CLICKED",
    "RECOMMENDATION_DISMISSED",
    "RECOMMENDATION_RATED",
)
KIND = {name: number for number, name in enumerate(KINDS)}

_SESSIONS_PER_DAY = 0.635  # of the typical learner on a typical day; makes about 200,000 events of the whole
_IN_BETWEEN = {
    "CARD_REVIEWED": 0.62,
    "VALIDATION_COMPLETED": 0.15,
    "SEARCH_PERFORMED": 0.08,
    "GRAPH_VIEWED": 0.05,
    "RECOMMENDATION_VIEWED": 0.085,
    "LECTURE_UPLOADED": 0.015,
}
_AFTER_A_VIEW = {"RECOMMENDATION_CLICKED": 0.55, "RECOMMENDATION_DISMISSED": 0.3, "RECOMMENDATION_RATED": 0.15}
_SIZE_WITH_MISSION = 6  # events: start, end, the mission's two, and something to do
_WEEKDAYS = np.array([1.1, 1.15, 1.1, 1.05, 0.85, 0.6, 0.95])  # Monday first
_SEASONS = (  # first day, day after the last, how much is studied compared with term time
    (date(2025, 9, 1), date(2025, 10, 6), 0.55),  # before the winter term
    (date(2025, 12, 22), date(2026, 1, 6), 0.25),  # Christmas
    (date(2026, 1, 26), date(2026, 2, 14), 1.9),  # winter exams
    (date(2026, 2, 14), date(2026, 3, 16), 0.5),
    (date(2026, 4, 3), date(2026, 4, 7), 0.4),  # Easter
    (date(2026, 7, 6), date(2026, 7, 25), 1.9),  # summer exams
    (date(2026, 7, 25), date(2026, 9, 1), 0.35),
)


@dataclass(frozen=True)
class Events:
    """The skeleton of all events, one array element each, in the order of learner, day, session and time.

    Attributes:
        learner: Number of the learner.
        day: Days since FIRST_DAY.
        session: Number of the session.
        time: Milliseconds since 1970 in UTC.
        kind: Index into KINDS.
    """

    learner: NDArray[np.int64]
    day: NDArray[np.int64]
    session: NDArray[np.int64]
    time: NDArray[np.int64]
    kind: NDArray[np.int64]


def all_events(rng: np.random.Generator) -> Events:
    """Draw every session of the year and the events within it."""
    return events_of(rng, _sessions_per_day(rng))


def experiment_events(rng: np.random.Generator, outcomes: Sequence[tuple[date, NDArray[np.float64]]]) -> Events:
    """Draw the sessions of learners who study for an experiment only, numbered from 0.

    Args:
        rng: the random numbers.
        outcomes: of each learner the first day of the experiment, and each day's outcome, NaN for a day without study.
    """
    counts = np.zeros((len(outcomes), DAYS), dtype=np.int64)
    for learner, (start, values) in enumerate(outcomes):
        first_day = (start - FIRST_DAY).days
        sessions = rng.poisson(_SESSIONS_PER_DAY, values.size).clip(min=1)
        counts[learner, first_day : first_day + values.size] = np.where(np.isnan(values), 0, sessions)
    return events_of(rng, counts)


def events_of(rng: np.random.Generator, counts: NDArray[np.int64]) -> Events:
    """Draw the events within sessions.

    Args:
        rng: the random numbers.
        counts: sessions by learner and day.
    """
    learner, day = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    inner = 1 + rng.negative_binomial(3, 0.2, len(learner)).clip(max=60)
    size = inner + 2
    session = np.repeat(np.arange(len(size)), size)
    first = np.cumsum(size) - size
    position = np.arange(len(session)) - first[session]

    gaps = rng.gamma(1.5, 50_000, len(session)).astype(np.int64) + 1_500
    gaps[first] = 0
    elapsed = np.cumsum(gaps)
    elapsed -= elapsed[first][session]
    length = elapsed[first + size - 1]
    # A session ends before midnight, so that its events belong to one day.
    begin = np.minimum(_start_of_session(rng, learner, len(counts)), DAY_MS - 1 - length)
    epoch = (FIRST_DAY - date(1970, 1, 1)).days
    time = (epoch + day[session]) * DAY_MS + begin[session] + elapsed
    kind = _kinds(rng, position, size[session])
    return Events(learner[session], day[session], session, time, kind)


def _sessions_per_day(rng: np.random.Generator) -> NDArray[np.int64]:
    """Number of sessions by learner and day."""
    season = np.ones(DAYS)
    for first, end, factor in _SEASONS:
        season[(first - FIRST_DAY).days : (end - FIRST_DAY).days] = factor
    weekday = _WEEKDAYS[(np.arange(DAYS) + FIRST_DAY.weekday()) % 7]
    diligence = rng.lognormal(-0.15, 0.55, LEARNERS)
    for protocol in PROTOCOLS:
        diligence[protocol.learner] = diligence[protocol.learner].clip(0.9, 2)
    mood = rng.gamma(4, 1 / 4, (LEARNERS, DAYS))  # good and bad days: more of both than pure chance would give
    counts = rng.poisson(_SESSIONS_PER_DAY * diligence[:, None] * season * weekday * mood)
    for protocol in PROTOCOLS:
        first_day = (protocol.start - FIRST_DAY).days
        window = counts[protocol.learner, first_day : first_day + protocol.total_days]
        window[:] = np.where(np.isnan(daily_outcomes(protocol)), 0, window.clip(min=1))
    return np.asarray(counts, dtype=np.int64)


def _start_of_session(rng: np.random.Generator, learner: NDArray[np.int64], learners: int) -> NDArray[np.int64]:
    """Milliseconds since midnight at which each session starts: each learner has a usual hour in the afternoon."""
    usual_hour = rng.normal(15, 1.8, learners)[learner]
    hour = np.where(chance(rng, 0.3, len(learner)), rng.normal(9.5, 1.2, len(learner)), rng.normal(usual_hour, 2.4))
    return (hour.clip(5, 23.5) * 3_600_000).astype(np.int64) + rng.integers(0, 60_000, len(learner))


def _kinds(rng: np.random.Generator, position: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """Kind of each event by its place in its session, which starts at 0 and has `size` events."""
    kind = _draw(rng, _IN_BETWEEN, len(position))
    after_a_view = np.r_[False, kind[:-1] == KIND["RECOMMENDATION_VIEWED"]] & chance(rng, 0.6, len(kind))
    kind[after_a_view] = _draw(rng, _AFTER_A_VIEW, int(after_a_view.sum()))
    has_mission = size >= _SIZE_WITH_MISSION
    kind[has_mission & (position == 1)] = KIND["MISSION_STARTED"]
    kind[has_mission & (position == size - 2)] = KIND["MISSION_COMPLETED"]
    kind[position == 0] = KIND["SESSION_STARTED"]
    kind[position == size - 1] = KIND["SESSION_ENDED"]
    return kind


def _draw(rng: np.random.Generator, shares: dict[str, float], count: int) -> NDArray[np.int64]:
    return rng.choice([KIND[name] for name in shares], size=count, p=list(shares.values()))
