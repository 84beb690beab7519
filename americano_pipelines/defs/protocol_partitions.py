"""Keep the dynamic partitions of the analyses: one for each published protocol and group, updated by every sync.

https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets#dynamic-partitions
"""

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
    existing = set(instance.get_dynamic_partitions(_GROUPS))
    if added := sorted(groups.keys() - existing):
        instance.add_dynamic_partitions(_GROUPS, added)
    for group in sorted(existing - groups.keys()):
        instance.delete_dynamic_partition(_GROUPS, group)
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
    existing = set(partitions(instance))
    added, removed = sorted(published - existing), sorted(existing - published)
    if added:
        instance.add_dynamic_partitions(_NAME, added)
    for protocol_id in removed:
        instance.delete_dynamic_partition(_NAME, protocol_id)
    return added, removed


def refusals(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The published protocols that can have no partition, each with the reason.

    Args:
        connection: the published file, open, with `research.protocols`.
    """
    rows = connection.execute("SELECT DISTINCT protocol_id FROM research.protocols WHERE protocol_id = ''").fetchall()
    reason = "the protocol's id is empty, and Dagster knows an analysis by it: give the protocol an id in the source"
    return {str(protocol_id): reason for (protocol_id,) in rows}
