"""The process that a test kills: it runs a number of syncs and prints when each begins."""

import sys

from americano_pipelines.common.writer_lock import writer_lock
from americano_pipelines.settings import load_settings
from americano_pipelines_tests.sync.support import sync

if __name__ == "__main__":
    settings = load_settings()
    for line in sys.stdin:
        sys.stdout.write("begins\n")
        sys.stdout.flush()
        with writer_lock(settings, wait_seconds=30):
            sync(settings, full=line.strip() == "full")
        sys.stdout.write("done\n")
        sys.stdout.flush()
