"""`americano analyse`: analyses of protocols, now, in this shell."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from americano_pipelines.analysis.catalog import KINDS
from americano_pipelines.cli.codes import FAILED, WRONG_USE
from americano_pipelines.cli.progress import progress
from americano_pipelines.cli.tables import Console, say_json, show_table
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.defs.launched import Launched


@click.command()
@click.argument("protocols", nargs=-1, metavar="[PROTOCOL]...")
@click.option("--all", "every", is_flag=True, help="Every published protocol.")
@click.option("--requests", is_flag=True, help="What the app requests, as the sensor would.")
@click.option("--only", multiple=True, type=click.Choice(sorted(KINDS)), help="This analysis; all of them without it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def analyse(
    context: click.Context, *, protocols: tuple[str, ...], every: bool, requests: bool, only: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Analyse protocols of the published file, through the same job and instance as the UI.

    Each analysis is recorded in MLflow and, when the app's database is configured, in the app. What the protocol
    planned stands in for parameters; others are chosen in the UI's launchpad.
    """
    from americano_pipelines.defs.launch_analyses import run_analyses, run_requests

    if bool(protocols) + every + requests != 1:
        click.echo("name protocols by their ids, or give --all or --requests", err=True)
        context.exit(WRONG_USE)
    settings = load_settings()
    if requests and settings.app is None:
        click.echo("--requests needs the app's database: set ANALYSIS_RUNS_DATABASE_URL", err=True)
        context.exit(WRONG_USE)
    with progress(enabled=not as_json):
        found = list(
            run_requests(settings, command="americano analyse --requests")
            if requests
            else run_analyses(settings, protocols or None, only, command="americano analyse")
        )
    if as_json:
        say_json([one.as_dict() for one in found])
    else:
        show(found)
    if not all(one.success for one in found):
        context.exit(FAILED)


def show(found: "Iterable[Launched]") -> None:
    """Print what came of analyses: a table, and what failed below it."""
    console, launched = Console(highlight=False), list(found)
    if not launched:
        console.print("nothing to analyse")
        return
    rows = [
        (one.protocol, one.analysis, one.verdict or ("described" if one.success else "failed"), one.standing or "",
         (one.mlflow_run_id or "")[:8])
        for one in launched
    ]  # fmt: skip
    show_table(console, ("protocol", "analysis", "verdict", "", "MLflow run"), rows, most_rows=len(rows))
    for one in launched:
        if not one.success:
            console.print(
                f"[red]failed[/] {escape(one.protocol)}, {one.analysis}: {escape(one.sentence)}", soft_wrap=True
            )
