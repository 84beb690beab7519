"""Hash bytes, files and JSON values as SHA-256, in 64 hexadecimal digits, and decode JSON within JSON."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from americano_pipelines.errors import AnalysisError

_MAX_NESTED = 3
SHA256 = re.compile("[0-9a-f]{64}")
_CHUNK = 1 << 20


def sha256_hex(content: bytes) -> str:
    """Hash bytes."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash a file's bytes, without holding them all in memory.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(
    value: Any,  # noqa: ANN401 - anything that JSON holds
    *,
    allow_nan: bool = False,
    ascii_only: bool = False,
    spaced: bool = False,
) -> bytes:
    """Write a JSON value as its canonical text: sorted keys, floats as Python writes them, UTF-8.

    The flags exist because hashes of these texts are recorded: a text that is hashed never changes its form.

    Args:
        value: the value.
        allow_nan: write NaN and infinities, which JSON does not have; extracts hold them.
        ascii_only: escape all other characters; training data and the fingerprints of tables do.
        spaced: write a space after commas and colons; the fingerprints of tables do.

    Raises:
        AnalysisError: the value holds NaN or an infinity, and `allow_nan` is not set.
    """
    separators = (", ", ": ") if spaced else (",", ":")
    try:
        text = json.dumps(value, sort_keys=True, separators=separators, ensure_ascii=ascii_only, allow_nan=allow_nan)
    except ValueError as error:
        raise AnalysisError(f"a result cannot be recorded: {error}") from None
    return text.encode()


def decode_json_text(value: object) -> object:
    """The object that a text holds as JSON, also as JSON within JSON; any other value as it is."""
    decoded = value
    for _ in range(_MAX_NESTED):
        if not isinstance(decoded, str):
            break
        try:
            decoded = json.loads(decoded)
        except (ValueError, RecursionError):
            return value
    return decoded if isinstance(decoded, dict) else value
