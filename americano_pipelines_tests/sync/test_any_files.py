"""Any external files, one after the other: their rows are published, or the sync explains why not."""

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
    with duckdb.connect(str(settings.paths.published), read_only=True) as connection:
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


def day(number: int, **changed: Any) -> File:
    """A file of a day as the others are, but for what is changed."""
    usual: dict[str, Any] = {
        "folder": "", "learner": "user_id", "time": "ts", "extra": "x", "kind": "int64", "learner_kind": "text",
        "rows": (number, number + 1),
    }  # fmt: skip
    return File(**usual | changed)


# What the files of later days may have become. Each is published whole, beside the first file and without it.
DRIFTS: dict[str, tuple[File, File]] = {
    "a column added": (day(1, extra=None), day(2)),
    "a column dropped": (day(1), day(2, extra=None)),
    "a column in other letters": (day(1), day(2, extra="X")),
    "the learner renamed": (day(1), day(2, learner="learner_id")),
    "the learner in other letters": (day(1), day(2, learner="userId")),
    "the time renamed": (day(1), day(2, time="event_time")),
    "no type": (day(1), day(2, kind="null")),
    "no type at first": (day(1, kind="null"), day(2)),
    "a learner of no type": (day(1), day(2, learner_kind="null")),
    "another type without values": (day(1, kind="text"), day(2, kind="no values")),
    "lists without elements": (day(1, kind="lists"), day(2, kind="empty lists")),
    "no rows": (day(1), day(2, rows=())),
    "no rows at first": (day(1, rows=(), kind="text"), day(2)),
    "no rows and other columns": (day(1), day(2, rows=(), learner="pupil", extra=None)),
    "no rows in either": (day(1, rows=()), day(2, rows=(), learner=None, kind="text")),
    "another folder": (day(1, folder="phase=A"), day(2, folder="phase=007")),
}
# These are refused, and published when the second file is gone.
REFUSED: dict[str, tuple[File, File]] = {
    "another type": (day(1), day(2, kind="text")),
    "a wider type": (day(1, kind="int32"), day(2)),
    "a learner of another type": (day(1), day(2, learner_kind="int64")),
    "no learner": (day(1), day(2, learner=None)),
    "a learner of an unknown name": (day(1), day(2, learner="pupil")),
    "a folder key": (day(1), day(2, folder="phase=A")),
}


@pytest.mark.parametrize("files", DRIFTS.values(), ids=DRIFTS)
def test_each_kind_of_drift_is_published_whole(tmp_path: Path, files: tuple[File, File]) -> None:
    first, second = files
    outcomes: Counter[str] = Counter()

    follow([[first], [first, second], [second, first], [second]], tmp_path, outcomes)

    assert outcomes == {"published": 4}


@pytest.mark.parametrize("files", REFUSED.values(), ids=REFUSED)
def test_files_that_do_not_agree_are_refused_and_leave_what_was_published(
    tmp_path: Path, files: tuple[File, File]
) -> None:
    first, second = files
    outcomes: Counter[str] = Counter()

    follow([[first], [first, second], [first]], tmp_path, outcomes)

    assert outcomes == {"published": 2, "refused": 1}


@pytest.mark.parametrize("examples", [4], ids=["some"])
@pytest.mark.timeout(600)
def test_published_rows_are_what_another_reader_sees_or_refused(examples: int) -> None:
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
