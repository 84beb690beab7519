"""`americano runs`: the analyses there are."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from americano_pipelines.cli.progress import progress
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.tracking.listing import Listed

_HEADER = ("started", "analysis", "protocol", "status", "verdict", "standing", "MLflow run", "AnalysisRun")
_IDS, _WIDE = frozenset({"started", "MLflow run", "AnalysisRun"}), 140
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
        click.echo(json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False))
    else:
        _show(found)


def _show(found: "list[Listed]") -> None:
    console = Console(highlight=False)
    if not found:
        console.print("no analysis was run yet: materialize an asset of the group `analysis`")
        return
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in _HEADER:
        # An id that is broken in two cannot be copied; on a narrow terminal everything is.
        table.add_column(name, overflow="fold", no_wrap=name in _IDS and console.width >= _WIDE)
    for one in found:
        shown = (one.started[:19].replace("T", " "), one.analysis, one.protocol)
        table.add_row(
            *(Text(value or "-") for value in shown),
            Text(one.status, style=_STYLES.get(one.status, "bold red")),
            Text(one.verdict or "-"),
            Text(one.standing or "-"),
            Text(one.mlflow_run_id, style=Style(link=one.mlflow_url) if one.mlflow_url else ""),
            Text(one.analysis_run_id or "-"),
        )
    console.print(table)
    unrecorded = [one for one in found if one.record is None and one.status == "FINISHED"]
    if unrecorded:
        console.print(
            f"[bold red]without an intact record[/]: {', '.join(one.mlflow_run_id for one in unrecorded)}; "
            "`americano verify` says more",
            soft_wrap=True,
        )
