"""Run `americano analyse`: analyses of protocols, now, in this shell."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.cli.exit_codes import FAILED, WRONG_USE
from americano_pipelines.cli.output import Console, progress, say, say_json, show_table
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.defs.analyses.launch_analyses import Launched


@click.command()
@click.argument("protocols", nargs=-1, metavar="[PROTOCOL]...")
@click.option("--all", "every", is_flag=True, help="Analyse every published protocol.")
@click.option("--requests", is_flag=True, help="Carry out the pending requests of the app.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(sorted(PROTOCOL_KINDS)),
    help="Run only this analysis. Can be repeated. Without it, all are run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def analyse(
    context: click.Context, *, protocols: tuple[str, ...], every: bool, requests: bool, only: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Analyse protocols of the published file.

    PROTOCOL is the id of a protocol. The result is recorded in MLflow and, if the app's database is configured, in
    the app. Parameters come from the plan of the protocol; other parameters can be set in the launchpad of the
    Dagster UI.
    """
    from americano_pipelines.defs.analyses.launch_analyses import run_analyses, run_requests

    if bool(protocols) + every + requests != 1:
        say("name protocols by their ids, or give --all or --requests", err=True)
        context.exit(WRONG_USE)
    settings = load_settings()
    if requests and settings.app is None:
        say("--requests needs the app's database: set ANALYSIS_RUNS_DATABASE_URL", err=True)
        context.exit(WRONG_USE)
    with progress(enabled=not as_json):
        launched = list(
            run_requests(settings, command="americano analyse --requests")
            if requests
            else run_analyses(settings, protocols or None, only, command="americano analyse")
        )
    if as_json:
        say_json([run.as_dict() for run in launched])
    else:
        show(launched)
    if not all(run.success for run in launched):
        context.exit(FAILED)


def show(runs: "Iterable[Launched]") -> None:
    """Print a table of analyses, and the failures below it."""
    console, launched = Console(highlight=False), list(runs)
    if not launched:
        console.print("nothing to analyse")
        return
    rows = [
        (run.protocol, run.analysis, run.verdict or ("described" if run.success else "failed"), run.standing or "",
         (run.mlflow_run_id or "")[:8])
        for run in launched
    ]  # fmt: skip
    show_table(console, ("protocol", "analysis", "verdict", "", "MLflow run"), rows, most_rows=len(rows))
    for run in launched:
        if not run.success:
            console.print(f"[red]failed[/] {escape(f'{run.protocol}, {run.analysis}: {run.sentence}')}", soft_wrap=True)
