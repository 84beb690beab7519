"""What `americano doctor` looks at: each thing the chosen mode needs, tried for real.

Here belongs looking, not mending, and no printing. Each finding is one line.
"""

import http.client
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from americano_pipelines import sql
from americano_pipelines.access import open_to_others
from americano_pipelines.analysis.pseudonym import key_state
from americano_pipelines.engine import check_extension, connect
from americano_pipelines.errors import AmericanoError, SourceError
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.catalog import find_tables
from americano_pipelines.sources.files import find_files
from americano_pipelines.sources.postgres import Snapshot, open_snapshot
from americano_pipelines.sources.tables import check_overrides
from americano_pipelines.warehouse.publish import current, read_document

Level = Literal["ok", "warn", "FAIL"]
_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """One line: `FAIL` when the chosen mode cannot work because of it."""

    level: Level
    what: str
    found: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything, in the order in which a sync would need it."""
    looks: list[Callable[[Settings], Iterator[Finding]]] = [_mode, _extension, _data_folder]
    looks.append(_files if settings.mode is Mode.PARQUET else _postgres)
    looks += [_published, _pseudonym_key, _mlflow]
    findings: list[Finding] = []
    for look in looks:
        try:
            findings.extend(look(settings))
        except AmericanoError as error:
            findings.append(Finding("FAIL", look.__name__.strip("_").replace("_", " "), str(error)))
    return findings


def _mode(settings: Settings) -> Iterator[Finding]:
    check_overrides(settings.americano_columns)
    yield Finding("ok", "mode", settings.mode.value)


def _extension(settings: Settings) -> Iterator[Finding]:  # noqa: ARG001 - one shape for all looks
    yield Finding("ok", "DuckDB and its Postgres extension", check_extension().parent.name)


def _data_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    writable = os.access(existing, os.W_OK)
    yield Finding("ok" if writable else "FAIL", "data folder", f"{folder}{'' if writable else ' is not writable'}")
    if exposed := open_to_others(settings):
        names = ", ".join(map(str, exposed))
        yield Finding("warn", "file modes", f"open to other users of this machine: {names}; their owner may chmod them")


def _files(settings: Settings) -> Iterator[Finding]:
    with connect(settings) as connection:
        found, skipped = find_files(connection, settings)
    for name, table in found.items():
        size = sum(file.size for file in table.files)
        yield Finding("ok", name, f"{len(table.files)} Parquet files, {size:,} bytes, {table.found_as}")
    for name, reason in skipped.items():
        yield Finding("warn", name, reason)
    if not found:
        yield Finding("FAIL", "parquet mode", "none of the four tables has a file")


def _postgres(settings: Settings) -> Iterator[Finding]:
    target = settings.postgres
    if target is None:
        return
    with connect(settings) as connection, open_snapshot(connection, target) as snapshot:
        identity = snapshot.identity
        yield Finding("ok", "Postgres", f"{identity['server_version']} at {target.label}")
        past = "may read past row-level security" if identity["bypasses_rls"] else "is subject to row-level security"
        yield Finding("ok" if identity["bypasses_rls"] else "warn", "role", f"{target.user} {past}")
        found, skipped = find_tables(snapshot, settings, hold=False)
        for name, reason in skipped.items():
            yield Finding("warn", name, reason)
    for name, table in found.items():
        # One snapshot each: a statement that policies refuse ends the transaction it is in.
        with connect(settings) as connection:
            security = "row-level security on" if table.row_security else "no row-level security"
            try:
                with open_snapshot(connection, target) as snapshot:
                    _read_one(snapshot, table.schema, table.relation)
                yield Finding("ok", name, f"{table.found_as}, {security}, readable")
            except SourceError as error:
                yield Finding("FAIL", name, f"{table.found_as}, {security}: {error}")


def _read_one(snapshot: Snapshot, schema: str, relation: str) -> None:
    snapshot.query(f"SELECT 1 AS one FROM {sql.quote(schema, relation)} LIMIT 1")  # noqa: S608 - quoted


def _published(settings: Settings) -> Iterator[Finding]:
    document, path = read_document(settings), current(settings)
    if document is None or path is None:
        yield Finding("warn", "published file", f"nothing at {settings.published_path} yet; run `americano sync`")
    else:
        yield Finding("ok", "published file", f"{document.snapshot_id}, source as of {document.instant}, {path}")


def _pseudonym_key(settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", "pseudonym key", key_state(settings))


def _mlflow(settings: Settings) -> Iterator[Finding]:
    """Without importing mlflow, which takes seconds: a server must answer its API, a store's folder take files."""
    parts = urlsplit(settings.tracking_uri)
    if parts.scheme not in {"http", "https"}:
        folder = Path(parts.path)
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        ok = os.access(existing, os.W_OK)
        found = f"a local store ({parts.scheme}) under {existing}{'' if ok else ', which is not writable'}"
        yield Finding("ok" if ok else "warn", "MLflow", found)
        return
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
    where = f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    try:
        # Not /health: it says 200 also to a client whose requests the server's host check refuses.
        connection.request("GET", f"{parts.path.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        yield Finding("warn", "MLflow", f"{where} does not answer: {error}")
    else:
        ok = status == http.client.OK
        yield Finding("ok" if ok else "warn", "MLflow", f"{where} answers{'' if ok else f', but with status {status}'}")
    finally:
        connection.close()
