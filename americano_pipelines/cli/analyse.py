"""Run `americano analyse`: analyses of protocols and groups, now, in this shell."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from americano_pipelines.analysis.registry import GROUP_KINDS, KINDS, PROTOCOL_KINDS
from americano_pipelines.cli.exit_codes import FAILED, WRONG_USE
from americano_pipelines.cli.output import SHORT_LENGTH, Console, kind_title, progress, say, say_json, show_table
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from americano_pipelines.defs.analyses.launch_analyses import Launched


_COMMAND = "americano analyse"


@click.command()
@click.argument("protocols", nargs=-1, metavar="[PROTOCOL]...")
@click.option("--all", "every", is_flag=True, help="Analyse every published protocol and group.")
@click.option("--requests", is_flag=True, help="Carry out the pending requests of the app.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(sorted({**PROTOCOL_KINDS, **GROUP_KINDS})),
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
    """Analyse protocols of the published file, or groups of them.

    PROTOCOL is the name of a protocol, its id, or a part of one. `multiple_baseline GROUP` analyses the protocols that
    declare this group in their plans. The result is recorded in MLflow and, if the app's
    database is configured, in the app. Parameters come from the plan of the protocol; --set sets others.
    """
    from americano_pipelines.analysis.parameter_texts import parse_parameters
    from americano_pipelines.warehouse.published_protocols import read_protocols

    if bool(protocols) + every + requests != 1:
        say("name protocols, or give --all or --requests", err=True)
        context.exit(WRONG_USE)
    of_group = protocols[0] if protocols and protocols[0] in GROUP_KINDS else None
    if problem := _problem(of_group, protocols, only, every=every, with_parameters=requests and bool(assignments)):
        say(problem, err=True)
        context.exit(WRONG_USE)
    settings = load_settings()
    if requests and settings.app is None:
        say("--requests needs the app's database: set ANALYSIS_RUNS_DATABASE_URL", err=True)
        context.exit(WRONG_USE)
    kinds = _kinds(of_group, only, every=every)
    try:
        parameters = parse_parameters([KINDS[kind] for kind in kinds], assignments)
    except AnalysisError as error:
        say(f"--set: {error}", err=True)
        context.exit(WRONG_USE)
    with progress("loading Dagster and MLflow", enabled=not as_json):
        published = read_protocols(settings)
        if requests:
            from americano_pipelines.defs.analyses.launch_analyses import run_requests

            launched = list(run_requests(settings, command="americano analyse --requests"))
        elif of_group is not None:
            launched = _of_groups(settings, protocols[1:], [of_group], parameters)
        else:
            launched = _of_protocols(settings, protocols, kinds, parameters)
            of_groups = [kind for kind in kinds if kind in GROUP_KINDS]
            if of_groups:
                launched += _of_groups(settings, None, of_groups if only else [], parameters)
    if as_json:
        say_json([run.as_dict() for run in launched])
    else:
        show(launched, {protocol.protocol_id: protocol.title for protocol in published})
    if not all(run.success for run in launched):
        context.exit(FAILED)


def _problem(
    of_group: str | None, protocols: tuple[str, ...], only: tuple[str, ...], *, every: bool, with_parameters: bool
) -> str | None:
    """Why these arguments do not go together."""
    if with_parameters:
        return "--requests takes its parameters from the app: leave --set out"
    if of_group is not None and (only or len(protocols) == 1):
        return f"name groups after {of_group}, and leave --only out"
    if not every and (groups_only := [kind for kind in only if kind in GROUP_KINDS]):
        return f"{groups_only[0]} is of groups: `americano analyse {groups_only[0]} GROUP`, or --all"
    return None


def _of_protocols(
    settings: Settings, protocols: tuple[str, ...], kinds: list[str], parameters: dict[str, dict[str, Any]]
) -> "list[Launched]":
    from americano_pipelines.defs.analyses.launch_analyses import run_analyses
    from americano_pipelines.warehouse.published_protocols import protocol_ids, read_protocols

    of_protocols = [kind for kind in kinds if kind in PROTOCOL_KINDS]
    if not of_protocols:
        return []
    ids = protocol_ids(read_protocols(settings), protocols) if protocols else None
    return list(run_analyses(settings, ids, of_protocols, command=_COMMAND, parameters=_for(of_protocols, parameters)))


def _of_groups(
    settings: Settings, groups: tuple[str, ...] | None, kinds: list[str], parameters: dict[str, dict[str, Any]]
) -> "list[Launched]":
    from americano_pipelines.defs.analyses.launch_analyses import run_group_analyses

    return list(run_group_analyses(settings, groups, kinds, command=_COMMAND, parameters=parameters))


def _for(kinds: list[str], parameters: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {kind: values for kind, values in parameters.items() if kind in kinds}


def _kinds(of_group: str | None, only: tuple[str, ...], *, every: bool) -> list[str]:
    """The analyses that may run; those of groups only where groups are named or all is analysed."""
    if of_group is not None:
        return [of_group]
    kinds = list(only) or [*PROTOCOL_KINDS, *GROUP_KINDS]
    return kinds if every else [kind for kind in kinds if kind in PROTOCOL_KINDS]


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
