"""Wrap every step: tag its run, translate its errors, and give a writing step the lock and the stage timer."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.common.writer_lock import writer_lock
from americano_pipelines.defs.run_processes import tag_process
from americano_pipelines.defs.run_tags import ERROR_KIND
from americano_pipelines.errors import AmericanoError, TransientSourceError, UnsteadySourceError
from americano_pipelines.settings import Settings

# A server that restarts is back within half a minute; an error that lasts longer is for a person.
MAX_RETRIES = 2
RETRY_SECONDS = 10
# A migration may take minutes, and nothing is held meanwhile: with ten seconds of waiting in each attempt, six minutes.
MIGRATION_RETRY_SECONDS = (10, 20, 40, 80, 160)


class SyncConfig(dg.Config):
    """Options of a sync, shown in the launchpad.

    Attributes:
        full: export and build everything, even what did not change.
    """

    full: bool = False


@contextmanager
def sync_step(context: dg.AssetExecutionContext, settings: Settings) -> Iterator[StageTimer]:
    """Hold the writer lock for the block, as a step of `step_errors`."""
    with step_errors(context), writer_lock(settings, on_wait=context.log.warning):
        yield StageTimer(on_start=context.log.info)


@contextmanager
def step_errors(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Iterator[None]:
    """Tag the run with its process, and turn the block's errors into retries and failures.

    A transient failure is retried from the start, twice: a snapshot whose connection died is never resumed. Where a
    migration locks or changes a table, more attempts follow with growing pauses. Any other error of ours fails the run
    at once, with its message as the failure's text. The error's cause is left out: Dagster would keep it word for word,
    with an address and its password.
    """
    tag_process(context.instance, context.run.run_id)
    try:
        yield
    except TransientSourceError as error:
        pauses = MIGRATION_RETRY_SECONDS if isinstance(error, UnsteadySourceError) else (RETRY_SECONDS,) * MAX_RETRIES
        if context.retry_number >= len(pauses):
            raise failure(error, f"still failing after {context.retry_number} retries: {error}") from None
        pause = pauses[context.retry_number]
        context.log.warning("%s. The next attempt begins in %s seconds", error, pause)
        raise dg.RetryRequested(max_retries=len(pauses), seconds_to_wait=pause) from error
    except AmericanoError as error:
        raise failure(error) from None


def failure(error: AmericanoError, text: str | None = None) -> dg.Failure:
    """The failure for an error that a retry does not mend: its message, and its class in the metadata."""
    return dg.Failure(text or str(error), metadata={ERROR_KIND: type(error).__name__}, allow_retries=False)
