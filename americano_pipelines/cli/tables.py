"""The terminal, and small tables on it: how rows, sizes and text of the app are shown.

Only the looks belong here.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import click
import rich.console
from rich import box
from rich.table import Table
from rich.text import Text

from americano_pipelines.text import json_text, one_line, visible

MOST_ROWS = 10


class Console(rich.console.Console):
    """A terminal that acts on no control character of a text: what it prints shows them as escapes."""

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as rich has them
        """Turn every string that is printed, and every string in a table, into a line."""
        return super().render_str(visible(text), **options)


def say(text: object, *, err: bool = False) -> None:
    """Print a line that is not styled, such as an error's message."""
    click.echo(visible(str(text)), err=err)


def say_json(value: object) -> None:
    """Print JSON."""
    click.echo(json_text(value))


def show_table(
    console: Console,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str = "",
    most_rows: int = MOST_ROWS,
) -> None:
    """Print a table; of many rows the last ones, saying how many came before."""
    if title:
        console.print(title, soft_wrap=True)
    table = Table(box=box.SIMPLE, pad_edge=False)
    for index, name in enumerate(header):
        numeric = bool(rows) and isinstance(rows[-1][index], int | float)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    if len(rows) > most_rows:
        table.add_row(*(["…"] * len(header)))
    for row in rows[-most_rows:]:
        table.add_row(*_cells(row))
    if len(rows) > most_rows:
        table.caption = f"last {most_rows} of {len(rows):,} rows"
        table.caption_justify = "left"
    console.print(table)


def _cells(row: Iterable[object]) -> list[Text]:
    """Values as plain text: a label such as `[/b]` is data, not markup."""
    return [
        Text("-" if value is None else f"{value:,}" if isinstance(value, int) else one_line(str(value)))
        for value in row
    ]
