"""`americano runs`: the analyses there are."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich import box
from rich.style import Style
from rich.table import Table
from rich.text import Text

from americano_pipelines.cli.progress import progress
from americano_pipelines.cli.tables import Console, say_json
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.tracking.listing import Listed

_COLUMNS = ("started", "analysis", "protocol", "verdict", "standing", "record")
_WHERE_THERE_IS_ROOM = ("MLflow run", "AnalysisRun")
_FOLDED = {"analysis": len("interrupted"), "protocol": 10, "verdict": len("described")}
_WIDE = 170
_SECONDS, _MINUTES, _CENTURY, _DIGITS = 19, 16, 2, 8
_STYLES = {"FINISHED": "green", "RUNNING": "yellow", "SCHEDULED": "yellow"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(*, as_json: bool) -> None:
    """List all analyses, newest first: those that failed or still run too, and records whose MLflow run is gone."""
    from americano_pipelines.tracking.listing import listing
    from americano_pipelines.tracking.store import open_store

    settings = load_settings()
    with progress(enabled=not as_json):
        found = listing(settings, open_store(settings))
    if as_json:
        say_json([asdict(one) for one in found])
    else:
        _show(found)


def state(one: "Listed") -> str:
    """The verdict, and the status wherever it is not that of an analysis that came to its end."""
    ended = one.status == "FINISHED"
    said = one.verdict or ("described" if ended else "")
    return said if ended else f"{said} ({one.status.lower()})".strip()


def _show(found: "list[Listed]") -> None:
    console = Console(highlight=False)
    if not found:
        console.print("no analysis was run yet: materialize an asset of the group `analysis`")
        return
    table = Table(box=box.SIMPLE, pad_edge=False)
    wide = console.width >= _WIDE
    for name in (*_COLUMNS, *(_WHERE_THERE_IS_ROOM if wide else ())):
        # An id or a time that is broken in two can neither be read nor copied.
        table.add_column(name, overflow="fold", no_wrap=name not in _FOLDED, min_width=_FOLDED.get(name))
    for one in found:
        run_id = one.mlflow_run_id
        table.add_row(
            Text((one.started[:_SECONDS] if wide else one.started[_CENTURY:_MINUTES]).replace("T", " ")),
            Text((one.analysis or "-").replace("_", " ")),  # where it may be broken, it is between words
            Text(one.protocol or "-"),
            Text(state(one), style=_STYLES.get(one.status, "bold red")),
            Text(one.standing or "-"),
            Text(one.record[:_DIGITS] if one.record else "-"),
            *([Text(run_id, style=Style(link=one.mlflow_url) if one.mlflow_url else "")] if wide else []),
            *([Text(one.analysis_run_id or "-")] if wide else []),
        )
    console.print(table)
    if not wide:
        console.print("RUN of `americano verify` is the record; --json, or a wider terminal, has the other ids too")
    unrecorded = [one for one in found if one.record is None and one.status == "FINISHED"]
    if unrecorded:
        console.print(
            f"[bold red]without an intact record[/]: {', '.join(one.mlflow_run_id for one in unrecorded)}; "
            "`americano verify` says more",
            soft_wrap=True,
        )
