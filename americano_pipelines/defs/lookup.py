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
def dagsters_memory(settings: Settings) -> Iterator[Callable[[Record], str | None]]:
    """For the block, a function that gives the hash in the metadata of a record's materialization.

    It gives None when Dagster has no such materialization, or no home here.

    Raises:
        RoomError: Dagster's records cannot be opened.
    """
    if not settings.dagster_dir.is_dir():
        yield lambda _: None
        return
    with open_instance(settings) as instance:
        yield lambda record: recorded_hash(instance, record)


def recorded_hash(instance: dg.DagsterInstance, record: Record) -> str | None:
    """The hash in the metadata of the last materialization of a record's asset and partition in its Dagster run."""
    by = record.orchestrator
    events = instance.get_records_for_run(str(by["dagster_run_id"]), of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    found = None
    for one in events.records:
        made = one.asset_materialization
        if made is None or (made.asset_key.to_user_string(), made.partition) != (by["asset_key"], by["partition"]):
            continue
        value = made.metadata.get(HASH)
        found = str(value.value) if value is not None else None
    return found
