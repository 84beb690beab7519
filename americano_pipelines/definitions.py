"""The entry that Dagster loads: the definitions for the settings of this environment."""

from americano_pipelines.common.file_permissions import restrict
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.settings import load_settings

_settings = load_settings()
restrict(_settings)
defs = build_defs(_settings)
