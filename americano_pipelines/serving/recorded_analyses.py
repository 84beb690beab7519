"""Read records, extracts and files of analyses, for principals who may see the protocol."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from americano_pipelines.common.hashing import SHA256, sha256_hex
from americano_pipelines.errors import AmericanoError
from americano_pipelines.serving.answer_tables import ANALYSIS, PROTOCOL_IS_VISIBLE
from americano_pipelines.serving.principals import Principal
from americano_pipelines.serving.problem_details import Problem, not_found
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.record_worker import is_shown
from americano_pipelines.serving.service import Service


@dataclass(frozen=True)
class StoredRecord:
    """A record as it lies in the archive.

    Attributes:
        sha256: its hash.
        content: its bytes.
        document: the same, parsed.
    """

    sha256: str
    content: bytes
    document: dict[str, Any]


async def visible_record(service: Service, snapshot: OpenSnapshot, principal: Principal, name: str) -> StoredRecord:
    """The record of an analysis that a principal may see.

    Args:
        service: where it is.
        snapshot: the snapshot that says whose protocol it is of, and which record a row has.
        principal: the requesting principal.
        name: the id of the analysis run, or the hash of the record.

    Raises:
        Problem: 404, there is no such record or it is not visible; 500, it was changed after it was written.
    """
    async with service.slot():
        return await asyncio.wrap_future(service.threads.submit(_visible_record, service, snapshot, principal, name))


def _visible_record(service: Service, snapshot: OpenSnapshot, principal: Principal, name: str) -> StoredRecord:
    cursor = snapshot.cursor()
    try:
        sha256 = _record_of_run(cursor, snapshot, principal, name) or _record_since(service, name)
        if sha256 is None and SHA256.fullmatch(name):
            sha256 = name
        content = (
            None if sha256 is None or not SHA256.fullmatch(sha256) else _kept(service.settings.paths.records, sha256)
        )
        if sha256 is None or content is None:
            raise not_found("analysis with a record")
        document = json.loads(content)
        # Also where a row names the record: the row is the app's, and might name another's.
        if not _is_visible(cursor, snapshot, principal, document["identity"]["protocol_id"]):
            raise not_found("analysis with a record")
    finally:
        cursor.close()
    return StoredRecord(sha256, content, document)


def _record_of_run(
    cursor: duckdb.DuckDBPyConnection, snapshot: OpenSnapshot, principal: Principal, name: str
) -> str | None:
    statement = ANALYSIS.statements[0]
    if not all(f"research.{need}" in snapshot.relations for need in statement.needs):
        return None
    cursor.execute(statement.text, {"scope": principal.visible, "analysis": name})
    columns = [column[0] for column in cursor.description or ()]
    row = cursor.fetchone()
    return dict(zip(columns, row, strict=True))["record_sha256"] if row is not None else None


def _record_since(service: Service, name: str) -> str | None:
    """The newest record of an analysis run that the published file does not have yet, or has without its record."""
    from americano_pipelines.provenance.record_index import find_entries

    entries = find_entries(service.settings.paths, "analysis_run_id", name)
    return next((entry.sha256 for entry in reversed(entries) if entry.readable), None)


def _is_visible(
    cursor: duckdb.DuckDBPyConnection, snapshot: OpenSnapshot, principal: Principal, protocol: str | None
) -> bool:
    if principal.visible is None:
        return True
    if protocol is None or "research.protocols" not in snapshot.relations:
        return False
    values = {"scope": principal.visible, "protocol": protocol}
    return cursor.execute(PROTOCOL_IS_VISIBLE.text, values).fetchone() is not None


def _kept(folder: Path, sha256: str) -> bytes | None:
    """The bytes of a file in a folder of the archive, None where there is none."""
    from americano_pipelines.provenance.archive import get

    try:
        return get(folder, sha256)
    except FileNotFoundError:
        return None
    except AmericanoError as error:
        raise Problem(500, "changed", str(error)) from None


async def extract_of(service: Service, record: StoredRecord) -> tuple[str, bytes]:
    """Hash and bytes of the exact input of an analysis, with pseudonyms.

    Raises:
        Problem: 404, it was erased; 500, it was changed.
    """
    sha256 = str(record.document["extract_sha256"])
    content = await asyncio.to_thread(_kept, service.settings.paths.extracts, sha256)
    if content is None:
        raise not_found("extract")
    return sha256, content


async def file_of(service: Service, record: StoredRecord, file_name: str) -> tuple[str, bytes]:
    """Hash and bytes of a report or picture of an analysis, as the record has them.

    Args:
        service: where it is.
        record: of the analysis.
        file_name: the file's name without folders.

    Raises:
        Problem: 404, there is none; 502, MLflow does not answer or its file is not the recorded one.
    """
    artifacts = record.document["artifacts"]
    shown = {path: entry["sha256"] for path, entry in artifacts.items() if is_shown(path, int(entry["bytes"]))}
    path = next((path for path in shown if path.rpartition("/")[2] == file_name), None)
    if path is None:
        raise not_found("file")
    sha256 = str(shown[path])
    if (content := service.files.get(sha256)) is None:
        # All at once, because starting the process takes most of the time.
        contents = await service.worker.files(str(record.document["tracking"]["run_id"]), list(shown))
        for file in contents.values():
            service.files.put(sha256_hex(file), file)
        content = service.files.get(sha256)
    if content is None:
        raise Problem(502, "changed", f"MLflow has no {path} as it was recorded; `americano verify` says more")
    return sha256, content
