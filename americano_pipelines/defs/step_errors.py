"""Wrap every step: tag its run, translate its errors, and give a writing step the lock and the stage timer."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.common.writer_lock import writer_lock
from americano_pipelines.defs.run_processes import tag_process
from americano_pipelines.defs.run_tags import ERROR_KIND
from americano_pipelines.errors import AmericanoError, TransientSourceError
from americano_pipelines.settings import Settings

# A server that restarts is back within half a minute; an error that lasts longer is for a person.
MAX_RETRIES = 2
RETRY_SECONDS = 10


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

    A transient failure is retried from the start, twice: a snapshot whose connection died is never resumed. Any other
    error of ours fails the run at once, with its message as the failure's text. The error's cause is left out: Dagster
    would keep it word for word, with an address and its password.
    """
    tag_process(context.instance, context.run.run_id)
    try:
        yield
    except TransientSourceError as error:
        if context.retry_number >= MAX_RETRIES:
            raise failure(error, f"still failing after {MAX_RETRIES} retries: {error}") from None
        raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=RETRY_SECONDS) from error
    except AmericanoError as error:
        raise failure(error) from None


def failure(error: AmericanoError, text: str | None = None) -> dg.Failure:
    """The failure for an error that a retry does not mend: its message, and its class in the metadata."""
    return dg.Failure(text or str(error), metadata={ERROR_KIND: type(error).__name__}, allow_retries=False)
