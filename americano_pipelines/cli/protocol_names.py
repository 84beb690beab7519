"""Read the names of the published protocols for commands that show or take them."""

from collections.abc import Iterable

from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.published_protocols import PublishedProtocol, find_protocol, published_protocols
from americano_pipelines.warehouse.snapshots import current, open_published


def read_protocols(settings: Settings) -> list[PublishedProtocol]:
    """The published protocols; none where nothing is published.

    Raises:
        WarehouseUnavailableError: a process holds the published file read-write.
    """
    if current(settings) is None:
        return []
    with open_published(settings) as connection:
        return published_protocols(connection)


def protocol_ids(protocols: Iterable[PublishedProtocol], texts: Iterable[str]) -> list[str]:
    """The ids of the protocols that some texts mean, each a name, an id or a part of one.

    Raises:
        AnalysisError: a text means none, or several.
    """
    listed = list(protocols)
    return [find_protocol(listed, text).protocol_id for text in texts]
