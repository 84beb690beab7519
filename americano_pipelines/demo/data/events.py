"""Generate `behavioral_events`: scores that realise the protocols' truth, and the other columns."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from americano_pipelines.demo.data.demo_experiments import Experiment, experiments
from americano_pipelines.demo.data.payloads import Moment, payload_text
from americano_pipelines.demo.data.sessions import (
    DAY_MS,
    DAYS,
    FIRST_DAY,
    KIND,
    KINDS,
    LEARNERS,
    Events,
    all_events,
    experiment_events,
)
from americano_pipelines.demo.data.tables import Table, Value, chance, make_ids, stream, timestamps

Columns = dict[str, list[Value]]

_SCORED = [KIND[name] for name in ("MISSION_COMPLETED", "VALIDATION_COMPLETED", "SESSION_ENDED")]
_RATED_HARD = [KIND[name] for name in ("MISSION_STARTED", "MISSION_COMPLETED", "CARD_REVIEWED", "VALIDATION_COMPLETED")]
_UNOBSERVED = [KIND[name] for name in ("SESSION_STARTED", "LECTURE_UPLOADED", "SEARCH_PERFORMED")]
_SPREAD = 7  # points: standard deviation of single scores around their day's mean
_WEEKS_WITHOUT_CLOCK = 2  # the application's first weeks stored neither timeOfDay nor dayOfWeek
_CONTENT = {
    "MISSION_STARTED": "clinical_case",
    "MISSION_COMPLETED": "clinical_case",
    "CARD_REVIEWED": "flashcard",
    "VALIDATION_COMPLETED": "quiz",
    "LECTURE_UPLOADED": "lecture",
    "GRAPH_VIEWED": "concept_graph",
    "RECOMMENDATION_VIEWED": "lecture",
    "RECOMMENDATION_CLICKED": "lecture",
}


def learner_ids() -> list[str]:
    """Ids of the learners, by number: those of the year, then those who study for an experiment only."""
    return make_ids("learners", LEARNERS + len(_experiments_only()))


def behavioral_events() -> Table:
    """All events, in the order in which their rows reached the database."""
    columns, arrival = _year()
    added, added_arrival = _experiment_periods()
    rows = [row for part in (columns, added) for row in zip(*part.values(), strict=True)]
    order = np.argsort(np.concatenate((arrival, added_arrival)), kind="stable")
    return Table("behavioral_events", tuple(columns), [rows[index] for index in order.tolist()])


def _year() -> tuple[Columns, NDArray[np.int64]]:
    """The events of the learners of the year, and when each row reached the database in milliseconds since 1970."""
    events, rng = all_events(stream("rhythm")), stream("events")
    late = _late_sessions(rng, events)
    return _columns(rng, events, late > 0, _year_levels(rng), 0, ""), events.time + late


def _experiment_periods() -> tuple[Columns, NDArray[np.int64]]:
    """The same of those who study for an experiment only; their streams are their own, and the year does not change."""
    others, rng = _experiments_only(), stream("experiment events")
    events = experiment_events(stream("experiment rhythm"), [(other.start, other.outcomes) for other in others])
    levels = np.zeros((len(others), DAYS))
    for index, experiment in enumerate(others):
        _put_outcomes(levels[index], experiment)
    late = _late_sessions(rng, events)
    return _columns(rng, events, late > 0, levels, LEARNERS, "experiment "), events.time + late


def _experiments_only() -> list[Experiment]:
    """The experiments of learners who do not study all year."""
    return [experiment for experiment in experiments() if experiment.learner >= LEARNERS]


def _columns(
    rng: np.random.Generator,
    events: Events,
    offline: NDArray[np.bool_],
    levels: NDArray[np.float64],
    first_learner: int,
    subject: str,
) -> Columns:
    """The columns of events.

    Args:
        rng: the random numbers.
        events: the events; their learners are numbered from 0.
        offline: whether each event was sent later.
        levels: the true outcome by learner and day.
        first_learner: number of the first of these learners among all.
        subject: prefix of the subjects of ids.
    """
    count = len(events.time)
    scores = _scores(rng, events, levels)
    labels, seeds = _phase_labels(rng, events, first_learner)
    clock = events.day >= 7 * _WEEKS_WITHOUT_CLOCK
    return {
        "id": [*make_ids(f"{subject}events", count)],
        "userId": _words(learner_ids()[first_learner:], events.learner),
        "eventType": _words(KINDS, events.kind),
        "eventData": _payloads(rng, events, scores, offline),
        "timestamp": [*timestamps(events.time.tolist())],
        "completionQuality": _qualities(rng, events, scores),
        "contentType": _words([_CONTENT.get(kind) for kind in KINDS], events.kind),
        "dayOfWeek": _kept((events.time // DAY_MS + 4) % 7, clock),  # 1970 began on a Thursday; Sunday is 0
        "difficultyLevel": _difficulties(rng, events),
        "engagementLevel": _engagements(rng, events),
        "sessionPerformanceScore": scores,
        "timeOfDay": _kept(events.time // 3_600_000 % 24, clock),
        "experimentPhase": labels,
        "randomizationSeed": seeds,
        "contextMetadataId": _contexts(rng, events, subject),
    }


def _year_levels(rng: np.random.Generator) -> NDArray[np.float64]:
    """The true outcome of the learners of the year on each day."""
    level = rng.normal(62, 7, (LEARNERS, 1)) + rng.normal(6, 4, (LEARNERS, 1)) * np.arange(DAYS) / DAYS
    level = level + rng.normal(0, 5, (LEARNERS, DAYS))
    for experiment in experiments():
        if experiment.learner < LEARNERS:
            _put_outcomes(level[experiment.learner], experiment)
    return np.asarray(level, dtype=np.float64)


def _put_outcomes(level: NDArray[np.float64], experiment: Experiment) -> None:
    first = (experiment.start - FIRST_DAY).days
    level[first : first + experiment.days] = experiment.outcomes


def _scores(rng: np.random.Generator, events: Events, level: NDArray[np.float64]) -> list[Value]:
    """Scores whose mean on each of a learner's days is that day's true level, but for rounding."""
    scored = np.isin(events.kind, _SCORED) & chance(rng, 0.93, len(events.kind))
    day = (events.learner * DAYS + events.day)[scored]
    spread = rng.normal(0, _SPREAD, len(day))
    # Centred within the day: otherwise few scores a day would add noise that the protocols' table does not know of.
    spread -= (np.bincount(day, spread) / np.maximum(np.bincount(day), 1))[day]
    values = np.zeros(len(scored), dtype=np.int64)
    values[scored] = np.rint(level.ravel()[day] + spread).clip(0, 100)
    return _kept(values, scored)


def _phase_labels(rng: np.random.Generator, events: Events, first_learner: int) -> tuple[list[Value], list[Value]]:
    """Label and seed of the phase an event falls in; about one label in a hundred was never written."""
    labels: list[Value] = [None] * len(events.time)
    seeds: list[Value] = [None] * len(events.time)
    forgotten = chance(rng, 0.01, len(events.time))
    for experiment in experiments():
        of_learner = events.learner == experiment.learner - first_learner
        for phase in experiment.phases:
            first = (phase.first - FIRST_DAY).days
            inside = of_learner & (events.day >= first) & (events.day < first + phase.days)
            for index in np.flatnonzero(inside).tolist():
                labels[index] = None if forgotten[index] else phase.label
                seeds[index] = experiment.seed
    return labels, seeds


def _late_sessions(rng: np.random.Generator, events: Events) -> NDArray[np.int64]:
    """Milliseconds by which an event's row came late: some sessions were studied offline and sent days later."""
    sessions = int(events.session[-1]) + 1
    delay = np.where(chance(rng, 0.03, sessions), rng.uniform(0.1, 14, sessions) * DAY_MS, 0)
    return delay.astype(np.int64)[events.session]


def _qualities(rng: np.random.Generator, events: Events, scores: list[Value]) -> list[Value]:
    performance = np.array([50 if score is None else score for score in scores], dtype=np.float64)
    care = performance + rng.normal(0, 15, len(performance))
    known = np.isin(events.kind, _SCORED) & chance(rng, 0.95, len(care))
    return _kept(np.array(["RUSHED", "NORMAL", "THOROUGH"])[np.digitize(care, (45, 72))], known)


def _difficulties(rng: np.random.Generator, events: Events) -> list[Value]:
    advance = events.day / DAYS + rng.normal(0.1, 0.3, len(events.day))  # harder matter as the year goes on
    words = np.array(["BASIC", "INTERMEDIATE", "ADVANCED"])[np.digitize(advance, (0.4, 0.85))]
    return _kept(words, np.isin(events.kind, _RATED_HARD))


def _engagements(rng: np.random.Generator, events: Events) -> list[Value]:
    sessions = int(events.session[-1]) + 1
    interest = rng.normal(0, 1, sessions)[events.session] + rng.normal(0, 0.4, len(events.session))
    words = np.array(["LOW", "MEDIUM", "HIGH"])[np.digitize(interest, (-0.8, 0.7))]
    known = ~np.isin(events.kind, _UNOBSERVED) & chance(rng, 0.9, len(interest))
    return _kept(words, known)


def _contexts(rng: np.random.Generator, events: Events, subject: str) -> list[Value]:
    sessions = int(events.session[-1]) + 1
    known = chance(rng, 0.15, sessions)[events.session]
    return _kept(np.array(make_ids(f"{subject}contexts", sessions))[events.session], known)


def _payloads(rng: np.random.Generator, events: Events, scores: list[Value], offline: NDArray[np.bool_]) -> list[Value]:
    luck = rng.integers(0, 2**62, len(events.kind)).tolist()
    texts: list[Value] = []
    for kind, number, score, sent_later in zip(events.kind.tolist(), luck, scores, offline.tolist(), strict=True):
        texts.append(payload_text(KINDS[kind], Moment(number, score, offline=sent_later)))
    return texts


def _words(words: Iterable[str | None], indexes: NDArray[np.int64]) -> list[Value]:
    table = list(words)
    return [table[index] for index in indexes.tolist()]


def _kept(values: NDArray[np.generic], known: NDArray[np.bool_]) -> list[Value]:
    """The values as Python objects, None where they are not known."""
    return [value if keep else None for value, keep in zip(values.tolist(), known.tolist(), strict=True)]
