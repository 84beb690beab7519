"""Building a warehouse file aside: mirrors in time order, index, views, rollups.

Here belongs making the tables from their inputs. Nothing here decides whether a build is needed or may be
published.
"""

from collections.abc import Mapping

import duckdb

from americano_pipelines import sql
from americano_pipelines.sources.contracts import BY_NAME
from americano_pipelines.sources.figures import duckdb_figures, total
from americano_pipelines.sources.tables import SourceTable
from americano_pipelines.stages import Stages
from americano_pipelines.warehouse import checks, models
from americano_pipelines.warehouse.document import BuiltModel, BuiltTable, CheckOutcome
from americano_pipelines.warehouse.inputs import CarriedInput, TableInput
from americano_pipelines.warehouse.lineage import column_lineage


def build_table(
    connection: duckdb.DuckDBPyConnection, given: TableInput, stages: Stages
) -> tuple[BuiltTable, CheckOutcome]:
    """Make a mirror table: the source's columns under their own names and exact types, in time order.

    Chunk after chunk is sorted and appended, so memory is bounded by a month, and zone maps cut by time.
    The index is made last: kept up during the load it would cost more.

    Returns:
        What was built, and whether it reconciles with the source.
    """
    table = given.table
    name, target = table.name, sql.quote("analytics", table.name)
    columns = ", ".join(f"{sql.quote(c.name)} {c.type}" for c in table.columns)
    connection.execute(f"CREATE TABLE {target} ({columns})")
    sort_key = [column.name for role in (table.contract.sort_role, "id") if (column := table.column(role))]
    with stages.stage(f"load {name}"), given.reading():
        for relation, parameters in given.chunks():
            connection.execute(_load_statement(table, relation, sort_key), parameters)
    indexes = []
    learner = table.column(table.contract.index_role) if table.contract.index_role else None
    if learner is not None:
        with stages.stage(f"index {name}"):
            index = sql.quote(f"{name}_learner")
            connection.execute(f"CREATE INDEX {index} ON {target} ({sql.quote(learner.name)})")
        indexes.append(learner.name)
    with stages.stage(f"reconcile {name}"):
        with given.reading():
            source = given.figures(connection)
        copy = duckdb_figures(connection, table, target)
        check = next(c for c in checks.checks_of(BY_NAME[name]) if c.name == "reconciled")
        reconciled = checks.reconcile(check, source, copy)
        given.finish()
    built = BuiltTable(
        found_as=table.found_as,
        columns=list(table.columns),
        roles=dict(table.roles),
        rows=total(copy),
        source_rows=total(source),
        state_sha256=given.state_sha256,
        sort_key=sort_key,
        indexes=indexes,
        figures=copy,
        lineage=column_lineage(
            _load_statement(table, sql.quote("source", name), sort_key),
            {f"source.{name}": [column.name for column in table.columns]},
        ),
        carried_over=isinstance(given, CarriedInput),
    )
    return built, reconciled


def build_models(
    connection: duckdb.DuckDBPyConnection, inputs: Mapping[str, TableInput], stages: Stages
) -> tuple[dict[str, BuiltModel], dict[str, str]]:
    """Make the views and rollups of `research` that these tables allow.

    Returns:
        What was built; and for the models left out the reason.
    """
    tables = {name: given.table for name, given in inputs.items()}
    states = {f"analytics.{name}": given.state_sha256 for name, given in inputs.items()}
    columns_of = {f"analytics.{name}": [column.name for column in table.columns] for name, table in tables.items()}
    built: dict[str, BuiltModel] = {}
    left_out: dict[str, str] = {}
    for model in models.MODELS:
        reason = models.missing(model, tables, left_out)
        if reason is not None:
            left_out[model.name] = reason
            continue
        statement = models.statement(model, tables)
        with stages.stage(f"{'compute' if model.materialized else 'define'} {model.name}"):
            target = sql.quote("research", model.name)
            connection.execute(f"CREATE {'TABLE' if model.materialized else 'VIEW'} {target} AS\n{statement}")
        described = connection.execute(f"DESCRIBE {target}").fetchall()
        counted = connection.execute(f"SELECT count(*) FROM {target}").fetchone() if model.materialized else None  # noqa: S608 - quoted
        states[f"research.{model.name}"] = models.state_sha256(model, statement, states)
        built[model.name] = BuiltModel(
            sql=statement,
            columns={str(row[0]): str(row[1]) for row in described},
            rows=int(counted[0]) if counted else None,
            lineage=column_lineage(statement, columns_of),
            state_sha256=states[f"research.{model.name}"],
        )
        columns_of[f"research.{model.name}"] = list(built[model.name].columns)
    return built, left_out


def _load_statement(table: SourceTable, relation: str, sort_key: list[str]) -> str:
    return sql.render(
        sql.load("warehouse", "load"),
        target=sql.quote("analytics", table.name),
        columns=", ".join(sql.quote(c.name) for c in table.columns),
        projection=table.projection,
        relation=relation,
        order=", ".join(sql.quote(name) for name in sort_key) or "1",
    )
