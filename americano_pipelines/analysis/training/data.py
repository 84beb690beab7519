"""What the training demo learns from: scored events and what was known before each, as one canonical document.

Here belongs reading it out of the published file, with a hash of its own. Whose event a row is is not in it, but who is
among them: so whoever is erased is found. What is learned from it is `model.py`.
"""

import hashlib
import json
from typing import Literal

import duckdb
from pydantic import BaseModel, ConfigDict

from americano_pipelines import sql
from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import EVENTS
from americano_pipelines.sources.tables import SourceTable
from americano_pipelines.warehouse.document import Document
from americano_pipelines.warehouse.models import role_value

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
_NUMBERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("FLOAT", "DOUBLE", "DECIMAL"),
)


class TrainingData(BaseModel):
    """What a model is trained and validated on, in order of time.

    Attributes:
        version: of this format.
        outcome: the events column that holds the scores.
        features: names of the features.
        left_out: features that are not there, with the reason.
        available: scored events in the snapshot, of which these rows are the latest.
        learners: pseudonyms of those whose events these are, sorted.
        times_us: when each event happened, microseconds since 1970 UTC, ascending; shape (rows,).
        scores: its score, in the outcome's own unit; shape (rows,).
        rows: its features; None where undefined, such as a mean of nothing; shape (rows, features).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """The one text of these contents: JSON with sorted keys and no spaces, numbers as Python writes them."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def parse(cls, text: bytes) -> "TrainingData":
        """The data of a canonical text."""
        return cls.model_validate_json(text)

    @property
    def sha256(self) -> str:
        """Hash of the canonical text."""
        return hashlib.sha256(self.canonical()).hexdigest()


def training_statement(document: Document) -> tuple[str, str]:
    """The statement that reads the rows, its one value being the most of them, and the column with the scores.

    Raises:
        AnalysisError: the published file has no events, or no column with scores among them.
    """
    built = document.tables.get(EVENTS.name)
    if built is None:
        raise AnalysisError(f"snapshot {document.snapshot_id} has no {EVENTS.name} to learn from")
    numbers = {_key(column.name): column.name for column in built.columns if column.type.startswith(_NUMBERS)}
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
    connection: duckdb.DuckDBPyConnection, settings: Settings, document: Document, *, max_rows: int = MAX_ROWS
) -> TrainingData:
    """Read the latest scored events and what was known before each.

    Args:
        connection: the published file, open for reading.
        settings: the data folder, whose key makes the pseudonyms.
        document: the file's record.
        max_rows: the most rows.

    Raises:
        AnalysisError: there is no column with scores.
    """
    statement, outcome = training_statement(document)
    found = connection.execute(statement, [max_rows]).fetchall()
    played = document.tables[EVENTS.name].roles
    left_out = {
        name: f"no column plays the role {role}" for name, role in FEATURES.items() if role and role not in played
    }
    kept = [place for place, name in enumerate(FEATURES) if name not in left_out]
    return TrainingData(
        outcome=outcome,
        features=[name for name in FEATURES if name not in left_out],
        left_out=left_out,
        available=found[0][0] if found else 0,
        learners=sorted(pseudonym(settings, learner) for learner in {row[3] for row in found} if learner is not None),
        times_us=[row[1] for row in found],
        scores=[row[2] for row in found],
        rows=[[row[4 + place] for place in kept] for row in found],
    )


def _key(name: str) -> str:
    return name.replace("_", "").casefold()
