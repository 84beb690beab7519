"""Recognise a learner's id in the spellings of columns, JSON texts and escapes."""

import json
import re
import uuid
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from americano_pipelines.sources.column_roles import name_key

_DISTINCTIVE = 6
_LAST_OF_ONE_BYTE = 0xFF


class _Number(str):
    """A number as a JSON text writes it."""

    __slots__ = ()


def spellings(learner_id: str) -> set[str]:
    """An id as the source and as DuckDB write it: without padding, UUIDs and bytes in lower case."""
    spelled = {learner_id, learner_id.rstrip(" ")}
    if learner_id.startswith("\\x"):
        spelled.add(learner_id.lower())
    with suppress(ValueError):
        spelled.add(str(uuid.UUID(learner_id)))
    return spelled


def escaped_pattern(learner_id: str) -> str:
    r"""A regular expression that fits every text in which JSON may escape the id, also in a JSON text within another.

    It fits other texts too. Python and DuckDB both read it. Letter case is not meant to count: `\u005c` is `\u005C`.
    """
    return "".join(_escaped(character) for character in learner_id.rstrip(" "))


def mention_pattern(learner_id: str) -> re.Pattern[str]:
    """A regular expression that matches a text mentioning the id, plain or escaped, as a word of its own.

    A short id, and one of digits only, counts in quotes only: else each text with a number would mention it.
    """
    escaped = escaped_pattern(learner_id)
    if is_distinctive(learner_id):
        return re.compile(rf"(?:(?<![\w-])|(?<=\\[bfnrt])){escaped}(?![\w-])", re.IGNORECASE)
    return re.compile(rf"""(["'`]){escaped}\\*\1""", re.IGNORECASE)


def is_distinctive(learner_id: str) -> bool:
    """Whether a text that has the id as a word is confirmed to mean it."""
    return len(learner_id.rstrip(" ")) >= _DISTINCTIVE and not learner_id.isdecimal()


def named_in_json(text: str, learner_id: str, keys: Collection[str]) -> bool:
    """Whether a JSON text has the id as a string or a key, or as a number below a key that means a learner.

    A string that is a JSON text of its own counts as that text. A text that is nested too deeply to be read counts as
    one that has the id.

    Args:
        text: the text, JSON or not.
        learner_id: the id.
        keys: of numbers that are ids, as `name_key` writes them; `user_ids` means the same as `user_id`.
    """
    try:
        return _text_holds(text, spellings(learner_id), keys)
    except RecursionError:
        return True


def _text_holds(text: str, ids: Collection[str], keys: Collection[str]) -> bool:
    try:
        # Python reads what DuckDB refuses: half of a surrogate pair, which Postgres accepts in a column of type json.
        value = json.loads(
            text.lstrip("\ufeff"), object_pairs_hook=tuple, parse_int=_Number, parse_float=_Number
        )  # fmt: skip
    except ValueError:
        return False
    return _holds(value, ids, keys, "")


def _holds(value: Any, ids: Collection[str], keys: Collection[str], key: str) -> bool:  # noqa: ANN401 - any JSON
    match value:
        case _Number():
            plain = value.partition(".")[0] if value.partition(".")[2].strip("0") == "" else value
            return plain in ids and name_key(key).removesuffix("s") in keys
        case str():
            # Parsed only where it may be more than a word: most strings are none.
            return _is_one_of(value, ids) or (value.lstrip()[:1] in {"{", "[", '"'} and _text_holds(value, ids, keys))
        case list():
            return any(_holds(item, ids, keys, key) for item in value)
        case tuple():
            return any(_is_one_of(name, ids) or _holds(item, ids, keys, name) for name, item in value)
    return False


def _is_one_of(text: str, ids: Collection[str]) -> bool:
    return any(spelled in ids for spelled in spellings(text))


def _escaped(character: str) -> str:
    """A character as itself or escaped, below any number of backslashes: a text within a text doubles them."""
    units = character.encode("utf-16-be").hex(" ", 2).split()
    escape = r"\\+".join(f"u{unit}" for unit in units)
    if character == "\\":
        return rf"\\+(?:{escape})?"
    short = json.dumps(character)[2:3] if character in "\b\f\n\r\t" else ""
    itself = (
        re.escape(character)
        if character.isprintable() or ord(character) > _LAST_OF_ONE_BYTE
        else rf"\x{ord(character):02x}"
    )
    return rf"\\*(?:{itself}|{escape}{f'|{short}' if short else ''})"
