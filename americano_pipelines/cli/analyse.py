"""Run `americano analyse`: analyses of protocols, now, in this shell."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.cli.exit_codes import FAILED, WRONG_USE
from americano_pipelines.cli.output import SHORT_LENGTH, Console, kind_title, progress, say, say_json, show_table
from americano_pipelines.errors import AnalysisError
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
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a parameter, such as alpha=0.01. Can be repeated. The run is then exploratory, unless it was planned so.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def analyse(
    context: click.Context, *, protocols: tuple[str, ...], every: bool, requests: bool, only: tuple[str, ...],
    assignments: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Analyse protocols of the published file.

    PROTOCOL is the name of a protocol, its id, or a part of one. The result is recorded in MLflow and, if the app's
    database is configured, in the app. Parameters come from the plan of the protocol; --set sets others.
    """
    from americano_pipelines.analysis.parameter_texts import parse_parameters
    from americano_pipelines.defs.analyses.launch_analyses import run_analyses, run_requests
    from americano_pipelines.warehouse.published_protocols import protocol_ids, read_protocols

    if bool(protocols) + every + requests != 1:
        say("name protocols, or give --all or --requests", err=True)
        context.exit(WRONG_USE)
    if requests and assignments:
        say("--requests takes its parameters from the app: leave --set out", err=True)
        context.exit(WRONG_USE)
    settings = load_settings()
    if requests and settings.app is None:
        say("--requests needs the app's database: set ANALYSIS_RUNS_DATABASE_URL", err=True)
        context.exit(WRONG_USE)
    try:
        parameters = parse_parameters([PROTOCOL_KINDS[kind] for kind in only or PROTOCOL_KINDS], assignments)
    except AnalysisError as error:
        say(f"--set: {error}", err=True)
        context.exit(WRONG_USE)
    with progress("loading Dagster and MLflow", enabled=not as_json):
        published = read_protocols(settings)
        if requests:
            launched = list(run_requests(settings, command="americano analyse --requests"))
        else:
            ids = protocol_ids(published, protocols) if protocols else None
            runs = run_analyses(settings, ids, only, command="americano analyse", parameters=parameters)
            launched = list(runs)
    if as_json:
        say_json([run.as_dict() for run in launched])
    else:
        show(launched, {protocol.protocol_id: protocol.title for protocol in published})
    if not all(run.success for run in launched):
        context.exit(FAILED)


def show(runs: "Iterable[Launched]", names: Mapping[str, str]) -> None:
    """Print a table of analyses, and the failures below it.

    Args:
        runs: the analyses.
        names: names of protocols by id, for those that failed.
    """

    def name_of(run: "Launched") -> str:
        # A protocol without an id is better known by that.
        return (names.get(run.protocol_id) if run.protocol_id else None) or run.protocol

    console, launched = Console(highlight=False), list(runs)
    if not launched:
        console.print("nothing to analyse")
        return
    rows = [
        (name_of(run), kind_title(run.analysis, wide=True),
         run.verdict or ("described" if run.success else "failed"), run.standing or "-",
         (run.sha256 or "-")[:SHORT_LENGTH])
        for run in launched
    ]  # fmt: skip
    header = ("protocol", "analysis", "verdict", "standing", "record")
    show_table(console, header, rows, max_rows=len(rows), unbroken=("standing", "record"))
    for run in launched:
        if not run.success:
            console.print(f"[red]failed[/] {escape(f'{name_of(run)}, {run.analysis}: {run.sentence}')}")
    if any(run.sha256 for run in launched):
        console.print("`americano verify RECORD` checks one.")
