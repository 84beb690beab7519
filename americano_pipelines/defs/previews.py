"""Rows to look at in the UI, and small tables.

Here belongs what of a row may be shown: Dagster keeps it, and an erased learner must not stand in it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal

import dagster as dg

from americano_pipelines.text import markdown

_CELL_LENGTH = 40

# Roles and columns whose text says what kind of thing a row is, and not whose.
_SHOWN_ROLES = ("id", "type", "phase", "protocol", "design", "outcome", "status", "label")
_SHOWN = {"event_id", "event_type", "phase", "phase_type", "phase_id", "protocol_id", "design", "primary_outcome",
          "analysis_run_id", "analysis_type", "status"}  # fmt: skip


def shown_columns(roles: Mapping[str, str]) -> set[str]:
    """The columns of a mirror or export whose text a preview may show."""
    return {column for role, column in roles.items() if role in _SHOWN_ROLES}


def preview_table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    shown: Collection[str] = frozenset(_SHOWN),
    hidden: str = "",
) -> dg.MarkdownMetadataValue:
    """A few rows to look at, long cells cut, and not saying whose they are: no purge reaches Dagster's records.

    Args:
        header: column names.
        rows: values; times, numbers and truth values are shown, text only in some columns.
        shown: those columns.
        hidden: a column whose values are not shown whatever they are: the learner's, which may be a number.
    """
    table = [
        [_shown(value) if name != hidden and (name in shown or _plain(value)) else "(not shown)"
         for name, value in zip(header, row, strict=True)]
        for row in rows
    ]  # fmt: skip
    return dg.MetadataValue.md(markdown_table(header, table))


def _plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | Decimal | date | time)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A small table in Markdown; nothing in its cells is Markdown."""
    lines = ["| " + " | ".join(map(_cell, header)) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "" if value is None else markdown(str(value))


def _shown(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _CELL_LENGTH else f"{text[: _CELL_LENGTH - 1]}…"
