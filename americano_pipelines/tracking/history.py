"""The records there are: all of them, the ones of a protocol, the one that somebody names.

Here belongs reading the archive. A record that was changed is left out here, and found by `verify`.
"""

from collections.abc import Iterator

from americano_pipelines.analysis.plan import Earlier
from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.archive import read, records_dir
from americano_pipelines.tracking.record import Record


def records(settings: Settings) -> Iterator[tuple[str, Record]]:
    """Every intact record with its hash, in no order."""
    for path in records_dir(settings).glob("[!.]*.json"):
        try:
            yield path.stem, Record.parse(read(records_dir(settings), path.stem))
        except (TamperedError, AnalysisError, FileNotFoundError):
            continue


def earlier_runs(settings: Settings, protocol_id: str) -> list[Earlier]:
    """The analyses of a protocol that gave a result, by start."""
    found = [one for _, one in records(settings) if one.identity.protocol_id == protocol_id]
    found.sort(key=lambda one: one.identity.started_at)
    return [
        Earlier(one.identity.analysis, after_end=one.standing is not None and one.standing.plan_over) for one in found
    ]
