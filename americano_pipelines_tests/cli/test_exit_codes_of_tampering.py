"""Whatever is changed in one place of a recorded analysis, `americano verify` names it and ends with 1."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.provenance.record import Record
from americano_pipelines_tests.conftest import Database, Done
from americano_pipelines_tests.prisma_database import link_url
from americano_pipelines_tests.provenance.conftest import altered
from americano_pipelines_tests.provenance.verify.test_app_row import EDITS

# What people read of a row.
COLUMNS = (
    *("p", "sentence", "verdict", "codeCommitHash", "dataVersionHash", "inputParams", "status", "mlflowRunId"),
    *("artifactPaths", "protocolId"),
)
Tampering = Callable[[], AbstractContextManager[None]]


@contextmanager
def executed(path: Path, statement: str) -> Iterator[None]:
    """Execute a statement in a database of sqlite for the block; others in this process may have it open."""
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(":memory:")) as kept:
        connection.backup(kept)
        with connection:
            assert connection.execute(statement).rowcount > 0, statement
        try:
            yield
        finally:
            kept.backup(connection)


@contextmanager
def edited_row(database: Database, row: str, edit: str) -> Iterator[None]:
    """Edit a row of the app for the block."""
    database.execute(f"CREATE TABLE kept AS SELECT * FROM analysis_runs WHERE id = '{row}'")
    database.execute(f"UPDATE analysis_runs SET {edit} WHERE id = '{row}'")
    try:
        yield
    finally:
        database.execute(f"DELETE FROM analysis_runs WHERE id = '{row}'")
        database.execute("INSERT INTO analysis_runs SELECT * FROM kept; DROP TABLE kept")


@contextmanager
def added(path: Path, content: bytes) -> Iterator[None]:
    path.write_bytes(content)
    try:
        yield
    finally:
        path.unlink()


def of_archive(data: Path, sha256: str, first: str) -> dict[str, Tampering]:
    """Kinds of tampering with records, extracts, modules, index and snapshots, by what `verify` names."""
    records = data / "provenance"
    path = records / f"{sha256}.json"
    record = Record.parse(path.read_bytes())
    second = record.model_copy(update={"sentence": "A benefit."})
    extract = data / "extracts" / f"{record.extract_sha256}.json"
    modules = records / "modules" / f"{record.module_bundle_sha256}.json"
    (published,) = (data / "duckdb" / "snapshots" / record.inputs[0].snapshot_id).glob("*.duckdb")
    edited = path.read_bytes().replace(b'"sentence":"', b'"sentence":"Really: ', 1)
    return {
        # First: a row of the index counts only while the file has the change time that the index knows.
        "DRIFT index of the records": lambda: executed(
            records / "index.sqlite3", f"UPDATE entries SET p = 0.9 WHERE sha256 = '{sha256}'"
        ),
        "DRIFT file in the archive": lambda: altered(path, edited),
        "MISSING file in the archive": lambda: altered(path, None),
        "MISSING chain of records": lambda: altered(records / f"{first}.json", None),
        f"DRIFT another record, {second.sha256}": lambda: added(records / f"{second.sha256}.json", second.canonical()),
        f"DRIFT extract {record.extract_sha256[:12]}": lambda: altered(extract, b"{}"),
        "DRIFT modules that it ran with": lambda: altered(modules, b"{}"),
        f"DRIFT snapshot {record.inputs[0].snapshot_id}": lambda: added(
            published.with_name(f"{published.name}.wal"), b""
        ),
    }


def of_mlflow(data: Path, run: str) -> dict[str, Tampering]:
    """The same of MLflow's database and artifacts."""
    store = partial(executed, data / "mlflow" / "mlflow.db")
    report = data / "mlflow" / "artifacts" / run / "artifacts" / "report.html"
    of_run = f"run_uuid = '{run}'"
    return {
        "DRIFT report.html": lambda: altered(report, b"benefit"),
        "DRIFT metric p": lambda: store(f"UPDATE metrics SET value = 0.0001 WHERE key = 'p' AND {of_run}"),
        "DRIFT parameter alpha": lambda: store(f"UPDATE params SET value = '0.5' WHERE key = 'alpha' AND {of_run}"),
        "DRIFT tag data.sha256": lambda: store(f"UPDATE tags SET value = '0' WHERE key = 'data.sha256' AND {of_run}"),
        "DRIFT status": lambda: store(f"UPDATE runs SET status = 'FAILED' WHERE {of_run}"),
        "MISSING run": lambda: store(f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE {of_run}"),
    }


def of_dagster(folder: Path, run: str, sha256: str) -> dict[str, Tampering]:
    """The same of Dagster's log."""
    (log,) = folder.rglob(f"{run}.db")
    return {
        "MISSING Dagster's metadata": lambda: executed(
            log, "DELETE FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        ),
        # Dagster's page shows a hash in two halves.
        "DRIFT Dagster's metadata": lambda: executed(
            log,
            f"UPDATE event_logs SET event = replace(event, '{sha256[:32]}', '{'0' * 32}') "
            f"WHERE event LIKE '%{sha256[:32]}%'",
        ),
    }


@pytest.mark.slow  # Dagster runs two analyses
def test_the_exit_code_of_every_kind_of_tampering(
    prisma: Database, cli: Callable[..., Done], publish: Callable[..., None], tmp_path: Path
) -> None:
    prisma.execute("UPDATE experiment_protocols SET \"endDate\" = '2025-03-07'")
    values: dict[str, Any] = prisma.variables(analysis_runs_database_url=link_url(prisma))
    publish(**values)
    for kind in ("change_points", "abab_randomization"):
        assert cli("analyse", "protocol_1", "--only", kind, "--json", **values).code == 0
    data = tmp_path / "data"
    first, sha256 = sorted(
        (path.stem for path in (data / "provenance").glob("*.json")),
        key=lambda name: json.loads((data / "provenance" / f"{name}.json").read_bytes())["chain"]["number"],
    )
    record = Record.parse((data / "provenance" / f"{sha256}.json").read_bytes())
    row, run = str(record.identity.analysis_run_id), str(record.tracking["run_id"])

    def named() -> tuple[int, set[str]]:
        done = cli("verify", sha256, "--json", **values)
        faults = {"DRIFT", "MISSING"}
        return done.code, {
            f"{each['status']} {each['what']}" for each in done.json["findings"] if each["status"] in faults
        }

    assert named() == (0, set())
    tamperings = {
        **of_archive(data, sha256, first),
        **of_mlflow(data, run),
        **of_dagster(tmp_path, str(record.orchestrator["dagster_run_id"]), sha256),
        **{f"DRIFT {EDITS[name][1]}": partial(edited_row, prisma, row, EDITS[name][0]) for name in COLUMNS},
    }
    lines = []
    for what, tampering in tamperings.items():
        with tampering():
            code, faults = named()
        lines.append(f"| {what} | {code} | {'; '.join(sorted(faults - {what})) or 'nothing'} |")
        assert (code, what in faults) == (1, True), (what, code, faults)
    assert named() == (0, set()), "all was put back"
    print("\n".join(lines))  # noqa: T201
