"""Index the provenance records: find those of a protocol, a run or a row without opening every file."""

# The index is a cache. A file whose size or change time differs from its entry is read again, so an index that is
# missing, stale or damaged costs time and hides no record. One that somebody edited is found by the chain of records.

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from americano_pipelines.analysis.plan_compliance import Standing
from americano_pipelines.common import sql
from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.provenance.archive import get
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import DataFolder

INDEX = "index.sqlite3"
# Version of the table in record_index.sql: an index of another version is built anew.
_VERSION = 6
# Another analysis writes one row: longer than this the lock is held by something that hangs.
_LOCK_SECONDS = 5.0

Column = Literal[
    "sha256",
    "protocol_id",
    "group_key",
    "mlflow_run_id",
    "analysis_run_id",
    "dagster_run_id",
    "readable",
    "snapshot_id",
]


@dataclass(frozen=True)
class KeyNumbers:
    """The key numbers of a randomization test, each None where it is undefined.

    Attributes:
        effect: the tested difference, treatment minus baseline, in units of the outcome.
        interval_low: lower end of its two-sided interval, None where it is unbounded.
        interval_high: upper end, likewise.
        p: p of the test.
    """

    effect: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    p: float | None = None


# The metrics of a run that are its key numbers, in their order.
_KEY_METRICS = ("observed", "interval_low", "interval_high", "p")


@dataclass(frozen=True)
class IndexEntry:
    """What the index holds of one record file.

    Attributes:
        sha256: the file's name.
        bytes: its size.
        changed_ns: its change time (ctime, nanoseconds since 1970), which no program can set back.
        readable: whether it is an intact record; if not, all that follows is None.
        analysis: which analysis.
        protocol_id: of which protocol, None for an analysis of none.
        mlflow_run_id: the MLflow run.
        mlflow_url: its page, None where MLflow has no pages.
        analysis_run_id: the app's row, None without one.
        dagster_run_id: the Dagster run.
        started_at: ISO 8601, UTC.
        ended_at: likewise.
        verdict: the verdict's state, None for an analysis that judges nothing.
        standing: what it is to the plan of its protocol, None for one that no protocol plans.
        sentence: the result in words.
        effect: as in `KeyNumbers`, None also for an analysis that tests nothing.
        interval_low: likewise.
        interval_high: likewise.
        p: likewise.
        snapshot_id: the snapshot that its extract was read from, None without inputs.
        chain_number: its place among all records of the archive, None in one from before records were chained.
        chain_previous: hash of the record before it in the chain, None for the first.
        chain_listing: hash over the records before it in the chain, None in one from before there was this hash.
        group_key: of which group of protocols, None for an analysis of none.
    """

    sha256: str
    bytes: int
    changed_ns: int
    readable: bool
    analysis: str | None = None
    protocol_id: str | None = None
    mlflow_run_id: str | None = None
    mlflow_url: str | None = None
    analysis_run_id: str | None = None
    dagster_run_id: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    verdict: str | None = None
    standing: Standing | None = None
    sentence: str | None = None
    effect: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    p: float | None = None
    snapshot_id: str | None = None
    chain_number: int | None = None
    chain_previous: str | None = None
    chain_listing: str | None = None
    group_key: str | None = None

    @property
    def numbers(self) -> KeyNumbers:
        """Its key numbers."""
        return KeyNumbers(self.effect, self.interval_low, self.interval_high, self.p)


_COLUMNS = ", ".join(field.name for field in fields(IndexEntry))
_INSERT = f"INSERT OR REPLACE INTO entries VALUES ({', '.join('?' * len(fields(IndexEntry)))})"  # noqa: S608 - only ?


def find_entries(paths: DataFolder, column: Column, *values: str | bool) -> list[IndexEntry]:
    """The entries of record files with one of some values in a column, in the order of their end; writes nothing."""
    statement = f"SELECT {_COLUMNS} FROM entries WHERE {sql.quote(column)} = ?"  # noqa: S608 - a constant
    with open_entries(paths) as connection:
        entries = [_entry(row) for value in values for row in connection.execute(statement, (value,))]
    return sorted(entries, key=lambda entry: entry.ended_at or "")


def newest_entries(paths: DataFolder, limit: int | None = None) -> list[IndexEntry]:
    """The entries of intact records, newest first, at most `limit` of them; writes nothing."""
    with open_entries(paths) as connection:
        statement = f"SELECT {_COLUMNS} FROM entries WHERE readable ORDER BY started_at DESC LIMIT ?"  # noqa: S608
        return [_entry(row) for row in connection.execute(statement, (-1 if limit is None else limit,))]


def all_entries(paths: DataFolder, *, from_files: bool = False) -> list[IndexEntry]:
    """The entries of all record files, intact or not; writes nothing.

    Args:
        paths: whose archive.
        from_files: read every file and ignore the index.
    """
    if from_files:
        return list(_read(paths, _present(paths), {}))
    with open_entries(paths) as connection:
        return [_entry(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM entries")]  # noqa: S608 - a constant


def read_entry(paths: DataFolder, sha256: str) -> IndexEntry | None:
    """The entry of one record file as the file is now, whatever the index has; None where there is no such file."""
    try:
        status = (paths.records / f"{sha256}.json").stat()
    except FileNotFoundError:
        return None
    return _entry_of_file(paths, sha256, status.st_size, status.st_ctime_ns)


def find_records(paths: DataFolder, column: Column, *values: str) -> list[tuple[str, Record]]:
    """The intact records with one of some values in a column, with their hashes, in the order of their end.

    Each is read from its file, and its hash checked; writes nothing.
    """
    matching = []
    for entry in find_entries(paths, column, *values):
        with suppress(TamperedError, AnalysisError, OSError):
            matching.append((entry.sha256, Record.parse(get(paths.records, entry.sha256))))
    return matching


def discard_index(paths: DataFolder) -> None:
    """Remove the index; readers then read the files."""
    (paths.records / INDEX).unlink(missing_ok=True)


def update_index(paths: DataFolder) -> None:
    """Write the entries of new and changed files, and remove those of files that are gone.

    An index that cannot be written is left as it is: readers then read the files that it lacks.
    """
    path = paths.records / INDEX
    try:
        _update(path, paths)
    except sqlite3.OperationalError:
        return  # another process holds the lock, or the disk is full
    except sqlite3.DatabaseError:
        # No database any more, such as after a power cut.
        path.unlink(missing_ok=True)
        with suppress(sqlite3.Error):
            _update(path, paths)


def _update(path: Path, paths: DataFolder) -> None:
    with closing(sqlite3.connect(path, timeout=_LOCK_SECONDS)) as connection:
        if connection.execute("PRAGMA user_version").fetchone() != (_VERSION,):
            connection.execute("DROP TABLE IF EXISTS entries")
            connection.executescript(sql.load("provenance", "record_index"))
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            known, present = _known(connection, "main"), _present(paths)
            connection.executemany("DELETE FROM entries WHERE sha256 = ?", [(name,) for name in known - present.keys()])
            connection.executemany(_INSERT, map(astuple, _read(paths, present, known)))


@contextmanager
def open_entries(paths: DataFolder) -> Iterator[sqlite3.Connection]:
    """A connection in whose view `entries` every record file has a row, as the file is now; writes nothing."""
    with closing(sqlite3.connect("file::memory:", uri=True)) as connection:
        known = _attach(connection, paths.records / INDEX)
        present = _present(paths)
        connection.executescript(sql.load("provenance", "record_index"))
        connection.executemany(_INSERT, map(astuple, _read(paths, present, known)))
        if known:
            stale = [(name,) for name in known if present.get(name) != known[name]]
            connection.execute("CREATE TEMP TABLE stale (sha256 TEXT PRIMARY KEY)")
            connection.executemany("INSERT INTO stale VALUES (?)", stale)
            connection.execute(
                "CREATE TEMP VIEW entries AS SELECT * FROM main.entries "
                "UNION ALL SELECT * FROM stored.entries WHERE sha256 NOT IN (SELECT sha256 FROM stale)"
            )
        yield connection


def _attach(connection: sqlite3.Connection, path: Path) -> dict[str, tuple[int, int]]:
    """Attach the index as it lies on disk; empty where there is none that can be used."""
    if not path.exists():
        return {}
    try:
        connection.execute("ATTACH ? AS stored", (f"file:{quote(str(path))}?mode=ro",))
        if connection.execute("PRAGMA stored.user_version").fetchone() == (_VERSION,):
            return _known(connection, "stored")
    except sqlite3.Error:
        pass  # damaged, or its writer was killed in the middle
    return {}


def _known(connection: sqlite3.Connection, schema: str) -> dict[str, tuple[int, int]]:
    """Hash to size and change time of every entry."""
    rows = connection.execute(f"SELECT sha256, bytes, changed_ns FROM {schema}.entries")  # noqa: S608 - a constant
    return {sha256: (size, changed_ns) for sha256, size, changed_ns in rows}


def _present(paths: DataFolder) -> dict[str, tuple[int, int]]:
    """Hash to size and change time of every file, intact or not."""
    present = {}
    with suppress(FileNotFoundError), os.scandir(paths.records) as files:
        for file in files:
            if file.name.endswith(".json") and not file.name.startswith("."):
                status = file.stat()
                present[file.name.removesuffix(".json")] = status.st_size, status.st_ctime_ns
    return present


def _read(
    paths: DataFolder, present: dict[str, tuple[int, int]], known: dict[str, tuple[int, int]]
) -> Iterator[IndexEntry]:
    """The entries of files that the index lacks or that changed since."""
    for sha256, state in present.items():
        if known.get(sha256) != state:
            yield _entry_of_file(paths, sha256, *state)


def _entry_of_file(paths: DataFolder, sha256: str, size: int, changed_ns: int) -> IndexEntry:
    try:
        record = Record.parse(get(paths.records, sha256))
    except (TamperedError, AnalysisError, OSError):
        return IndexEntry(sha256, size, changed_ns, readable=False)
    identity = record.identity
    metrics = {name: points[-1][1] for name, points in record.logged.metrics.items() if points}
    return IndexEntry(
        sha256,
        size,
        changed_ns,
        readable=True,
        analysis=identity.analysis,
        protocol_id=identity.protocol_id,
        mlflow_run_id=record.tracking["run_id"],
        mlflow_url=record.tracking["url"],
        analysis_run_id=identity.analysis_run_id,
        dagster_run_id=record.orchestrator["dagster_run_id"],
        started_at=identity.started_at,
        ended_at=identity.ended_at,
        verdict=record.verdict,
        standing=None if record.standing is None else record.standing.label,
        sentence=record.sentence,
        **asdict(KeyNumbers(*map(metrics.get, _KEY_METRICS))),
        snapshot_id=record.inputs[0].snapshot_id if record.inputs else None,
        chain_number=None if record.chain is None else record.chain.number,
        chain_previous=None if record.chain is None else record.chain.previous,
        chain_listing=None if record.chain is None else record.chain.listing,
        group_key=identity.group,
    )


def _entry(row: tuple[object, ...]) -> IndexEntry:
    """An entry from a row of the table; sqlite has no booleans."""
    values = dict(zip((field.name for field in fields(IndexEntry)), row, strict=True))
    values["readable"] = bool(values["readable"])
    return IndexEntry(**values)  # type: ignore[arg-type]
