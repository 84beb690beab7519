"""Read the training data of the demo as one canonical document with a hash, and split it by time.

A random split would leak a learner's later days into training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import duckdb
import numpy as np
from numpy.typing import NDArray

from americano_pipelines.analysis.extract import BaseExtract, TableRead
from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.common import sql
from americano_pipelines.common.hashing import canonical_json
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.column_roles import SourceTable
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.warehouse.research_models import role_value
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

MAX_ROWS = 200_000  # the latest ones: at seven features some 100 MB while they are read
# Feature to the role without which it says nothing; None for those that need only the time.
FEATURES: dict[str, str | None] = {
    "hour_of_day": None,
    "is_weekend": None,
    "days_since_first_event": "learner",
    "log_hours_since_last_score": "learner",
    "mean_score_so_far": "learner",
    "mean_score_last_7_days": "learner",
    "in_intervention": "phase",
}
# Names of the column with scores, best first, without regard to case and underscores.
OUTCOMES = ("session_performance_score", "performance_score", "score")


class TrainingData(BaseExtract):
    """The rows that a model is trained and validated on, in order of time.

    Attributes:
        version: version of this format.
        outcome: the events column that holds the scores.
        features: names of the features.
        left_out: features that are missing, with the reason.
        available: scored events in the snapshot, of which these rows are the latest.
        learners: pseudonyms of the learners whose events these are, sorted.
        times_us: when each event happened, microseconds since 1970 UTC, ascending; shape (rows,).
        scores: the score of each event, in the outcome's own unit; shape (rows,).
        rows: the features of each event; None where undefined, such as a mean of nothing; shape (rows, features).
    """

    version: Literal[1] = 1
    outcome: str
    features: list[str]
    left_out: dict[str, str]
    available: int
    learners: list[str]
    times_us: list[int]
    scores: list[float]
    rows: list[list[float | None]]

    def canonical(self) -> bytes:
        """The canonical text of these contents."""
        return canonical_json(self.model_dump(), ascii_only=True)

    @classmethod
    def parse(cls, text: bytes) -> "TrainingData":
        """Parse a canonical text."""
        return cls.model_validate_json(text)

    @property
    def outcomes(self) -> Sequence[float | None]:
        """The score of each event."""
        return self.scores

    def reads(self, document: SnapshotRecord) -> list[TableRead]:
        """The scored events.

        Raises:
            AnalysisError: `document` has no such events.
        """
        statement, _ = training_statement(document)
        table = document.tables[EVENTS.name]
        return [
            TableRead(
                f"analytics.{EVENTS.name}",
                [(column.name, column.type) for column in table.columns],
                table.instant,
                len(self.times_us),
                self.times_us,
                f"{statement.strip()}\n-- $1 = {MAX_ROWS}, the most rows",
            )
        ]


def training_statement(document: SnapshotRecord) -> tuple[str, str]:
    """The statement that reads the rows, with one parameter for the most of them, and the column with the scores.

    Raises:
        AnalysisError: the published file has no events, or its events have no column with scores.
    """
    built = document.tables.get(EVENTS.name)
    if built is None:
        raise AnalysisError(f"snapshot {document.snapshot_id} has no {EVENTS.name} to learn from")
    numbers = {_key(column.name): column.name for column in built.columns if column.is_number}
    outcome = next((numbers[_key(name)] for name in OUTCOMES if _key(name) in numbers), None)
    if outcome is None:
        raise AnalysisError(
            f"{EVENTS.name} of snapshot {document.snapshot_id} has no column with scores to learn from: none that "
            f"holds numbers is named like {', '.join(OUTCOMES)} (there is {', '.join(numbers.values()) or 'none'})"
        )
    table = SourceTable(EVENTS, built.found_as, tuple(built.columns), built.roles)
    roles = {
        role: role_value(table, role) if role in built.roles else "NULL" for role in ("id", "time", "learner", "phase")
    }
    return sql.render(sql.load("analysis", "training"), outcome=sql.quote(outcome), **roles), outcome


def read_training_data(
    connection: duckdb.DuckDBPyConnection, settings: Settings, document: SnapshotRecord, *, max_rows: int = MAX_ROWS
) -> TrainingData:
    """Read the latest scored events with what was known before each.

    Args:
        connection: the published file, open for reading.
        settings: the data folder, whose key makes the pseudonyms.
        document: the file's record.
        max_rows: the most rows to read.

    Raises:
        AnalysisError: no column holds scores.
    """
    statement, outcome = training_statement(document)
    records = connection.execute(statement, [max_rows]).fetchall()
    played = document.tables[EVENTS.name].roles
    left_out = {
        name: f"no column plays the role {role}" for name, role in FEATURES.items() if role and role not in played
    }
    kept = [index for index, name in enumerate(FEATURES) if name not in left_out]
    return TrainingData(
        outcome=outcome,
        features=[name for name in FEATURES if name not in left_out],
        left_out=left_out,
        available=records[0][0] if records else 0,
        learners=sorted(pseudonym(settings, learner) for learner in {row[3] for row in records} if learner is not None),
        times_us=[row[1] for row in records],
        scores=[row[2] for row in records],
        rows=[[row[4 + index] for index in kept] for row in records],
    )


def _key(name: str) -> str:
    return name.replace("_", "").casefold()


TRAINING_SHARE = 0.8


@dataclass(frozen=True)
class Split:
    """Features and labels of the training and the validation part.

    Attributes:
        features: names of the features that have a value in the training part.
        left_out: the other features, with the reason.
        at_us: the first instant of the validation part, microseconds since 1970 UTC; all before it is training.
        train: features, NaN where undefined; shape (training rows, features).
        train_high: whether the score is high, 1 or 0; shape (training rows,).
        validation: features; shape (validation rows, features).
        validation_high: labels; shape (validation rows,).
    """

    features: list[str]
    left_out: dict[str, str]
    at_us: int
    train: NDArray[np.float64]
    train_high: NDArray[np.int64]
    validation: NDArray[np.float64]
    validation_high: NDArray[np.int64]


def split_by_time(data: TrainingData, threshold: float) -> Split:
    """Cut the rows after the first four fifths by time, keep rows of one instant together, and label them.

    Args:
        data: the rows.
        threshold: scores from here on are high, in the outcome's unit.

    Raises:
        AnalysisError: a part is empty, or the training part holds only high scores, or none.
    """
    times, count = np.asarray(data.times_us, dtype=np.int64), len(data.times_us)
    at_us = int(times[int(count * TRAINING_SHARE)]) if count else 0
    first = int(np.searchsorted(times, at_us))
    if not first:
        raise AnalysisError(f"{count} scored events are too few to learn from: none is left before the last 20 %")
    values = np.asarray(data.rows, dtype=np.float64).reshape(count, len(data.features))
    high = (np.asarray(data.scores) >= threshold).astype(np.int64)
    if high[:first].min() == high[:first].max():
        scores = np.asarray(data.scores[:first])
        raise AnalysisError(
            f"threshold {threshold:g}: {'every' if high[0] else 'no'} score of the training part reaches it, so there "
            f"is nothing to tell apart; they lie between {scores.min():g} and {scores.max():g}"
        )
    observed = np.isfinite(values[:first]).sum(axis=0) > 0
    never = {
        name: "it has no value in the training part"
        for name, kept in zip(data.features, observed, strict=True)
        if not kept
    }
    return Split(
        features=[name for name, kept in zip(data.features, observed, strict=True) if kept],
        left_out=data.left_out | never,
        at_us=at_us,
        train=values[:first, observed],
        train_high=high[:first],
        validation=values[first:, observed],
        validation_high=high[first:],
    )
