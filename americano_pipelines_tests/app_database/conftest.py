"""What the tests of tracking share: the app's database as the link sees it."""

from collections.abc import Callable

import pytest

from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.prisma_database import link_url


@pytest.fixture
def target(prisma: Database, settings_for: Callable[..., Settings]) -> PostgresTarget:
    """The app's database as the role that the script makes."""
    app = settings_for(analysis_runs_database_url=link_url(prisma)).app
    assert app is not None
    return app
