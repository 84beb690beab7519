"""Turn records of the lake and the warehouse into metadata for the UI.

Dagster keeps every preview, and a purge does not reach them. So only tables that count over all learners show rows: a
row of one person belongs to that person also without the id.

https://docs.dagster.io/guides/build/assets/metadata-and-tags/table-metadata
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from americano_pipelines.defs.run_tags import COLUMN_LINEAGE, COLUMN_SCHEMA, ROW_COUNT
from americano_pipelines.defs.sync.asset_specs import key_of
from americano_pipelines.lake.manifest import LakeTable, Manifest
from americano_pipelines.settings import DataFolder
from americano_pipelines.sources.column_roles import Column
from americano_pipelines.sources.contracts import BY_NAME
from americano_pipelines.text_output import markdown, markdown_block
from americano_pipelines.warehouse.column_lineage import ColumnLineage
from americano_pipelines.warehouse.comments import column_descriptions
from americano_pipelines.warehouse.research_models import MODEL_BY_NAME
from americano_pipelines.warehouse.snapshot_record import BuiltModel, BuiltTable, SnapshotRecord

# Dates and numbers over all learners. Not by phase or protocol: a label or a protocol may be one person's.
OVER_ALL_LEARNERS = frozenset(dg.AssetKey(["research", name]) for name in ("daily_events", "weekly_events"))
NO_ROWS = "not shown: rows of persons are kept in the published file only, where a purge reaches them"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A small table in Markdown; Markdown in its cells is escaped."""
    lines = ["| " + " | ".join(map(_cell, header)) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "" if value is None else markdown(str(value))


Metadata = dict[str, Any]


def export_metadata(
    name: str, table: LakeTable, manifest: Manifest, lineage: ColumnLineage, paths: DataFolder
) -> Metadata:
    """Metadata of an export."""
    files = [file for bucket in table.buckets.values() for file in bucket.files]
    return {
        ROW_COUNT: table.rows,
        COLUMN_SCHEMA: _schema(table.columns, table.roles, name),
        COLUMN_LINEAGE: _lineage(lineage, "postgres"),
        "column lineage": _lineage_table(lineage, "postgres"),
        "source table": table.found_as,
        "path": short_path(paths.lake / name, paths.root),
        "bytes": table.bytes,
        "files": len(files),
        "months": dg.MetadataValue.md(
            markdown_table(("month", "rows", "bytes"), [_bucket_row(*item) for item in sorted(table.buckets.items())])
        ),
        "snapshot id": table.snapshot_id,
        "instant of the source": manifest.taken_at,
        "source snapshot": dg.MetadataValue.json(manifest.source),
        "roles": dg.MetadataValue.json(table.roles),
    }


def exported_again(path: str) -> str:
    """The message about a damaged file of the lake."""
    return f"{path} of the lake was missing or damaged, and was exported again"


def table_metadata(name: str, table: BuiltTable, document: SnapshotRecord, upstream: str) -> Metadata:
    """Metadata of a mirror."""
    return {
        ROW_COUNT: table.rows,
        COLUMN_SCHEMA: _schema(table.columns, table.roles, name),
        COLUMN_LINEAGE: _lineage(table.lineage, upstream),
        "source rows": table.source_rows,
        "source": table.found_as,
        "sort key": ", ".join(table.sort_key),
        "indexes": ", ".join(table.indexes) or "none",
        **({"kept from before": True} if table.carried_over else {}),
        **_published(document),
        "instant of the source": table.instant,
        "roles": dg.MetadataValue.json(table.roles),
        "column lineage": _lineage_table(table.lineage, upstream),
    }


def model_metadata(name: str, model: BuiltModel, document: SnapshotRecord, upstream: str) -> Metadata:
    """Metadata of a view or rollup."""
    descriptions = MODEL_BY_NAME[name].columns
    columns = [
        dg.TableColumn(column, type_name, description=descriptions[column])
        for column, type_name in model.columns.items()
    ]
    return {
        **({} if model.rows is None else {ROW_COUNT: model.rows}),
        COLUMN_SCHEMA: dg.TableSchema(columns=columns),
        COLUMN_LINEAGE: _lineage(model.lineage, upstream),
        "kind": "table" if MODEL_BY_NAME[name].materialized else "view",
        **_published(document),
        "column lineage": _lineage_table(model.lineage, upstream),
        "sql": _fitting(markdown_block(model.sql.strip(), "sql"), max(map(len, model.sql.splitlines()))),
    }


def _published(document: SnapshotRecord) -> Metadata:
    return {
        "snapshot id": document.snapshot_id,
        "instant of the source": document.instant,
        "built at": document.built_at,
        "built": document.built,
        "file bytes": document.bytes,
        "file sha256": document.sha256[:12],
    }


def _schema(columns: Sequence[Column], roles: Mapping[str, str], name: str) -> dg.TableSchema:
    descriptions = column_descriptions(BY_NAME[name], columns, roles)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                description=descriptions[column.name],
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
                tags={role: "" for role, played_by in roles.items() if played_by == column.name},
            )
            for column in columns
        ]
    )


def _lineage(lineage: ColumnLineage, upstream: str) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        deps_by_column={
            column: [dg.TableColumnDep(key_of(table, upstream), name) for table, name in sources]
            for column, sources in lineage.items()
        }
    )


def _lineage_table(lineage: ColumnLineage, upstream: str) -> dg.MarkdownMetadataValue:
    rows = [
        (column, ", ".join(f"{key_of(table, upstream).to_user_string()}.{name}" for table, name in sources) or "-")
        for column, sources in lineage.items()
    ]
    width = sum(max((len(row[index]) for row in rows), default=0) for index in (0, 1))
    return _fitting(markdown_table(("column", "comes from"), rows), width)


def _fitting(text: str, width: int) -> dg.MarkdownMetadataValue:
    """Markdown that does not make the page wider than it is.

    Args:
        text: the Markdown.
        width: characters of its longest line.
    """
    # The page has room for these characters, and shows a text of at least so many in a dialog, on a click.
    column_width, dialog_length = 40, 1000
    return dg.MetadataValue.md(text if width <= column_width else text.ljust(dialog_length))


def short_path(path: Path, data_dir: Path) -> dg.PathMetadataValue:
    """A path, relative to the data folder if it is in there: a longer one makes the page scroll sideways."""
    absolute, folder = path.absolute(), data_dir.absolute()
    return dg.MetadataValue.path(str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute))


def _bucket_row(name: str, bucket: Any) -> tuple[str, str, str]:  # noqa: ANN401 - a Bucket
    return name, f"{bucket.rows:,}", f"{sum(file.bytes for file in bucket.files):,}"
