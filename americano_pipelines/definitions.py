"""The entry that Dagster loads: the definitions for the settings of this environment."""

from americano_pipelines.defs.build import build_defs
from americano_pipelines.settings import load_settings

defs = build_defs(load_settings())
