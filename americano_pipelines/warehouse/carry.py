"""Tables whose file is not there this time (parquet mode) stay as they were published.

Here belongs only that: which they are, and getting at their rows.
"""

from collections.abc import Collection
from pathlib import Path

import duckdb

from americano_pipelines import sql
from americano_pipelines.errors import DataError
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.contracts import BY_NAME
from americano_pipelines.sources.tables import SourceTable
from americano_pipelines.warehouse import publish
from americano_pipelines.warehouse.document import Document
from americano_pipelines.warehouse.file_inputs import CarriedInput
from americano_pipelines.warehouse.inputs import TableInput
from americano_pipelines.warehouse.source import Source

_PREVIOUS = "published_before"


def carried_over(settings: Settings, before: Document | None, source: Source) -> dict[str, TableInput]:
    """The tables that were published before and that the source does not offer this time."""
    if before is None or {settings.mode.value, before.content.mode} != {Mode.PARQUET.value}:
        return {}
    carried: dict[str, TableInput] = {}
    for name, built in before.tables.items():
        if name not in source.inputs and built.found_as == str(settings.parquet_input(name)):
            table = SourceTable(BY_NAME[name], built.found_as, tuple(built.columns), built.roles)
            carried[name] = CarriedInput(table, built.state_sha256, _PREVIOUS, built.instant)
    return carried


def attach_published(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    now: Path,
    before: Document,
    carried: Collection[str],
    source: Source,
) -> None:
    """Attach the published file for the tables that are carried over from it.

    Raises:
        DataError: it is not as it was published, so nothing is carried over from it.
    """
    copy = publish.copy_of_published(settings, now, before)
    if copy is None:
        raise DataError(
            f"{now} was written to after it was published, so {', '.join(carried)} cannot be carried over from it: "
            f"{'; '.join(source.skipped[name] for name in carried)}. Put the files back and run the sync again"
        )
    connection.execute(f"ATTACH '{sql.escape(str(copy))}' AS {_PREVIOUS} (READ_ONLY)")
