"""Measure what recording an analysis costs beyond its statistics, of many in one process; print it as JSON."""

# `python -m americano_pipelines.bench.analysis_cost`, with the settings of a published demo in the environment.

import json
import sys
import time
from collections.abc import Callable

from americano_pipelines.analysis.preregistration import parse
from americano_pipelines.analysis.registry import KINDS, Basis
from americano_pipelines.defs.analyses.launch_analyses import run_analyses, run_requests
from americano_pipelines.provenance.archive import get, records
from americano_pipelines.settings import Settings, load_settings

_KINDS = ("abab_randomization", "interrupted_time_series")
_AFTER_ALL_PLANS_US = 4_000_000_000_000_000


def recording_seconds(settings: Settings) -> tuple[float, int]:
    """CPU seconds of an analysis beyond its statistics, pictures and report included, and how many were made."""
    list(run_requests(settings, command="bench"))  # imports all that the others need, and leaves nothing to a sensor
    earlier = {sha256 for sha256, _ in records(settings.paths)}
    seconds = _cpu_seconds(lambda: list(run_analyses(settings, None, _KINDS, command="bench")))
    recorded = [record for sha256, record in records(settings.paths) if sha256 not in earlier]

    def compute() -> None:
        for record in recorded:
            kind = KINDS[record.identity.analysis]
            extract = kind.parse_extract(get(settings.paths.extracts, record.extract_sha256))
            kind.analyse(extract, parse(kind, dict(record.config)), Basis("bench", _AFTER_ALL_PLANS_US, "exploratory"))

    return (seconds - _cpu_seconds(compute)) / len(recorded), len(recorded)


def _cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    """Print the seconds of one, and how many were measured."""
    seconds, number = recording_seconds(load_settings())
    sys.stdout.write(json.dumps({"seconds": seconds, "analyses": number}))


if __name__ == "__main__":
    main()
