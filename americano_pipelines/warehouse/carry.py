"""Tables whose file is not there this time (parquet mode) stay as they were published.

Here belongs only that: finding them in the published file and making sure that it still is what was published.
"""

import duckdb

from americano_pipelines import sql
from americano_pipelines.errors import DataError
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.contracts import BY_NAME
from americano_pipelines.sources.tables import SourceTable
from americano_pipelines.warehouse import publish
from americano_pipelines.warehouse.document import Document
from americano_pipelines.warehouse.inputs import CarriedInput, TableInput
from americano_pipelines.warehouse.source import Source

_PREVIOUS = "published_before"


def carried_over(
    settings: Settings, connection: duckdb.DuckDBPyConnection, before: Document | None, source: Source
) -> dict[str, TableInput]:
    """Tables whose file is not there this time (parquet mode) stay as they were published.

    Raises:
        DataError: the published file is not as it was published, so nothing is carried over from it.
    """
    now = publish.current(settings)
    if settings.mode is not Mode.PARQUET or before is None or now is None:
        return {}
    names = [name for name in before.tables if name not in source.inputs]
    if not names:
        return {}
    if not publish.is_intact(now, before):
        raise DataError(
            f"{now} was written to after it was published, so {', '.join(names)} cannot be carried over from it: "
            f"{'; '.join(source.skipped[name] for name in names)}. Put the files back and run the sync again"
        )
    connection.execute(f"ATTACH '{sql.escape(str(now))}' AS {_PREVIOUS} (READ_ONLY)")
    carried: dict[str, TableInput] = {}
    for name in names:
        built = before.tables[name]
        table = SourceTable(BY_NAME[name], built.found_as, tuple(built.columns), built.roles)
        carried[name] = CarriedInput(table, built.state_sha256, _PREVIOUS)
    return carried
