"""Prepare a data folder for tests whose analyses run in processes of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from americano_pipelines.defs.dagster_instance import prepare_home
from americano_pipelines.defs.protocol_partitions import PROTOCOLS
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.prisma_database import link_url
from americano_pipelines_tests.sync.support import sync


def prepare_analyses(
    prisma: Database, settings_for: Callable[..., Settings], empty_store: Path
) -> tuple[dict[str, Any], Settings]:
    """Prepare a data folder in which an analysis can run; return the variables of its processes and its settings."""
    # Four phases of 14 days as planned; without these the analysis has no test.
    prisma.execute("UPDATE experiment_protocols SET \"endDate\" = '2025-03-07'")
    values = prisma.variables(analysis_runs_database_url=link_url(prisma))
    settings = settings_for(**values)
    sync(settings)
    (settings.paths.root / "mlflow").mkdir()
    (settings.paths.root / "mlflow" / "mlflow.db").write_bytes(empty_store.read_bytes())
    with dg.DagsterInstance.from_config(str(prepare_home(settings))) as instance:
        instance.add_dynamic_partitions(str(PROTOCOLS.name), ["protocol_0", "protocol_1"])
    return values, settings
