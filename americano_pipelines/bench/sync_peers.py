"""Time other ways to copy the same rows, where they are installed: pandas, dlt with pyarrow, dlt with connectorx.

Time each copy alone, and with what a sync also does: Parquet, an ordered table with rollups, and a comparison.
"""

import os
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import duckdb

from americano_pipelines.bench.dataset import Dataset
from americano_pipelines.common import sql
from americano_pipelines.demo.postgres.cluster import SUPERUSER
from americano_pipelines.errors import DataError

_CHUNK_ROWS = 100_000
_TABLE = "behavioral_events"


def peers() -> dict[str, Callable[[Dataset, Path], None]]:
    """Each peer that is installed, with the function that copies the table to a Parquet file."""
    copies: dict[str, tuple[tuple[str, ...], Callable[[Dataset, Path], None]]] = {
        "pandas": (("pandas", "pyarrow"), _copy_by_pandas),
        "dlt with pyarrow": (("dlt", "pyarrow"), partial(_copy_by_dlt, backend="pyarrow")),
        "dlt with connectorx": (("dlt", "connectorx"), partial(_copy_by_dlt, backend="connectorx")),
    }
    return {name: copy for name, (modules, copy) in copies.items() if all(find_spec(module) for module in modules)}


def time_peer(data: Dataset, name: str) -> tuple[float, float]:
    """Seconds of a peer: of the copy alone, and until the same result as that of a sync.

    Raises:
        DataError: its copy has other rows in a month than Postgres.
    """
    target = data.folder / f"peer-{name.replace(' ', '-')}.parquet"
    database = target.with_suffix(".duckdb")
    started = time.perf_counter()
    peers()[name](data, target)
    copied = time.perf_counter() - started
    if not target.exists():
        with duckdb.connect(database) as connection:
            connection.execute(f"COPY peer.{_TABLE} TO '{sql.escape(str(target))}' (FORMAT parquet, COMPRESSION zstd)")
        database.unlink()
    with duckdb.connect(database) as connection:
        connection.execute(sql.load("bench", "bare_load"), [str(target)])
        connection.execute(sql.load("bench", "bare_rest"))
        copy = connection.execute(sql.render(sql.load("bench", "rows_by_month"), relation="events")).fetchall()
    with closing(data.connect()) as postgres, postgres.cursor() as cursor:
        cursor.execute(sql.render(sql.load("bench", "rows_by_month"), relation=_TABLE))
        if copy != cursor.fetchall():
            raise DataError(f"{name}: its copy has other rows or times in a month than Postgres")
    return copied, time.perf_counter() - started


def _copy_by_pandas(data: Dataset, target: Path) -> None:
    import warnings

    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    with closing(data.connect()) as connection, warnings.catch_warnings():
        # pandas warns of every connection that is not SQLAlchemy's.
        warnings.simplefilter("ignore")
        connection.autocommit = False
        writer: pq.ParquetWriter | None = None
        schema: pa.Schema | None = None
        with connection.cursor("peer") as cursor:
            cursor.execute(f'SELECT *, "eventData"::text AS event_data FROM {_TABLE}')  # noqa: S608 - a constant
            while rows := cursor.fetchmany(_CHUNK_ROWS):
                names = [column.name for column in cursor.description or ()]
                frame = pd.DataFrame(rows, columns=names).drop(columns="eventData")
                table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
                schema = table.schema
                writer = writer or pq.ParquetWriter(target, schema, compression="zstd")
                writer.write_table(table)
        if writer is not None:
            writer.close()


def _copy_by_dlt(data: Dataset, target: Path, *, backend: str) -> None:
    # Its own settings: no report to its makers, and columns under their own names.
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "SCHEMA__NAMING": "direct", "RUNTIME__LOG_LEVEL": "ERROR"}
    import dlt
    from dlt.sources.sql_database import sql_table

    host, port = data.postgres.host, data.postgres.port
    table = sql_table(
        credentials=f"postgresql+psycopg2://{SUPERUSER}@/postgres?host={quote(host)}&port={port}",
        table=_TABLE,
        backend=backend,
        chunk_size=_CHUNK_ROWS,
        backend_kwargs={"conn": f"postgresql://{SUPERUSER}@{quote(host, safe='')}:{port}/postgres"}
        if backend == "connectorx"
        else {},
    )
    pipeline = dlt.pipeline(
        "peer",
        destination=dlt.destinations.duckdb(str(target.with_suffix(".duckdb"))),
        dataset_name="peer",
        pipelines_dir=str(data.folder / "dlt"),
    )
    pipeline.run(table)
