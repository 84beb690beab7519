"""Decide whether a file is kept, patched or built anew, with the reason in words."""

# Compare the source's state with the published file's own record, size and hash.
#
# **When a file is built anew.** Replaced months lie at a table's end, and DuckDB gives no space back. So a file is
# built from nothing when more than 30 % of a table's rows were replaced since the last new build (their row groups no
# longer follow each other by month), or when the file has grown by more than half (and 64 MB) since then. Measured on 5
# M rows: replacing one month of 23 adds a fifth to the file once, for the index is written again.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from americano_pipelines.settings import DataFolder
from americano_pipelines.sources.change_detection import same_history
from americano_pipelines.sources.column_roles import Column, SourceTable
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.input_selection import Source
from americano_pipelines.warehouse.inputs import TableInput
from americano_pipelines.warehouse.snapshot_record import BuildFingerprint, BuiltTable, SnapshotRecord

Inputs = Mapping[str, TableInput]

# The parts of a build that may differ, in words.
_OTHER_CONTENT = {
    "mode": "another mode",
    "contract_sha256": "another description of the source tables",
    "models_sha256": "other SQL of the views and rollups",
    "duckdb_version": "another version of DuckDB",
    "learner_index": "another setting of the learner index",
}

MAX_PATCHED_SHARE = 0.3
MAX_GROWTH_FACTOR = 1.5
# Growth below this is ignored: blocks are 256 KiB, so a small file doubles at the first change.
SMALL_BYTES = 64_000_000


@dataclass(frozen=True)
class BuildPlan:
    """A decision on the file to publish.

    Attributes:
        action: `keep` what is published, `patch` a copy of it, or `build` from nothing.
        reason: the reason in words.
        basis: the record of the file to patch.
    """

    action: Literal["keep", "patch", "build"]
    reason: str
    basis: SnapshotRecord | None = None


def decide_build(
    paths: DataFolder,
    before: SnapshotRecord | None,
    content: BuildFingerprint,
    source: Source,
    inputs: Inputs,
    *,
    full: bool,
) -> BuildPlan:
    """Decide what to do.

    Args:
        paths: where the published file is.
        before: its record, None when there is none.
        content: what a build now would hold.
        source: what it would be built from.
        inputs: its tables, and those that are carried over.
        full: build from nothing in any case.
    """
    reason = "everything was to be built" if full else _rebuild_reason(paths, before, content, source)
    if reason is not None or before is None:
        return BuildPlan("build", str(reason))
    if before.content == content:
        return BuildPlan("keep", "nothing changed")
    reason = _no_patch_reason(before, inputs)
    if reason is not None:
        return BuildPlan("build", reason)
    return BuildPlan("patch", f"from snapshot {before.snapshot_id}", before)


def _rebuild_reason(
    paths: DataFolder, before: SnapshotRecord | None, content: BuildFingerprint, source: Source
) -> str | None:
    """The reason to use nothing of the published file, None to use it."""
    published = snapshots.current(paths)
    if before is None or published is None:
        return "nothing was published before"
    if not snapshots.as_published(published, before):
        return f"{published} was written to after it was published, so nothing of it is used"
    if not same_history(before.source, source.identity):
        return "the source is another database, or was set back to an earlier state"
    if before.plans_since is None:
        return "it does not say when plans were first seen"
    for name, words in _OTHER_CONTENT.items():
        if getattr(before.content, name) != getattr(content, name):
            return f"the published file was built with {words}"
    return None


def _no_patch_reason(before: SnapshotRecord, inputs: Inputs) -> str | None:
    """The reason not to replace the changed months in a copy, None to do so."""
    if before.tables.keys() != inputs.keys():
        return "another set of tables"
    for name, table_input in inputs.items():
        built = before.tables[name]
        if other := _other_table(built, table_input.table):
            return f"{name} {other}"
        if table_input.buckets is None and built.state_sha256 != table_input.state_sha256:
            return f"{name} changed, and its changes are not known by month"
        if built.rows_patched > MAX_PATCHED_SHARE * max(1, built.rows):
            return f"{built.rows_patched:,} of {built.rows:,} rows of {name} are out of place"
    if before.bytes > max(MAX_GROWTH_FACTOR * before.fresh_bytes, before.fresh_bytes + SMALL_BYTES):
        return f"the file has grown from {before.fresh_bytes:,} to {before.bytes:,} bytes"
    return None


def _other_table(built: BuiltTable, table: SourceTable) -> str | None:
    """The difference in schema or identity between a table and the built one, None for none."""
    if (built.columns, built.roles, built.found_as) != (list(table.columns), dict(table.roles), table.found_as):
        return f"has other columns: {describe_column_changes(built.columns, table.columns)}"
    if built.identity != table.identity:
        return "is another table than before: swapped in, put back, created again or rewritten"
    return None


def describe_column_changes(old: Sequence[Column], new: Sequence[Column]) -> str:
    """The changes of a table's columns, in words."""
    was, current = ({column.name: column for column in columns} for columns in (old, new))
    words = [f"{name} added" for name in current if name not in was]
    words += [f"{name} dropped" for name in was if name not in current]
    for name in (name for name in current if name in was and was[name] != current[name]):
        if was[name].source_type != current[name].source_type:
            words.append(f"{name} is now {current[name].source_type}, was {was[name].source_type}")
        else:
            words.append(f"{name} has another default, label or nullability")
    return ", ".join(words) or "another order, role or name"
