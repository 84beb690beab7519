"""What a person at a terminal sees while they wait.

Shown on standard error only, only on a terminal, and only for what takes longer than two seconds.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.text import Text

from americano_pipelines import stages
from americano_pipelines.cli.tables import Console
from americano_pipelines.text import one_line

_QUIET_SECONDS = 2.0


@contextmanager
def progress(*, enabled: bool = True) -> Iterator[None]:
    """Show the current stage and a spinner for the block, once it lasts longer than two seconds."""
    console = Console(stderr=True)
    # Asked of the stream itself: rich calls everything a terminal when FORCE_COLOR is set, as CI systems do.
    if not enabled or not sys.stderr.isatty():
        yield
        return
    status = console.status("starting")
    timer = threading.Timer(_QUIET_SECONDS, status.start)
    timer.start()
    try:
        with stages.listening(lambda stage: status.update(Text(one_line(stage)))):
            yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
