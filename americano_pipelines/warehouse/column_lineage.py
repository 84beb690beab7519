"""Trace the columns of models and mirrors back to the columns that they are computed from."""

from collections.abc import Mapping, Sequence

from americano_pipelines.sources.column_roles import SourceTable

ColumnLineage = dict[str, list[tuple[str, str]]]
"""Output column to the (table, column) pairs it is computed from."""


def column_lineage(statement: str, columns_of: Mapping[str, Sequence[str]]) -> ColumnLineage:
    """Trace every output column of a statement one step back.

    Args:
        statement: a SELECT, or an INSERT around one, in DuckDB's SQL.
        columns_of: the columns of each table it may read, by `schema.table`, in their real case.

    Returns:
        For each output column the columns it depends on, in order, names in their real case. A count of
        rows depends on no column.
    """
    from sqlglot import exp, parse_one
    from sqlglot.lineage import lineage
    from sqlglot.schema import MappingSchema

    real = {
        (table.casefold(), column.casefold()): (table, column)
        for table, columns in columns_of.items()
        for column in columns
    }
    tree = parse_one(statement, dialect="duckdb")
    query = tree if isinstance(tree, exp.Query) else tree.expression
    # Bare columns resolve only when the parser knows which table has them.
    schema = MappingSchema(dialect="duckdb")
    for table, columns in columns_of.items():
        schema.add_table(table, dict.fromkeys(columns, "VARCHAR"), dialect="duckdb")
    # All columns at once: one by one, the longest view took 0.85 s. Untrimmed: else each column copies the query,
    # and all models took 0.25 s instead of 0.1 s.
    roots = lineage(None, query, schema=schema, dialect="duckdb", trim_selects=False).values()
    traced: ColumnLineage = {}
    for output, root in zip(query.named_selects, roots, strict=True):
        origins: dict[tuple[str, str], None] = {}
        for node in root.walk():
            if isinstance(node.source, exp.Table):
                table = f"{node.source.db}.{node.source.name}"
                key = (table.casefold(), exp.to_column(node.name, dialect="duckdb").name.casefold())
                if key in real:
                    origins[real[key]] = None
        traced[output] = list(origins)
    return traced


def mirror_lineage(table: SourceTable) -> ColumnLineage:
    """The lineage of a mirror or an export: every column is a cast of the source's column of its name."""
    return {column.name: [(f"source.{table.name}", column.name)] for column in table.columns}
