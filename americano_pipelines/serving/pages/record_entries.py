"""Look up records in their index, in a thread: the imports alone take half a second."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from americano_pipelines.errors import AnalysisError
from americano_pipelines.serving.problem_details import Problem
from americano_pipelines.settings import DataFolder

if TYPE_CHECKING:
    from americano_pipelines.provenance.comparison import ComparedValue
    from americano_pipelines.provenance.record_index import IndexEntry


def best(paths: DataFolder) -> "dict[str, IndexEntry]":
    """The index entry of the record that decides each protocol's verdict."""
    from americano_pipelines.provenance.verdict_listing import list_verdicts

    listed = list_verdicts(paths, [])
    return {verdict.protocol.protocol_id: verdict.entry for verdict in listed if verdict.entry is not None}


def of_protocol(paths: DataFolder, protocol_id: str) -> "list[IndexEntry]":
    """The entries of a protocol, in the order of their end."""
    from americano_pipelines.provenance.record_index import find_entries

    return [entry for entry in find_entries(paths, "protocol_id", protocol_id) if entry.readable]


def of_run(paths: DataFolder, analysis_run_id: str) -> "list[IndexEntry]":
    """The entries of a row of the app, in the order of their end."""
    from americano_pipelines.provenance.record_index import find_entries

    return find_entries(paths, "analysis_run_id", analysis_run_id)


def newest(paths: DataFolder) -> "list[IndexEntry]":
    """The entries of all intact records, newest first."""
    from americano_pipelines.provenance.record_index import newest_entries

    return newest_entries(paths)


def compared(records: Sequence[bytes]) -> "list[ComparedValue]":
    """Two records side by side.

    Raises:
        Problem: 500, one is no record that this release can read.
    """
    from americano_pipelines.provenance.comparison import compare
    from americano_pipelines.provenance.record import Record

    try:
        first, second = (Record.parse(content) for content in records)
    except AnalysisError as error:
        raise Problem(500, "unreadable", str(error)) from None
    return compare(first, second)
