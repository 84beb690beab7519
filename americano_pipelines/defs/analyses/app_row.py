"""The app's row of a step: claim or create it before the work, complete it after, fail it with the step.

Tag the Dagster run with the row, so that reconciliation finds it whatever happens to the process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from americano_pipelines.analysis.registry import Kind, Parameters, app_type
from americano_pipelines.app_database import lifecycle
from americano_pipelines.app_database.matching import Request, RowMatcher, row_matcher
from americano_pipelines.defs.run_tags import ROW_OPEN, ROW_RECONCILED, ROW_TAG, ROWS_TAG
from americano_pipelines.errors import AppRowError
from americano_pipelines.provenance import app_link
from americano_pipelines.provenance.record import Record
from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines.text_output import one_line


@contextmanager
def claimed_row(
    context: dg.AssetExecutionContext, settings: Settings, requested_row: str | None
) -> Iterator[Request | None]:
    """Have a registered row for the block; without one, or without an app, do nothing.

    Yields:
        What it asks for, None when there is nothing to do.

    Raises:
        AppRowError: it is not pending, not there, or of another protocol or type than this analysis answers.
    """
    target = settings.app
    if requested_row is None or target is None:
        if requested_row is not None:
            context.log.warning(
                "ANALYSIS_RUNS_DATABASE_URL is not set: row %s is recorded with the analysis, but neither taken nor "
                "completed; `americano link %s` does that later",
                *[one_line(requested_row)] * 2,
            )
        yield None
        return
    _tag(context, requested_row, settled=False)
    request = lifecycle.claim(target, requested_row, context.run.run_id, _answer(context))
    with _failing(context, target, requested_row):
        yield request


@contextmanager
def created_row(
    context: dg.AssetExecutionContext,
    settings: Settings,
    kind: Kind,
    parameters: Parameters,
    run_name: str,
    requested_row: str | None,
) -> Iterator[str | None]:
    """The row for the block: the one that was asked for, else one that is made if the app has a word for the analysis.

    Yields:
        Its id, None when there is none.

    Raises:
        AppRowError: it cannot be made.
    """
    called, target = app_type(kind.name, parameters), settings.app
    if requested_row is not None or target is None or called is None:
        yield requested_row
        return
    protocol_id, asset_key = context.partition_key, context.asset_key.to_user_string()
    row_id = lifecycle.row_id(context.run.run_id, asset_key, protocol_id)
    _tag(context, row_id, settled=False)
    values: dict[str, Any] = parameters.model_dump(mode="json")
    lifecycle.create(target, context.run.run_id, asset_key, protocol_id, called, run_name, values)
    with _failing(context, target, row_id):
        yield row_id


def complete_row(context: dg.AssetExecutionContext, settings: Settings, row_id: str | None, record: Record) -> str:
    """Write the recorded analysis into its row.

    The analysis is good whether or not this succeeds: what cannot be written is told, and written later.

    Returns:
        What became of it, for people.
    """
    if settings.app is None:
        return "no app is configured (ANALYSIS_RUNS_DATABASE_URL)"
    if row_id is None:
        return "none: the app has no word for this analysis, and no row was given"
    try:
        written = app_link.complete(settings.app, row_id, record)
    except AppRowError as error:
        context.log.warning(
            "The analysis is recorded, but row %s was not completed: %s. The sensor run_outcome tries again, or "
            "`americano link %s` does",
            one_line(row_id),
            error,
            one_line(row_id),
        )
        return f"not written yet: {error}"
    _tag(context, row_id, settled=True)
    return f"written: {', '.join(written)}"


def _answer(context: dg.AssetExecutionContext) -> RowMatcher:
    """What the step is asked for, before its parameters are checked: that fails the row, which must be had for it."""
    protocol_id = context.partition_key if context.has_partition_key else None
    return row_matcher(protocol_id, context.asset_key.path[-1], context.op_execution_context.op_config)


@contextmanager
def _failing(context: dg.AssetExecutionContext, target: PostgresTarget, row_id: str) -> Iterator[None]:
    """Say in the row that the block failed; when that fails too, `run_outcome` says it later."""
    try:
        yield
    except BaseException as error:
        try:
            lifecycle.fail(target, row_id, context.run.run_id, f"{error}" or type(error).__name__)
            _tag(context, row_id, settled=True)
        except AppRowError as why:
            context.log.warning("row %s does not say yet that its analysis failed: %s", one_line(row_id), why)
        raise


def _tag(context: dg.AssetExecutionContext, row_id: str, *, settled: bool) -> None:
    # That some row is open is not taken back here: another step of the run may have one.
    tags = {f"{ROW_TAG}{row_id}": ROW_RECONCILED} if settled else {f"{ROW_TAG}{row_id}": ROW_OPEN, ROWS_TAG: ROW_OPEN}
    context.instance.add_run_tags(context.run.run_id, tags)
