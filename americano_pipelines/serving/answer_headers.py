"""Write the headers that identify an answer: the snapshot, the instant, a strong ETag."""

from email.utils import format_datetime
from importlib.metadata import version
from typing import Any

import orjson

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.serving.answer_formats import MEDIA_TYPES, Format
from americano_pipelines.serving.published_pool import OpenSnapshot

SNAPSHOT_HEADER = "x-americano-snapshot"
_VERSION = version("americano-pipelines")


def pinned_headers(snapshot: OpenSnapshot, etag: str) -> dict[str, str]:
    """The headers of every answer that comes from a snapshot."""
    return {
        SNAPSHOT_HEADER: snapshot.record.snapshot_id,
        "last-modified": format_datetime(snapshot.instant, usegmt=True),
        "etag": etag,
        "cache-control": "private, no-cache",
        "vary": "Accept, Authorization, Cookie",
    }


def strong_etag(*parts: Any) -> str:  # noqa: ANN401 - JSON
    """A strong ETag of all that decides an answer's bytes."""
    return f'"{sha256_hex(orjson.dumps([_VERSION, *parts]))[:32]}"'


def is_not_modified(header: str | None, etag: str) -> bool:
    """Whether a header If-None-Match names the ETag; `*` does not count, for it says nothing about what is kept."""
    return header is not None and etag in (tag.strip().removeprefix("W/") for tag in header.split(","))


def content_type(format_: Format) -> str:
    """The header Content-Type of a format."""
    return f"{MEDIA_TYPES[format_]}{'; charset=utf-8' if format_ is Format.CSV else ''}"
