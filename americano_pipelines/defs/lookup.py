"""What Dagster remembers of a recorded analysis.

Here belongs reading the data folder's instance for those who may not import Dagster.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from americano_pipelines.defs.analysis_metadata import HASH
from americano_pipelines.defs.instance import open_instance
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.record import Record


@contextmanager
def dagsters_memory(settings: Settings) -> Iterator[Callable[[Record], list[str]]]:
    """For the block, a function that gives the hashes in the metadata of a record's materializations.

    It gives none when Dagster has no such materialization, or no home here.

    Raises:
        RoomError: Dagster's records cannot be opened.
    """
    if not settings.dagster_dir.is_dir():
        yield lambda _: []
        return
    with open_instance(settings) as instance:
        yield lambda record: recorded_hashes(instance, record)


def recorded_hashes(instance: dg.DagsterInstance, record: Record) -> list[str]:
    """The hashes in the metadata of all materializations of a record's asset and partition by its Dagster run."""
    by = record.orchestrator
    events = instance.get_records_for_run(str(by["dagster_run_id"]), of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    found = []
    for one in events.records:
        made = one.asset_materialization
        if made is None or (made.asset_key.to_user_string(), made.partition) != (by["asset_key"], by["partition"]):
            continue
        if (value := made.metadata.get(HASH)) is not None:
            found.append(str(value.value))
    return found
