"""Small tables on a terminal: how rows and sizes are shown.

Only the looks belong here.
"""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

MOST_ROWS = 10


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
    return [Text("-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)) for value in row]
