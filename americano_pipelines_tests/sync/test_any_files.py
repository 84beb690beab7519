"""Any files of others, one after the other: their rows are published, or the sync explains why not."""

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from americano_pipelines.errors import SourceError
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.sync.support import sync

TIME = datetime(2024, 3, 1)  # noqa: DTZ001 - such files say nothing of zones
LEARNERS = ("user_id", "userId", "learner_id", "LEARNER_ID", "pupil")
VALUES: dict[str, tuple[Any, list[Any]]] = {
    "int32": (pa.int32(), [1, -(2**31), None]),
    "int64": (pa.int64(), [2**53 + 1, 2**62, None]),
    "uint64": (pa.uint64(), [2**64 - 1]),
    "double": (pa.float64(), [0.1, 7.0, None]),
    "no values": (pa.float64(), [None]),
    "null": (pa.null(), [None]),
    "text": (pa.string(), ["7", "", "é", None]),
    "bytes": (pa.binary(), [b"\xff", None]),
    "instants": (pa.timestamp("ns", "UTC"), [5_000, 5_001, None]),
    "local": (pa.timestamp("ns"), [5_001, None]),
    "lists": (pa.list_(pa.int64()), [[1, None], [], None]),
    "empty lists": (pa.list_(pa.null()), [[], None]),
    "wide": (pa.decimal256(40, 2), [None]),
    "single": (pa.float32(), [0.1, -0.0, None]),
    "flags": (pa.bool_(), [True, False, None]),
    "days": (pa.date32(), [TIME.date(), None]),
    "money": (pa.decimal128(10, 2), [Decimal("1.10"), None]),
    "finer money": (pa.decimal128(12, 4), [Decimal("1.1001"), None]),
}


@dataclass(frozen=True)
class File:
    """A file that another program wrote: its folder, what its columns are called, and its rows."""

    folder: str
    learner: str | None
    time: str
    extra: str | None
    kind: str
    learner_kind: str
    rows: tuple[int, ...]


FILES = st.builds(
    File,
    folder=st.sampled_from([""] * 8 + ["phase=A", "phase=007", "phase=7", "phase=a%20b", "phase=2024-01-01"]),
    learner=st.sampled_from([*["user_id"] * 5, *LEARNERS, None]),
    time=st.sampled_from([*["ts"] * 8, "TS", "event_time", "timestamp"]),
    extra=st.sampled_from(["x", "x", "x", "X", None]),
    kind=st.sampled_from([*["int64"] * 8, *VALUES]),
    learner_kind=st.sampled_from([*["text"] * 6, "int64", "null", "no values"]),
    rows=st.lists(st.integers(0, 11), max_size=3).map(tuple),
)
HISTORIES = st.lists(st.lists(FILES, min_size=1, max_size=3), min_size=1, max_size=3)


def write(path: Path, number: int, file: File) -> None:
    """Write it, with ids that no other file has."""
    columns = {"id": pa.array([f"{number}-{at}" for at in range(len(file.rows))], pa.string())}
    columns[file.time] = pa.array([TIME] * len(file.rows), pa.timestamp("us"))
    for name, kind in ((file.learner, file.learner_kind), (file.extra, file.kind)):
        if name is not None:
            data_type, values = VALUES[kind]
            columns[name] = pa.array([values[row % len(values)] for row in file.rows], data_type)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, write_page_checksum=number % 2 == 0)


def rows_of(path: Path, folder: Path, names: set[str]) -> list[tuple[Any, ...]]:
    """The rows of a file by another reader: id, learner, phase and the further column."""
    table = pq.ParquetFile(path).read()
    columns = {name.casefold(): name for name in table.column_names}
    learner = next((columns[name] for name in ("learner_id", "user_id", "userid") if name in columns), None)
    parts = [part.partition("=")[2] for part in path.relative_to(folder).parts if "=" in part]
    phase = unquote(parts[0]) if parts else None
    values = []
    for at in range(table.num_rows):
        who = table[learner][at].as_py() if learner else None
        extra = _plain(table[columns["x"]][at]) if "x" in columns and "x" in names else None
        values.append((table["id"][at].as_py(), None if who is None else str(who), phase, extra))
    return values


def _plain(scalar: Any) -> Any:
    value = scalar.value if pa.types.is_timestamp(scalar.type) else scalar.as_py()
    # As another scale writes it.
    return value.normalize() if isinstance(value, Decimal) else value


def published(settings: Settings) -> list[tuple[Any, ...]]:
    """The same of the published file."""
    with duckdb.connect(str(settings.published_path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        columns = {
            row[0].casefold(): row for row in connection.execute("DESCRIBE analytics.behavioral_events").fetchall()
        }
        extra = "NULL"
        if "x" in columns:
            name, kind = columns["x"][:2]
            extra = f"epoch_ns(mirror.{name})" if kind.startswith("TIMESTAMP") else f"mirror.{name}"
        phase = "CAST(mirror.phase AS VARCHAR)" if "phase" in columns else "NULL"
        rows = connection.execute(
            f"SELECT events.event_id, events.learner_id, {phase}, {extra} FROM research.events "
            "JOIN analytics.behavioral_events AS mirror ON mirror.id = events.event_id"
        ).fetchall()
    return [(*row[:3], row[3].normalize() if isinstance(row[3], Decimal) else row[3]) for row in rows]


def follow(history: list[list[File]], folder: Path, outcomes: Counter[str]) -> None:
    """Put each state of the folder there and sync."""
    place = folder / "in"
    place.mkdir()
    settings = load_settings(americano_data_dir=folder / "data", behavioral_events_parquet=str(place))
    expected: list[tuple[Any, ...]] | None = None
    for files in history:
        shutil.rmtree(place)
        paths = [place / file.folder / f"{number}.parquet" for number, file in enumerate(files)]
        for number, (path, file) in enumerate(zip(paths, files, strict=True)):
            write(path, number, file)
        message = None
        try:
            outcome = sync(settings)
        except SourceError as refusal:
            message = str(refusal)
        if message is not None:
            outcomes["refused"] += 1
            assert any(str(path) in message for path in paths), message
            shapes = {(f.folder == "", f.learner, f.time, f.extra, f.kind, f.learner_kind) for f in files if f.rows}
            assert len(shapes) > 1 or any(f.kind in {"instants", "wide"} for f in files), f"files that agree: {message}"
        else:
            outcomes["published"] += 1
            assert outcome.blocked_by == []
            expected = [row for path in paths for row in rows_of(path, place, {"x"})]
            learners = {f.learner for f in files if f.rows}
            assert "pupil" not in learners or learners <= {"pupil", None}, "an unknown name beside a known one"
        if expected is not None:
            assert sorted(published(settings), key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize("examples", [4], ids=["some"])
@pytest.mark.timeout(600)
def test_what_is_published_is_what_another_reader_sees_or_the_sync_says_why_not(examples: int) -> None:
    outcomes: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(HISTORIES)
    def follows(history: list[list[File]]) -> None:
        folder = Path(tempfile.mkdtemp(prefix="files-"))
        try:
            follow(history, folder, outcomes)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    follows()
    assert outcomes["published"] > examples / 4
    assert outcomes["refused"] > 0
