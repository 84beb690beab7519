"""Keep the dynamic partitions of the analyses: one for each published protocol and group, updated by every sync.

https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets#dynamic-partitions
"""

from collections.abc import Collection

import dagster as dg
import duckdb

PROTOCOLS = dg.DynamicPartitionsDefinition(name="protocols")
GROUPS = dg.DynamicPartitionsDefinition(name="groups")
_NAME, _GROUPS = "protocols", "groups"


def partitions(instance: dg.DagsterInstance) -> list[str]:
    """The protocols that have a partition."""
    return sorted(instance.get_dynamic_partitions(_NAME))


def sync_group_partitions(instance: dg.DagsterInstance, connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Make the partitions of groups equal to the groups of a published file.

    Args:
        instance: Dagster's.
        connection: the published file, open, with `research.phases`.

    Returns:
        Each group with the ids of its protocols.
    """
    from americano_pipelines.analysis.group_extract import published_groups

    groups = published_groups(connection)
    _sync_partitions(instance, _GROUPS, groups.keys())
    return groups


def sync_protocol_partitions(
    instance: dg.DagsterInstance, connection: duckdb.DuckDBPyConnection
) -> tuple[list[str], list[str]]:
    """Make the partitions equal to the protocols of a published file.

    Materializations of a removed partition stay in Dagster's records.

    Args:
        instance: Dagster's.
        connection: the published file, open, with `research.protocols`.

    Returns:
        The partitions that were added, and those that were removed.
    """
    rows = connection.execute("SELECT DISTINCT protocol_id FROM research.protocols WHERE protocol_id IS NOT NULL")
    # For Dagster an empty name means no partition: `refusals` reports such a protocol.
    published = {str(protocol_id) for (protocol_id,) in rows.fetchall()} - {""}
    return _sync_partitions(instance, _NAME, published)


def _sync_partitions(instance: dg.DagsterInstance, name: str, keys: Collection[str]) -> tuple[list[str], list[str]]:
    """Make the partitions of a definition equal to what is published; those that were added, and removed."""
    existing = set(instance.get_dynamic_partitions(name))
    added, removed = sorted(set(keys) - existing), sorted(existing - set(keys))
    if added:
        instance.add_dynamic_partitions(name, added)
    for key in removed:
        instance.delete_dynamic_partition(name, key)
    return added, removed


def refusals(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The published protocols that can have no partition, each with the reason.

    Args:
        connection: the published file, open, with `research.protocols`.
    """
    rows = connection.execute("SELECT DISTINCT protocol_id FROM research.protocols WHERE protocol_id = ''").fetchall()
    reason = "the protocol's id is empty, and Dagster knows an analysis by it: give the protocol an id in the source"
    return {str(protocol_id): reason for (protocol_id,) in rows}
