"""Read the columns that folders called `column=value` give to the files below them.

Decide which columns there are, and of what type: left to DuckDB, learner '007' becomes the number 7, and a key that
some files lack drops the column from every row.
"""

import re
from collections.abc import Container, Mapping, Sequence
from datetime import date
from pathlib import Path
from urllib.parse import unquote

from americano_pipelines.common import sql
from americano_pipelines.errors import SourceError

# What stands for "no value" in a folder's name; DuckDB reads these as NULL.
_NO_VALUE = ("__HIVE_DEFAULT_PARTITION__", "null")
_BIGINT = range(-(2**63), 2**63)


def partition_values(path: Path, root: Path) -> list[str]:
    """The `column=value` folders between a root and a file."""
    return [part for part in path.relative_to(root).parts[:-1] if "=" in part]


def partition_columns(paths: Sequence[Path], root: Path, columns: Container[str]) -> dict[str, str]:
    """The columns that folder names give, with the DuckDB type that holds all their values exactly.

    Args:
        paths: the files with rows.
        root: where the folders begin.
        columns: folded names of the columns in the files.

    Raises:
        SourceError: files carry different keys, or a key is ambiguous.
    """
    values: dict[str, set[str]] = {}
    first: tuple[Path, dict[str, str]] | None = None
    above = next((part for part in root.parts if "=" in part), None)
    for path in paths:
        keys = _keys(path, root)
        if keys and above is not None:
            raise SourceError(f"{path}: the folder {above!r} above it would be read as a column. Rename the folder")
        if first is None:
            first = path, keys
        elif keys.keys() != first[1].keys():
            raise SourceError(
                f"{path} lies in folders that give {_named(keys)}, but {first[0]} in folders that give "
                f"{_named(first[1])}. Files of one table must carry the same folder keys; move the file to where it "
                "belongs. Nothing was published"
            )
        for name, value in keys.items():
            values.setdefault(name, set()).add(value)
    for name in values:
        if sql.folded(name) in columns:
            path = next(path for path in paths if partition_values(path, root))
            part = next(part for part in partition_values(path, root) if part.partition("=")[0] == name)
            raise SourceError(
                f"{path}: its folder {part!r} names a column that is also in the file, and would hide it. "
                "Rename the folder"
            )
    return {name: _type_of(texts) for name, texts in values.items()}


def _keys(path: Path, root: Path) -> dict[str, str]:
    keys: dict[str, str] = {}
    for part in partition_values(path, root):
        name, _, value = part.partition("=")
        if not name or "=" in value or sql.folded(name) in map(sql.folded, keys):
            raise SourceError(
                f"{path}: its folder {part!r} is not one column and its value, or repeats a column. Rename it"
            )
        try:
            keys[name] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise SourceError(
                f"{path}: its folder {part!r} has percent signs that do not stand for UTF-8. Rename it; nothing was "
                "published"
            ) from None
    return keys


def _named(keys: Mapping[str, str]) -> str:
    return f"the columns {', '.join(keys)}" if keys else "no column"


def _type_of(texts: set[str]) -> str:
    """A number or a date only where each value, written as text again, equals the folder's text."""
    present = [text for text in texts if text.casefold() not in {word.casefold() for word in _NO_VALUE}]
    if present and all(_is_number(text) for text in present):
        return "BIGINT"
    return "DATE" if present and all(_is_date(text) for text in present) else "VARCHAR"


def _is_number(text: str) -> bool:
    return re.fullmatch("-?[0-9]{1,19}", text) is not None and str(int(text)) == text and int(text) in _BIGINT


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
