"""The records there are: all of them, the ones of a protocol, the one that somebody names.

Here belongs reading the archive. A record that was changed is left out here, and found by `verify`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.archive import read, records_dir
from americano_pipelines.tracking.record import Record

_HASH = re.compile("[0-9a-fA-F]{8,64}")


def record_files(settings: Settings) -> list[Path]:
    """The files that are kept as records, intact or not."""
    return list(records_dir(settings).glob("[!.]*.json"))


def records(settings: Settings) -> Iterator[tuple[str, Record]]:
    """Every intact record with its hash, in no order."""
    for path in record_files(settings):
        try:
            yield path.stem, Record.parse(read(records_dir(settings), path.stem))
        except (TamperedError, AnalysisError, OSError):
            continue


def find_record(settings: Settings, name: str) -> tuple[str, Record]:
    """The record that somebody names.

    Args:
        settings: whose archive.
        name: the MLflow run, the app's AnalysisRun, or the record's hash, of which 8 hex digits are enough. Of an
            AnalysisRun that was carried out more than once, the last.

    Returns:
        Its hash and the record.

    Raises:
        AnalysisError: there is none, or more than one hash begins like this.
        TamperedError: the hash is that of a record that was changed after it was written.
    """
    found = list(records(settings))
    if named := [one for one in found if name in {one[1].tracking.get("run_id"), one[1].identity.analysis_run_id}]:
        return max(named, key=lambda one: one[1].identity.ended_at)
    if _HASH.fullmatch(name):
        hashes = sorted(path.stem for path in records_dir(settings).glob(f"{name.lower()}*.json"))
        if len(hashes) > 1:
            raise AnalysisError(f"{len(hashes)} records have a hash that begins with {name}: {', '.join(hashes)}")
        if hashes:
            return hashes[0], Record.parse(read(records_dir(settings), hashes[0]))
    raise AnalysisError(
        f"{records_dir(settings)} has no record of {name!r}: name an MLflow run, an AnalysisRun of the app, or the "
        "hash of a record, of which 8 digits are enough"
    )
