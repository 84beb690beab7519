"""The app's database, reached with the role that the link uses."""

from collections.abc import Callable

import pytest

from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.prisma_database import link_url


@pytest.fixture
def target(prisma: Database, settings_for: Callable[..., Settings]) -> PostgresTarget:
    """The app's database as the role of `deploy/link_role.sql`."""
    target = settings_for(analysis_runs_database_url=link_url(prisma)).app
    assert target is not None
    return target
