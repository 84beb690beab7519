"""List the published protocols, and find one by its id, its name or a part of either."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import one_line
from americano_pipelines.warehouse.snapshots import current, open_published

_MAX_LISTED = 20


@dataclass(frozen=True)
class PublishedProtocol:
    """A protocol of the published file.

    Attributes:
        protocol_id: its id.
        name: its name, None where it has none.
        design: its design, such as ABAB.
        outcome: the events column that is its primary outcome.
        starts_at: when its first phase starts, UTC without a time zone; None where that is not known.
        ends_at: when its last phase ends, likewise.
    """

    protocol_id: str
    name: str | None = None
    design: str | None = None
    outcome: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def title(self) -> str:
        """Its name, or its id where it has none."""
        return self.name or self.protocol_id

    @property
    def days(self) -> int | None:
        """Whole days from its start to its end, None where one of them is not known."""
        return None if self.starts_at is None or self.ends_at is None else (self.ends_at - self.starts_at).days

    def status(self, moment: datetime) -> str:
        """Whether it has started and ended at a time, UTC without a time zone."""
        if self.starts_at is not None and moment < self.starts_at:
            return "not started"
        return "running" if self.ends_at is None or moment < self.ends_at else "ended"


def published_protocols(connection: duckdb.DuckDBPyConnection) -> list[PublishedProtocol]:
    """The protocols of an open published file, by their start; none where it has no `research.protocols`."""
    try:
        rows = connection.execute(sql.load("warehouse", "list_protocols")).fetchall()
    except duckdb.CatalogException:
        return []
    try:
        phases = connection.execute(sql.load("warehouse", "list_windows")).fetchall()
    except duckdb.CatalogException:
        phases = []
    windows = {protocol_id: window for protocol_id, *window in phases}
    protocols = []
    for protocol_id, name, design, outcome, *stated in rows:
        starts_at, ends_at = (
            at if isinstance(at, datetime) else other
            for at, other in zip(windows.get(protocol_id, stated), stated, strict=True)
        )
        protocols.append(PublishedProtocol(protocol_id, name, design, outcome, starts_at, ends_at))
    return protocols


def read_protocols(settings: Settings) -> list[PublishedProtocol]:
    """The published protocols; none where nothing is published.

    Raises:
        WarehouseUnavailableError: a process holds the published file read-write.
    """
    if current(settings.paths) is None:
        return []
    with open_published(settings) as connection:
        return published_protocols(connection)


def find_protocol(protocols: Sequence[PublishedProtocol], text: str) -> PublishedProtocol:
    """Find the protocol that a text means: its id, its name, the beginning of its id or a part of its name.

    Case does not matter, except that an id as it is written comes first.

    Raises:
        AnalysisError: none matches, or several do; the message lists names and ids.
    """
    key = text.casefold()
    named = [protocol for protocol in protocols if (protocol.name or "").casefold() == key]
    partly = [
        protocol
        for protocol in protocols
        if protocol.protocol_id.casefold().startswith(key) or key in (protocol.name or "").casefold()
    ]
    for matching in (
        [protocol for protocol in protocols if protocol.protocol_id == text],
        # An empty variable of a shell means no protocol, not the one without a name.
        named if key else [],
        partly if key else [],
    ):
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise AnalysisError(
                f"{len(matching)} protocols match {text!r}; give more of the name, or the id:\n{_listed(matching)}"
            )
    if not protocols:
        raise AnalysisError(f"no protocol matches {text!r}: none is published")
    raise AnalysisError(f"no protocol matches {text!r}; there are:\n{_listed(protocols)}")


def protocol_ids(protocols: Sequence[PublishedProtocol], texts: Iterable[str]) -> list[str]:
    """The ids of the protocols that some texts mean, each a name, an id or a part of one.

    Raises:
        AnalysisError: a text means none, or several.
    """
    return [find_protocol(protocols, text).protocol_id for text in texts]


def _listed(protocols: Iterable[PublishedProtocol]) -> str:
    listed = list(protocols)
    lines = [f"  {protocol.protocol_id}  {one_line(protocol.name or '')}".rstrip() for protocol in listed]
    more = len(lines) - _MAX_LISTED
    return "\n".join(
        lines[:_MAX_LISTED] + ([f"  and {more} more; `americano protocols` lists all"] if more > 0 else [])
    )
