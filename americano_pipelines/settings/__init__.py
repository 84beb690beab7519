"""Settings: every environment variable, typed, checked once, and what follows from them."""

from americano_pipelines.settings.postgres_target import PostgresTarget, split_table
from americano_pipelines.settings.resolved import Mode, Settings, load_settings, redact
from americano_pipelines.settings.variables import PROJECT_ROOT, group_id

__all__ = ["PROJECT_ROOT", "Mode", "PostgresTarget", "Settings", "group_id", "load_settings", "redact", "split_table"]
