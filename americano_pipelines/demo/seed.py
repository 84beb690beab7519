"""Fill an empty database with the schema, the roles and the demo's rows, in one transaction."""

import csv
import io
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from psycopg2 import sql

from americano_pipelines.errors import AmericanoError

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor

    from americano_pipelines.demo.data.tables import Table


TABLES = ("behavioral_events", "experiment_protocols", "phase_assignments", "analysis_runs")
_LOCK = 7_236_120  # any fixed number: two processes that seed one database at once take turns


class SeedError(AmericanoError):
    """The database holds something else than the demo, or only a part of it."""


@dataclass(frozen=True)
class SeedResult:
    """What seeding did.

    Attributes:
        created: The schema and the rows are new; False when they were there already and nothing was changed.
        rows: Rows that each table has now.
    """

    created: bool
    rows: dict[str, int]


def seed(session: "connection") -> SeedResult:
    """Create schema, roles and rows, unless they are there.

    Args:
        session: A connection as superuser, outside any transaction.

    Returns:
        Whether anything was created, and the rows of each table.

    Raises:
        SeedError: If there are tables of these names without the demo's protocols in them.
    """
    with session, session.cursor() as run:
        run.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        created = not _is_seeded(run)
        if created:
            _create(run)
        return SeedResult(created, {table: _count(run, table) for table in TABLES})


def _is_seeded(run: "cursor") -> bool:
    run.execute("SELECT name FROM unnest(%s) AS name WHERE to_regclass(name) IS NOT NULL", (list(TABLES),))
    tables = [name for (name,) in run.fetchall()]
    if not tables:
        return False
    if len(tables) < len(TABLES) or not _count(run, "experiment_protocols"):
        raise SeedError(f"the database has {', '.join(tables)} already, but not the demo's rows: nothing was changed")
    return True


def _create(run: "cursor") -> None:
    from americano_pipelines.demo.data.generator import generate  # needs numpy: `down` and `env` do not

    run.execute(_script("schema.sql"))
    for table in generate():
        _load(run, table)
    run.execute(_script("indexes.sql"))
    for name in TABLES:
        run.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(name)))


def _load(run: "cursor", table: "Table") -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(table.rows)
    text.seek(0)
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    run.copy_expert(sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(sql.Identifier(table.name), columns), text)


def _count(run: "cursor", table: str) -> int:
    run.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
    row = run.fetchone()
    return int(row[0]) if row else 0


def _script(name: str) -> str:
    return files("americano_pipelines.demo").joinpath(name).read_text(encoding="utf-8")
