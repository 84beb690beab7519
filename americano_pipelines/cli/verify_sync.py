"""`americano verify-sync`: is the published file what the source holds now?"""

import dataclasses

import click

from americano_pipelines.cli.demo import start_if_in_use
from americano_pipelines.cli.progress import progress
from americano_pipelines.cli.tables import Console, say_json, show_table
from americano_pipelines.settings import load_settings
from americano_pipelines.stages import Stages


@click.command("verify-sync")
@click.option("--deep", is_flag=True, help="Compare whole rows, and name those that differ.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify_sync(context: click.Context, *, deep: bool, as_json: bool) -> None:
    """Compare the published file with the source now, month by month; exit 1 when they differ."""
    from americano_pipelines.warehouse.verify import verify

    settings = load_settings()
    start_if_in_use(settings)
    with progress(enabled=not as_json):
        result = verify(settings, Stages(), deep=deep)
    if as_json:
        say_json(dataclasses.asdict(result) | {"clean": result.clean})
    else:
        console = Console(highlight=False)
        console.print(f"snapshot {result.snapshot_id}, compared {'row by row' if deep else 'by month'}")
        show_table(console, ("table", "months compared"), list(result.compared.items()))
        for one in result.differences:
            why = "the source has changed since" if one.since else "not by any change in the source"
            console.print(f"[bold red]differs[/] {one.table}, {one.bucket} ({why})", soft_wrap=True)
            console.print(f"  source    {one.source}\n  published {one.published}", soft_wrap=True)
            for side, name in one.rows:
                console.print(f"  only in {side:<9} as it is there: {name}", soft_wrap=True)
        if not result.comparable:
            console.print(
                "the source is another database, or has gone back in time, so what changed when cannot be told",
                soft_wrap=True,
            )
        for name, reason in result.damaged.items():
            console.print(f"[bold red]damaged[/] {name}: {reason}", soft_wrap=True)
        for name, reason in result.missing.items():
            console.print(f"[bold red]missing[/] {name}: {reason}", soft_wrap=True)
        console.print("[green]the same[/]" if result.clean else "[bold red]not the same[/]")
        if result.faults or result.damaged:
            console.print("the published file is not what it was built from: run `americano sync --full`")
    if not result.clean:
        context.exit(1)
