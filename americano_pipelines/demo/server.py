"""Run the demo's own server under the data folder, and give the settings that point at it."""

from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import errors, sql

from americano_pipelines.demo.postgres.cluster import SUPERUSER
from americano_pipelines.demo.postgres.embedded import EmbeddedPostgres
from americano_pipelines.demo.seed import SeedResult, seed
from americano_pipelines.settings import PROJECT_FILES
from americano_pipelines.settings.paths import DEMO_SERVER

DATABASE = "americano"
SYNC_ROLE = "americano_sync"
# As the app's administrator would make it; each time again, because a demo may be older than the role.
LINK_ROLE, LINK_ROLE_SCRIPT = "americano_link", PROJECT_FILES / "deploy" / "link_role.sql"


class DemoServer:
    """An embedded Postgres at `<data_dir>/postgres` whose database `americano` holds the demo data."""

    def __init__(self, data_dir: Path) -> None:
        """Describe the server of one data folder; nothing is started yet."""
        self.postgres = EmbeddedPostgres(data_dir / DEMO_SERVER)

    def up(self) -> SeedResult:
        """Start the server if it does not run, and seed the database if it is not there.

        Returns:
            Whether the data are new, and the rows of each table.

        Raises:
            EmbeddedPostgresError: If the server does not start.
            SeedError: If the database holds something else.
        """
        self.postgres.start()
        self._create_database()
        with closing(self._connect(DATABASE)) as connection:
            seeded = seed(connection)
            with connection, connection.cursor() as cursor:
                cursor.execute(LINK_ROLE_SCRIPT.read_text(encoding="utf-8"))
            return seeded

    def down(self) -> None:
        """Stop the server; its data stay."""
        self.postgres.stop()

    def is_running(self) -> bool:
        """Whether the server is alive."""
        return self.postgres.is_running()

    def environment(self) -> dict[str, str]:
        """The settings that point at this server: a role that may only read, and one for analysis runs."""
        return {
            "PG_HOST": self.postgres.host,
            "PG_PORT": str(self.postgres.port),
            "PG_USER": SYNC_ROLE,
            "PG_PASSWORD": "",
            "PG_DATABASE": DATABASE,
            "ANALYSIS_RUNS_DATABASE_URL": (
                f"postgresql://{LINK_ROLE}@:{self.postgres.port}/{DATABASE}?host={quote(self.postgres.host)}"
            ),
        }

    def _create_database(self) -> None:
        with closing(self._connect("postgres")) as connection:
            connection.autocommit = True  # CREATE DATABASE refuses to run in a transaction
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.rowcount:
                    return
                try:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
                except (errors.DuplicateDatabase, errors.UniqueViolation):
                    return  # another process was faster

    def _connect(self, database: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host=self.postgres.host, port=self.postgres.port, user=SUPERUSER, dbname=database, connect_timeout=10
        )
