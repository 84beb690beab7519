"""Create the benchmark's Postgres: an embedded server with one large events table, removed afterwards."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from americano_pipelines.common import sql
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.common.temporary_folders import temporary_folder
from americano_pipelines.demo.postgres.cluster import SUPERUSER
from americano_pipelines.demo.postgres.embedded import EmbeddedPostgres
from americano_pipelines.settings import Settings, load_settings


@dataclass(frozen=True)
class Dataset:
    """A folder of its own with a server and the settings that point at it.

    Attributes:
        folder: everything the benchmark writes is below it.
        postgres: the server.
        rows: rows of the events table.
    """

    folder: Path
    postgres: EmbeddedPostgres
    rows: int

    def settings(self, base: Settings) -> Settings:
        """The caller's memory limit and threads, this folder and this server."""
        return load_settings(
            americano_data_dir=self.folder / "data",
            americano_memory_limit=base.americano_memory_limit,
            americano_threads=base.americano_threads,
            database_url=None,
            pg_host=self.postgres.host,
            pg_port=self.postgres.port,
            pg_user=SUPERUSER,
            pg_password="",
            pg_database="postgres",
        )

    def execute(self, statement: str) -> None:
        """Run SQL in the benchmark's database."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def connect(self) -> "psycopg2.extensions.connection":
        """An autocommitting connection."""
        connection = psycopg2.connect(
            host=self.postgres.host, port=self.postgres.port, user=SUPERUSER, dbname="postgres"
        )
        connection.autocommit = True
        return connection


@contextmanager
def dataset(base: Settings, rows: int, stages: StageTimer) -> Iterator[Dataset]:
    """Make the server and its rows for the block; stop and remove them afterwards.

    Args:
        base: the data folder to work under.
        rows: rows of the events table.
        stages: counts and announces what is being done.
    """
    with temporary_folder(base.paths.root, "bench") as folder, ExitStack() as at_end:
        postgres = EmbeddedPostgres(
            folder / "postgres", server_settings={"max_wal_size": "8GB", "shared_buffers": "256MB"}
        )
        at_end.callback(postgres.stop)
        with stages.stage("start Postgres"):
            postgres.start()
        created = Dataset(folder, postgres, rows)
        with stages.stage(f"make {rows:,} rows"):
            created.execute(sql.render(sql.load("bench", "events"), rows=str(rows)))
            created.execute("VACUUM ANALYZE behavioral_events")
        yield created
