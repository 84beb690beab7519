"""Keep published files open for requests: the current one and kept earlier ones, each closed after its last use.

Files are opened by their real path, read-only, in a session that reaches no other file and whose settings are locked.
"""

import os
import re
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import connect_to_read
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import AmericanoError
from americano_pipelines.serving.learner_tenants import TenantMapping, load_tenants
from americano_pipelines.serving.problem_details import Problem, not_found, unavailable
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord
from americano_pipelines.warehouse.snapshots import current, file_name, record_beside

LINK_CHECK_SECONDS = 0.25
_IDLE_KEPT = 2
_ATTEMPTS = 5
_SNAPSHOT_ID = re.compile("[0-9A-Za-z-]{1,80}")
_Stamp = tuple[int, int, tuple[int, int] | None]


@dataclass(eq=False)
class OpenSnapshot:
    """A published file that is open.

    Attributes:
        record: its record.
        path: the file.
        identity: hash of the file, the tenants and what else decides which rows a principal sees in it.
        connection: the session; each request takes a cursor of it.
        relations: names in `research` and `meta` that it has.
        stamp: device, inode and, of a mapping's file, size and time.
        uses: requests that read it.
        used_at: the end of the last use, of the monotonic clock.
        visible_subjects: what is known to be visible, with the scope that it is visible to.
    """

    record: SnapshotRecord
    path: Path
    identity: str
    connection: duckdb.DuckDBPyConnection
    relations: frozenset[str]
    stamp: _Stamp
    sessions: ExitStack
    uses: int = 0
    used_at: float = field(default_factory=time.monotonic)
    visible_subjects: set[tuple[Any, ...]] = field(default_factory=set)

    @property
    def instant(self) -> datetime:
        """The instant of the source that it holds."""
        return datetime.fromisoformat(self.record.instant)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A session of its own on the same file."""
        cursor = self.connection.cursor()
        cursor.execute(f"USE {sql.quote(self.path.stem)}")
        return cursor


class PublishedPool:
    """The open files."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._mapping = TenantMapping.configured(settings.americano_tenants)
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._open: dict[Path, OpenSnapshot] = {}
        self._retired: list[OpenSnapshot] = []
        self._current: OpenSnapshot | None = None
        self._link_checked_at = float("-inf")
        self.closed = 0
        """How many files were closed since the start."""

    @property
    def files(self) -> int:
        """How many files are open."""
        return len(self._open) + len(self._retired)

    def lease_quickly(self) -> OpenSnapshot | None:
        """The current file, if the link was followed a moment ago; counts as a use."""
        with self._lock:
            if self._current is None or time.monotonic() - self._link_checked_at > LINK_CHECK_SECONDS:
                return None
            self._current.uses += 1
            return self._current

    def lease(self, snapshot_id: str | None = None) -> OpenSnapshot:
        """Open a file, or find it open; counts as a use that `release` ends.

        Args:
            snapshot_id: a kept snapshot; None for the current one.

        Raises:
            Problem: 404, no such snapshot is kept; 503, nothing is published or it cannot be opened.
        """
        # One thread opens; the others wait, and then find it open.
        with self._opening:
            for _ in range(_ATTEMPTS):
                path = self._path(snapshot_id)
                try:
                    snapshot = self._opened(path)
                except FileNotFoundError:
                    continue  # another file was published and this one swept meanwhile
                except (duckdb.Error, AmericanoError) as error:
                    if not path.exists():
                        continue
                    raise unavailable(f"the published file cannot be opened: {str(error).splitlines()[0]}") from None
                with self._lock:
                    snapshot.uses += 1
                    if snapshot_id is None:
                        self._current, self._link_checked_at = snapshot, time.monotonic()
                self._retire()
                return snapshot
        raise unavailable("the published file is being replaced")

    def release(self, snapshot: OpenSnapshot) -> None:
        """End a use."""
        with self._lock:
            snapshot.uses -= 1
            snapshot.used_at = time.monotonic()
        if snapshot in self._retired:
            self._retire()

    def follow_link(self) -> None:
        """Follow the link and close what was replaced or purged, also without requests."""
        with suppress(Problem):
            self.release(self.lease())
        self._retire()

    def close(self) -> None:
        """Close all files."""
        for snapshot in [*self._open.values(), *self._retired]:
            snapshot.sessions.close()
        self._open, self._retired, self._current = {}, [], None

    def _path(self, snapshot_id: str | None) -> Path:
        if snapshot_id is None:
            path = current(self._settings.paths)
            if path is None:
                raise unavailable("nothing is published yet; run `americano sync`")
            return path
        if not _SNAPSHOT_ID.fullmatch(snapshot_id):
            raise not_found("snapshot")
        path = self._settings.paths.snapshots / snapshot_id / file_name(self._settings.paths)
        if not path.is_file():
            raise not_found("snapshot")
        return Path(os.path.realpath(path))

    def _opened(self, path: Path) -> OpenSnapshot:
        status = path.stat()
        stamp = (status.st_dev, status.st_ino, self._mapping.stamp if self._mapping else None)
        with self._lock:
            snapshot = self._open.get(path)
            if snapshot is not None and snapshot.stamp == stamp:
                return snapshot
        fresh = self._open_file(path, stamp)
        with self._lock:
            if snapshot is not None:
                self._retired.append(snapshot)
            self._open[path] = fresh
        return fresh

    def _open_file(self, path: Path, stamp: _Stamp) -> OpenSnapshot:
        record = record_beside(path)
        with ExitStack() as sessions:
            connection = sessions.enter_context(connect_to_read(self._settings, path))
            tenants = load_tenants(connection, self._mapping, record.tables)
            connection.execute(sql.load("serving", "recorded_rows"))
            relations = connection.execute(sql.load("serving", "relations")).fetchall()
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            identity = sha256_hex(f"{record.snapshot_id} {record.sha256} {tenants}".encode())
            names = frozenset(str(row[0]) for row in relations)
            return OpenSnapshot(record, path, identity, connection, names, stamp, sessions.pop_all())

    def _retire(self) -> None:
        """Close what is unused: files that are gone or replaced, and all but the last used of the earlier ones."""
        with self._lock:
            others = [snapshot for snapshot in self._open.values() if snapshot is not self._current]
            others.sort(key=lambda snapshot: snapshot.used_at, reverse=True)
            for index, snapshot in enumerate(others):
                if index >= _IDLE_KEPT or not snapshot.path.exists():
                    self._retired.append(self._open.pop(snapshot.path))
            closing = [snapshot for snapshot in self._retired if snapshot.uses == 0]
            self._retired = [snapshot for snapshot in self._retired if snapshot.uses > 0]
        for snapshot in closing:
            snapshot.sessions.close()
        self.closed += len(closing)
