"""Find the record that a name means: a hash or the id of a run, or the first characters of either."""

import re

from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.archive import get
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import open_entries
from americano_pipelines.settings import DataFolder

_MIN_CHARACTERS = 8
_HASH = re.compile("[0-9a-fA-F]{8,64}")


def find_record(paths: DataFolder, name: str) -> tuple[str, Record]:
    """Find the record that a name means; writes nothing.

    Args:
        paths: whose archive.
        name: the record's hash or the id of its run in MLflow, Dagster or the app, of each of which the first 8
            characters are enough. Of an AnalysisRun that was carried out more than once, the last.

    Returns:
        Its hash and the record.

    Raises:
        AnalysisError: there is none, more than one begins like this, or the Dagster run has several.
        TamperedError: the hash is that of a record that was changed after it was written.
    """
    folder = paths.records
    runs = _beginning_with(paths, name)
    if name in runs:
        return runs[name], Record.parse(get(folder, runs[name]))
    if _HASH.fullmatch(name):
        hashes = sorted(path.stem for path in folder.glob(f"{name.lower()}*.json"))
        if len(hashes) > 1:
            raise AnalysisError(f"{len(hashes)} records have a hash that begins with {name}: {', '.join(hashes)}")
        if hashes:
            return hashes[0], Record.parse(get(folder, hashes[0]))
    if len(name) >= _MIN_CHARACTERS:
        if len(runs) > 1:
            raise AnalysisError(f"{len(runs)} analyses have an id that begins with {name}: {', '.join(sorted(runs))}")
        for sha256 in runs.values() or _of_dagster_run(paths, name):
            return sha256, Record.parse(get(folder, sha256))
    raise AnalysisError(
        f"{folder} has no record of {name!r}: name the hash of a record, or the id of a run in MLflow, Dagster or the "
        "app; 8 characters are enough"
    )


def _beginning_with(paths: DataFolder, prefix: str) -> dict[str, str]:
    """Ids of MLflow runs and AnalysisRuns that begin like this, to the hash of the last record of each."""
    statement = (
        "SELECT mlflow_run_id, analysis_run_id, sha256 FROM entries WHERE readable "
        "AND (substr(mlflow_run_id, 1, ?1) = ?2 OR substr(analysis_run_id, 1, ?1) = ?2) ORDER BY ended_at"
    )
    with open_entries(paths) as connection:
        rows = connection.execute(statement, (len(prefix), prefix)).fetchall()
    return {run if run.startswith(prefix) else row: sha256 for run, row, sha256 in rows}


def _of_dagster_run(paths: DataFolder, prefix: str) -> list[str]:
    """Hash of the record of the Dagster run that begins like this, empty without one.

    Raises:
        AnalysisError: there are several, for a run may analyse in several ways.
    """
    statement = (
        "SELECT sha256, analysis FROM entries WHERE readable AND substr(dagster_run_id, 1, ?) = ? ORDER BY analysis"
    )
    with open_entries(paths) as connection:
        rows = connection.execute(statement, (len(prefix), prefix)).fetchall()
    if len(rows) > 1:
        records = ", ".join(f"{sha256[:_MIN_CHARACTERS]} ({analysis})" for sha256, analysis in rows)
        raise AnalysisError(f"{len(rows)} records are of a Dagster run that begins with {prefix}, name one: {records}")
    return [sha256 for sha256, _ in rows]
