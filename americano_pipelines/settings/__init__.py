"""Settings: every environment variable, typed, checked once, and what follows from them."""

from americano_pipelines.settings.environment import (
    IS_CLONE,
    PACKAGE,
    PROJECT_FILES,
    PROJECT_ROOT,
    LearnerIndex,
    unknown_variables,
)
from americano_pipelines.settings.paths import DataFolder
from americano_pipelines.settings.postgres_url import PostgresTarget, split_table
from americano_pipelines.settings.settings import Mode, Settings, load_settings, redact
from americano_pipelines.settings.value_checks import group_id

__all__ = [
    "IS_CLONE",
    "PACKAGE",
    "PROJECT_FILES",
    "PROJECT_ROOT",
    "DataFolder",
    "LearnerIndex",
    "Mode",
    "PostgresTarget",
    "Settings",
    "group_id",
    "load_settings",
    "redact",
    "split_table",
    "unknown_variables",
]
