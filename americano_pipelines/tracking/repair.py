"""Linking a recorded analysis to the app after all: its row completed, or made, out of the record.

Here belongs what a person asks for by name. What is repaired without being asked is `defs/row_outcome.py`.
"""

from dataclasses import dataclass

from americano_pipelines.errors import LinkError
from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines.tracking import link, rows
from americano_pipelines.tracking.answering import Answer, answer_of
from americano_pipelines.tracking.app_connection import patiently
from americano_pipelines.tracking.history import find_record, records
from americano_pipelines.tracking.record import Record
from americano_pipelines.tracking.store import open_store
from americano_pipelines.tracking.verify.mlflow_run import MlflowRun
from americano_pipelines.tracking.vouching import vouching_run


@dataclass(frozen=True)
class Repaired:
    """A link that is there now.

    Attributes:
        analysis_run_id: the row.
        made: whether the analysis had none before.
        sha256: hash of the record.
        columns: what was written.
    """

    analysis_run_id: str
    made: bool
    sha256: str
    columns: tuple[str, ...]


def repair(settings: Settings, target: PostgresTarget, name: str) -> Repaired:
    """Write a recorded analysis into its row; one that has none gets one, if the app has a word for it.

    Args:
        settings: whose archive and MLflow.
        target: the app's database.
        name: as `tracking.history.find_record` takes it.

    Raises:
        AnalysisError: there is no such record; TamperedError: it was changed.
        TrackingError: MLflow does not answer.
        LinkError: it was not recorded to its end, the row shows a later analysis, is another run's or asks for
            something else, or none can be made; TransientLinkError: the app's database cannot be reached.
    """
    sha256, record = find_record(settings, name)
    run = vouching_run(open_store(settings), sha256, record)
    if run is None:
        raise LinkError(
            f"record {sha256[:12]} is in the archive, but its MLflow run {record.tracking['run_id']} does not have its "
            "hash: the analysis died before it was recorded to its end, or the run was changed; `americano verify` says"
        )
    row_id = record.identity.analysis_run_id
    answer = answer_of(record.identity.protocol_id, record.identity.analysis, record.config)
    made = row_id is None
    if row_id is None:
        row_id = _make(target, record, answer, run)
    else:
        _check_last(settings, row_id, record)
        _check_fits(target, row_id, answer)
    return Repaired(row_id, made, sha256, tuple(rows.complete(target, row_id, record)))


def _check_last(settings: Settings, row_id: str, record: Record) -> None:
    for sha256, other in records(settings):
        if other.identity.analysis_run_id == row_id and other.identity.ended_at > record.identity.ended_at:
            raise LinkError(
                f"row {row_id} was carried out again after this, at {other.identity.ended_at} (record {sha256[:12]}); "
                "link that one"
            )


def _check_fits(target: PostgresTarget, row_id: str, answer: Answer) -> None:
    row = patiently(lambda: link.read_row(target, row_id))
    if row is not None:
        answer.check(row_id, row["protocolId"], row["analysisType"])


def _make(target: PostgresTarget, record: Record, answer: Answer, run: MlflowRun) -> str:
    if answer.app_type is None or answer.protocol_id is None:
        raise LinkError(
            f"the app has no word for this analysis ({record.identity.analysis}), so no row can be made for it; it "
            "stays recorded in MLflow and in the archive"
        )
    by = record.orchestrator
    return rows.register(
        target,
        str(by["dagster_run_id"]),
        str(by["asset_key"]),
        answer.protocol_id,
        answer.app_type,
        str(run.run.info.run_name),
        dict(record.config),
    )
