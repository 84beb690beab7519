"""Describe and read the extract of a group: the extracts of all protocols whose plans declare the same group."""

# The phases of each protocol declare it beside the plan, in `interventionParams.analysis.group`.

import json
from collections.abc import Sequence
from typing import Literal

import duckdb

from americano_pipelines.analysis.extract import BaseExtract, Extract, TableRead
from americano_pipelines.analysis.extract_reading import read_extract
from americano_pipelines.analysis.registry import COMBINED, MULTIPLE_BASELINE
from americano_pipelines.common import sql
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.plan_history import declared_group
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

MULTIPLE_BASELINE_DESIGN = "MULTIPLE_BASELINE"


class BaseGroupExtract(BaseExtract):
    """What the extracts of all analyses of a group have.

    Attributes:
        group: the group's key.
        outcome: the events column that is the outcome of all protocols.
        learners: pseudonyms of the learners, sorted; a purge finds them here.
        protocols: the extracts of its protocols, by id.
    """

    group: str
    outcome: str
    learners: list[str]
    protocols: list[Extract]

    @property
    def members(self) -> Sequence[Extract]:
        """The extracts of its protocols."""
        return self.protocols

    @property
    def title(self) -> str:
        """The group in words."""
        return group_title(self.group)

    @property
    def protocol_sha256(self) -> str:
        """Hash of all protocols."""
        return sha256_hex(canonical_json([extract.protocol.model_dump(mode="json") for extract in self.protocols]))

    @property
    def phases_sha256(self) -> str:
        """Hash of the phases of all protocols."""
        phases = [[phase.model_dump(mode="json") for phase in extract.phases] for extract in self.protocols]
        return sha256_hex(canonical_json(phases))

    def reads(self, document: SnapshotRecord) -> list[TableRead]:
        """Of each table what was read for all protocols: the statement once, with what was bound each time."""
        by_table = zip(*(extract.reads(document) for extract in self.protocols), strict=True)
        return [_joined(reads) for reads in by_table]


class GroupExtract(BaseGroupExtract):
    """The exact input of an analysis of the days of a group.

    Attributes:
        version: version of this format.
    """

    version: Literal[1] = 1

    def canonical(self) -> bytes:
        """The canonical text of these contents; an outcome may be NaN."""
        return canonical_json(self.model_dump(), allow_nan=True)

    @classmethod
    def parse(cls, text: bytes) -> "GroupExtract":
        """Parse a canonical text."""
        return cls.model_validate(json.loads(text))

    @property
    def outcomes(self) -> Sequence[float | None]:
        """The outcome of each event of all protocols."""
        return [value for extract in self.protocols for value in extract.values]


def distinct_titles(members: Sequence[Extract]) -> list[str]:
    """The names of protocols; where several learners have one of the same name, with its id."""
    titles = [member.title for member in members]
    return [
        title if titles.count(title) == 1 else f"{title} ({member.protocol.protocol_id})"
        for title, member in zip(titles, members, strict=True)
    ]


def group_title(group: str) -> str:
    """A group in words."""
    return f"group {group}"


def _joined(reads: Sequence[TableRead]) -> TableRead:
    first = reads[0]
    bound = [read.query.partition("\n-- $1 = ")[2] for read in reads]
    query = first.query.partition("\n-- $1 = ")[0] + "".join(f"\n-- $1 = {text}" for text in bound)
    times = sorted(time for read in reads for time in read.times_us)
    return TableRead(first.table, first.columns, first.instant, sum(read.rows for read in reads), times, query)


def published_groups(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Each group that a published file declares, with the ids of its protocols, both sorted.

    A protocol belongs to every group that one of its phases names. Where they name different ones, its analysis reports
    that.
    """
    has_phases = connection.execute(
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'research' AND table_name = 'phases'"
    ).fetchone()
    if has_phases == (0,):
        return {}
    groups: dict[str, set[str]] = {}
    for protocol_id, text in connection.execute(sql.load("analysis", "group_phases")).fetchall():
        if key := declared_group(text):
            groups.setdefault(key, set()).add(protocol_id)
    return {key: sorted(groups[key]) for key in sorted(groups)}


def planned_kinds(connection: duckdb.DuckDBPyConnection, protocol_ids: Sequence[str]) -> list[str]:
    """The analyses of groups that the designs of these published protocols call for."""
    (multiple,) = connection.execute(sql.load("analysis", "group_designs"), [list(protocol_ids)]).fetchone() or (False,)
    return [MULTIPLE_BASELINE if multiple else COMBINED]


def read_group(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    document: SnapshotRecord,
    group: str,
    outcome: str | None,
    *,
    with_events: bool = True,
) -> GroupExtract:
    """Read the extract of a group.

    Args:
        connection: the published file, open for reading.
        settings: the data folder, whose key makes the pseudonyms.
        document: the file's record.
        group: the group's key.
        outcome: the events column that is the outcome; None for the primary outcome of the protocols.
        with_events: whether the events are read, and not the protocols and their phases alone.

    Raises:
        AnalysisError: no protocol declares the group, one cannot be read, or they have different outcomes.
    """
    if not {"phases", "protocols"} <= document.models.keys():
        raise AnalysisError(f"snapshot {document.snapshot_id} has no protocols with phases, and so no groups")
    protocol_ids = published_groups(connection).get(group)
    if protocol_ids is None:
        raise AnalysisError(
            f"no protocol in snapshot {document.snapshot_id} declares the group {group!r} in "
            "interventionParams.analysis.group of its phases"
        )
    extracts = [
        read_extract(connection, settings, document, name, outcome, with_events=with_events) for name in protocol_ids
    ]
    if len(outcomes := {extract.outcome for extract in extracts}) > 1:
        raise AnalysisError(
            f"the protocols of {group_title(group)} have different outcomes, {', '.join(sorted(outcomes))}: name one "
            "for all in the configuration"
        )
    return GroupExtract(
        group=group,
        outcome=extracts[0].outcome,
        learners=sorted({extract.protocol.learner for extract in extracts}),
        protocols=extracts,
    )
