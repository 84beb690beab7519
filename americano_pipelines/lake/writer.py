"""Write the rows of a table into finished Parquet files of the lake."""

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from americano_pipelines.common import atomic_files, sql
from americano_pipelines.common.duckdb_session import memory_limit
from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.errors import DataError
from americano_pipelines.lake.manifest import Bucket, LakeFile, LakeTable
from americano_pipelines.sources.change_detection import NO_MONTH, WHOLE, State, bucket_expression, bucket_filter
from americano_pipelines.sources.checksums import BucketChecksum
from americano_pipelines.sources.postgres_catalog import PostgresTable
from americano_pipelines.sources.postgres_errors import postgres_errors
from americano_pipelines.sources.postgres_snapshot import Snapshot
from americano_pipelines.sources.row_widths import Reading, memory_bounded, plan_reading

_BUCKET_COLUMN = "americano_bucket"
_ROWS = "americano_rows"
# A partitioned COPY keeps buffers for every bucket and thread: with 512 MB it ran out at 200 months on 4 threads
# and at 400 on 2 (15 columns). A few rows with wild times are enough for hundreds of months.
MAX_BUCKETS_AT_ONCE = 48
# Rows that each thread holds for a partitioned COPY before it writes them: one row group. With DuckDB's default of
# 524288 the COPY of 5 M rows took 8.4 s instead of 7.1 s.
_FLUSH_ROWS = 122_880
# Of the memory limit, for the wide rows that a thread holds before it writes them, and for one row group. With 122880
# rows of 750 bytes on two threads the COPY held 841 MB, and failed, at 512 MB; with 10000 rows 543 MB.
_FLUSH_SHARE = 32


class Writer:
    """Writes the tables of one export, in one snapshot.

    Attributes:
        snapshot_id: the export; part of every file's name, so that no file of an older export is overwritten.
    """

    def __init__(self, lake: Path, staging: Path, snapshot: Snapshot, snapshot_id: str) -> None:
        """Take the folders and the snapshot.

        Args:
            lake: the lake's folder.
            staging: a temporary folder in it, for files that are being written.
            snapshot: the snapshot.
            snapshot_id: the export.
        """
        self.snapshot_id = snapshot_id
        self._lake = lake
        self._snapshot = snapshot
        self._staging = staging
        # Which row comes first in a file does not matter, and keeping the heap's order costs memory.
        snapshot.connection.execute("SET preserve_insertion_order = false")
        self._row_group = ""

    def table(
        self,
        table: PostgresTable,
        state: Mapping[str, State],
        figures: Mapping[str, BucketChecksum],
        kept: LakeTable | None,
        stale: Collection[str],
    ) -> LakeTable:
        """Export the stale buckets of a table and take over the others.

        Args:
            table: the table as found.
            state: its state in the snapshot.
            figures: the figures of its stale buckets in the snapshot.
            kept: its content in the lake, in the same schema; None when there is none.
            stale: buckets that differ from the lake's; the source no longer has those that the state lacks.

        Raises:
            SourceError: the source cannot be read.
            DataError: a bucket's files hold other rows than Postgres counted.
        """
        exported = [name for name in state if name in stale]
        files = self._export(table, state, exported)
        buckets = {name: bucket for name, bucket in (kept.buckets if kept else {}).items() if name not in stale}
        for name in exported:
            rows = sum(file.rows for file in files.get(name, []))
            if rows != state[name].rows:
                raise DataError(
                    f"{table.found_as}, {name}: {rows} rows were exported, but Postgres counted {state[name].rows} "
                    "in the same snapshot. Nothing was kept"
                )
            buckets[name] = Bucket(
                rows=rows, fingerprint=state[name].fingerprint, figures=figures[name], files=files.get(name, [])
            )
        return LakeTable(
            found_as=table.found_as,
            columns=list(table.columns),
            roles=dict(table.roles),
            identity=table.identity,
            schema_sha256=table.schema_sha256,
            snapshot_id=self.snapshot_id,
            buckets=dict(sorted(buckets.items())),
        )

    def _export(
        self, table: PostgresTable, state: Mapping[str, State], exported: Collection[str]
    ) -> dict[str, list[LakeFile]]:
        if not exported:
            return {}
        folder = self._staging / table.name
        with ExitStack() as bounds, postgres_errors(self._snapshot.target, table.found_as):
            reading = plan_reading(self._snapshot, table, state, exported)
            bounds.enter_context(memory_bounded(self._snapshot, table, reading))
            self._bound(reading)
            if not reading.in_ranges and len(exported) > MAX_BUCKETS_AT_ONCE:
                self._copy_in_groups(table, *reading.ranges[0], sorted(exported), folder)
            else:
                for number, chunk in enumerate(reading.ranges):
                    self._copy(table, *chunk, folder / str(number))
        files: dict[str, list[LakeFile]] = {}
        for staged in sorted(folder.rglob("*.parquet")):
            name = self._bucket(table, staged.parent.name.partition("=")[2])
            part = len(files.setdefault(name, []))
            files[name].append(self._move_into_lake(staged, table.name, name, part))
        if uncounted := files.keys() - set(exported):
            raise DataError(f"{table.found_as}: {', '.join(uncounted)} exported, but Postgres counted no such rows")
        return files

    def _bound(self, reading: Reading) -> None:
        """Bound what the partitioned COPY holds before it writes, by the width of the rows."""
        connection = self._snapshot.connection
        rows = _FLUSH_ROWS
        self._row_group = ""
        if reading.is_wide:
            share = memory_limit(connection) // _FLUSH_SHARE
            # A range is held whole: its rows fit into memory, and may be a few of a megabyte among thousands.
            rows = rows if reading.in_ranges else min(rows, max(1, share // reading.average))
            # Not in steps of 2,048, as the number of rows: a row may be of a megabyte.
            # A dictionary of values of a megabyte costs another copy of them.
            self._row_group = (
                f", ROW_GROUP_SIZE_BYTES {share}{', DICTIONARY_SIZE_LIMIT 1' if reading.in_ranges else ''}"
            )
        connection.execute(f"SET partitioned_write_flush_threshold = {rows}")

    def _copy(self, table: PostgresTable, relation: str, parameters: list[str], folder: Path) -> None:
        """Write a relation into one file (or a few) for each bucket."""
        folder.mkdir(parents=True)
        statement = sql.render(
            sql.load("lake", "export"),
            bucket=bucket_expression(table),
            bucket_column=sql.quote(_BUCKET_COLUMN),
            relation=relation,
            folder=sql.escape(str(folder)),
            row_group=self._row_group,
        )
        self._snapshot.connection.execute(statement, parameters)

    def _copy_in_groups(
        self, table: PostgresTable, relation: str, parameters: list[str], names: list[str], folder: Path
    ) -> None:
        """Read once into a table that may spill to disk, and write that in groups of buckets."""
        connection = self._snapshot.connection
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {_ROWS} AS FROM {relation}", parameters)
        for start in range(0, len(names), MAX_BUCKETS_AT_ONCE):
            where = bucket_filter(table, names[start : start + MAX_BUCKETS_AT_ONCE])
            self._copy(table, f"(FROM {_ROWS} WHERE {where})", [], folder / str(start))
        connection.execute(f"DROP TABLE {_ROWS}")

    @staticmethod
    def _bucket(table: PostgresTable, first_day: str) -> str:
        """The bucket whose folder DuckDB named by the month's first day, or by `__...` where there is no month."""
        if first_day.startswith("__"):
            return NO_MONTH if table.contract.by_month else WHOLE
        return first_day[: len("2024-01")]

    def _move_into_lake(self, staged: Path, table: str, bucket: str, part: int) -> LakeFile:
        """Move a finished file to its place."""
        target = self._lake / table / bucket / f"{self.snapshot_id}-{part}.parquet"
        query = "SELECT num_rows FROM parquet_file_metadata($1)"
        (rows,) = self._snapshot.connection.execute(query, [sql.literal_path(staged)]).fetchone() or (0,)
        atomic_files.move(staged, target)
        return LakeFile(
            path=target.relative_to(self._lake).as_posix(),
            rows=rows,
            bytes=target.stat().st_size,
            sha256=file_sha256(target),
        )
