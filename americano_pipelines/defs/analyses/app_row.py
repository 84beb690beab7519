"""Claim or create the app's row before a step's work, complete it after the work, fail it with the step.

Tag the Dagster run with the row, so that the sensor `run_outcome` finds it when the process is killed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from americano_pipelines.analysis.app_types import app_type
from americano_pipelines.analysis.parameters import Parameters
from americano_pipelines.analysis.registry import Kind
from americano_pipelines.app_database import statements
from americano_pipelines.app_database.column_values import derived_row_id
from americano_pipelines.app_database.matching import Request, RowMatcher, row_matcher
from americano_pipelines.defs.run_tags import ROW_OPEN, ROW_RECONCILED, ROW_TAG, ROWS_TAG
from americano_pipelines.errors import AppRowError
from americano_pipelines.provenance import app_link
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.text_output import one_line


@contextmanager
def claimed_row(
    context: dg.AssetExecutionContext, app: PostgresTarget | None, requested_row: str | None
) -> Iterator[Request | None]:
    """Claim the requested row for the block, and fail it with the block; without a row or an app, do nothing.

    Yields:
        The request in the row; None without a row or an app.

    Raises:
        AppRowError: the row does not exist, is not PENDING, or requests another protocol or analysis.
        TransientAppRowError: the app's database cannot be reached.
    """
    if requested_row is None or app is None:
        if requested_row is not None:
            context.log.warning(
                "ANALYSIS_RUNS_DATABASE_URL is not set: row %s is recorded with the analysis, but neither claimed nor "
                "completed; `americano link %s` does that later",
                *[one_line(requested_row)] * 2,
            )
        yield None
        return
    _tag(context, requested_row, ROW_OPEN)
    request = statements.claim(app, requested_row, context.run.run_id, _matcher(context))
    with _failed_with_block(context, app, requested_row):
        yield request


@contextmanager
def created_row(
    context: dg.AssetExecutionContext,
    app: PostgresTarget | None,
    kind: Kind,
    parameters: Parameters,
    run_name: str,
    requested_row: str | None,
) -> Iterator[str | None]:
    """Create a row for the block, and fail it with the block; do nothing if a row was requested.

    Yields:
        The id of the requested or created row; None without an app, or where the app's enum lacks the analysis.

    Raises:
        AppRowError: the row cannot be created; TransientAppRowError: the app's database cannot be reached.
    """
    type_in_app = app_type(kind.name, parameters)
    if requested_row is not None or app is None or type_in_app is None:
        yield requested_row
        return
    protocol_id, asset_key = context.partition_key, context.asset_key.to_user_string()
    row_id = derived_row_id(context.run.run_id, asset_key, protocol_id)
    _tag(context, row_id, ROW_OPEN)
    values: dict[str, Any] = parameters.model_dump(mode="json")
    statements.create(app, context.run.run_id, asset_key, protocol_id, type_in_app, run_name, values)
    with _failed_with_block(context, app, row_id):
        yield row_id


def complete_row(
    context: dg.AssetExecutionContext, app: PostgresTarget | None, row_id: str | None, record: Record
) -> str:
    """Write the recorded analysis into its row.

    An error is only logged, because the analysis is already recorded; the sensor `run_outcome` tries again.

    Returns:
        The outcome in words, for the metadata.
    """
    if app is None:
        return "no app is configured (ANALYSIS_RUNS_DATABASE_URL)"
    if row_id is None:
        return "the app's AnalysisType has no value for this analysis, and no row was given"
    try:
        written = app_link.complete(app, row_id, record)
    except AppRowError as error:
        context.log.warning(
            "The analysis is recorded, but row %s was not completed: %s. The sensor run_outcome tries again, or "
            "`americano link %s` does",
            one_line(row_id),
            error,
            one_line(row_id),
        )
        return f"not written yet: {error}"
    _tag(context, row_id, ROW_RECONCILED)
    context.log.info("row %s is written: %s", one_line(row_id), ", ".join(written))
    return "written"


def _matcher(context: dg.AssetExecutionContext) -> RowMatcher:
    """The step's analysis, from unchecked parameters: invalid ones fail the row, which must be claimed before."""
    protocol_id = context.partition_key if context.has_partition_key else None
    return row_matcher(protocol_id, context.asset_key.path[-1], context.op_execution_context.op_config)


@contextmanager
def _failed_with_block(context: dg.AssetExecutionContext, app: PostgresTarget, row_id: str) -> Iterator[None]:
    """Fail the row when the block fails; if the row cannot be written, the sensor `run_outcome` fails it later."""
    try:
        yield
    except BaseException as error:
        try:
            statements.fail(app, row_id, f"{error}" or type(error).__name__, claimed_by=context.run.run_id)
            _tag(context, row_id, ROW_RECONCILED)
        except AppRowError as row_error:
            context.log.warning("row %s could not be set to FAILED yet: %s", one_line(row_id), row_error)
        raise


def _tag(context: dg.AssetExecutionContext, row_id: str, state: str) -> None:
    tags = {f"{ROW_TAG}{row_id}": state}
    # Another step of the run may have an open row, so ROWS_TAG is opened here and never closed.
    if state == ROW_OPEN:
        tags[ROWS_TAG] = ROW_OPEN
    context.instance.add_run_tags(context.run.run_id, tags)
