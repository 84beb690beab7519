"""The entry that Dagster loads: the definitions for the settings of this environment.

`defs/` is not searched for definitions, so what `dg scaffold` writes there does nothing until
`defs/code_location.py` names it.
"""

import dagster as dg

from americano_pipelines.common.file_permissions import restrict
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.settings import load_settings


@dg.definitions
def defs() -> dg.Definitions:
    """Build the definitions; restrict first what this process writes.

    Raises:
        ConfigError: a setting is wrong.
    """
    settings = load_settings()
    restrict(settings.americano_group)
    return build_defs(settings)
