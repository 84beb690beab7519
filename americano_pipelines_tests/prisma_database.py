"""The app's database as the link sees it: the role of `deploy/link_role.sql`, and looking at rows as superuser."""

from typing import Any

from americano_pipelines.app_database.matching import RowMatcher
from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines_tests.conftest import Database

ROLE = (PROJECT_ROOT / "deploy" / "link_role.sql").read_text()
MIGRATION = (PROJECT_ROOT / "migrations" / "001_analysis_run_links.sql").read_text()

# What all rows of `prisma_rows.sql` ask for, of whatever protocol.
ABAB = RowMatcher(None, "abab_randomization", "ABAB_RANDOMIZATION")


def link_url(prisma: Database) -> str:
    """Make the role, twice as an administrator may, and give the address for ANALYSIS_RUNS_DATABASE_URL."""
    prisma.execute(ROLE)
    prisma.execute(ROLE)
    prisma.execute("ALTER ROLE americano_link PASSWORD 'l''ink'")
    return f"postgresql://americano_link:l%27ink@127.0.0.1:{prisma.server.postgres.port}/{prisma.name}"


def row(prisma: Database, name: str = "run_0", columns: str = 'status::text, "errorMessage"') -> tuple[Any, ...]:
    """Columns of a row, as it is."""
    return prisma.execute(f"SELECT {columns} FROM analysis_runs WHERE id = %s", (name,))[0]
