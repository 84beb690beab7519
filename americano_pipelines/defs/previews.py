"""Rows to look at in the UI, and small tables.

Which tables may show rows: Dagster keeps every preview from night to night, and no purge reaches into them. So only
tables that count over all learners show any; a row of one person's, without the id too, is that person's.
"""

from collections.abc import Iterable, Sequence

import dagster as dg

from americano_pipelines.text import markdown

# Dates and numbers over all learners. Not by phase or protocol: a label or a protocol may be one person's.
OVER_ALL_LEARNERS = frozenset(dg.AssetKey(["research", name]) for name in ("daily_events", "weekly_events"))
NO_ROWS = "not shown: rows of persons are kept in the published file only, where a purge reaches them"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A small table in Markdown; nothing in its cells is Markdown."""
    lines = ["| " + " | ".join(map(_cell, header)) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "" if value is None else markdown(str(value))
