"""`americano purge`: erase a learner from every kept snapshot, after the source has erased them."""

import json
from typing import TYPE_CHECKING

import click
from rich.console import Console

from americano_pipelines.cli.codes import FAILED, WRONG_USE
from americano_pipelines.cli.progress import progress
from americano_pipelines.cli.sync import run_sync
from americano_pipelines.cli.tables import show_table
from americano_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from americano_pipelines.warehouse.purge import Kept


@click.command()
@click.option("--learner", required=True, help="The learner's id, as the source writes it.")
@click.option("--dry-run", is_flag=True, help="Only say what is there: no sync, nothing removed.")
@click.option("--unseen", is_flag=True, help="No file shows the id: remove what may hold deleted rows all the same.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def purge(context: click.Context, *, learner: str, dry_run: bool, unseen: bool, as_json: bool) -> None:
    """Remove every kept snapshot that holds a learner, or may.

    First comes a full sync: the published file is then built from nothing, out of rows that the source has now.
    When the learner is still in it nothing is removed, and the exit code is 1.
    """
    from americano_pipelines.warehouse.purge import condemned, still_there, under_other_names

    settings = load_settings()
    if not learner.strip():
        click.echo("--learner is empty: name the learner that the source has erased", err=True)
        context.exit(WRONG_USE)
    with progress(enabled=not as_json):
        published, found = still_there(settings, learner), condemned(settings, learner)
    seen = bool(published) or any(one.holds for one in found)
    removed: list[Kept] = []
    problem = None
    if not dry_run:
        summary = run_sync(settings, full=True, quiet=as_json)
        if not summary.success:
            click.echo(f"nothing was purged, for the sync before it failed: {summary.error}", err=True)
            context.exit(FAILED)
        with progress(enabled=not as_json):
            published, found, removed = _purged(settings, learner, sure=seen or unseen)
        if published:
            problem = "the source still has this learner: erase them there, then purge again"
        elif found and not removed:
            problem = (
                "no file shows this id: is it spelled as the source writes it? The files above may hold rows that were "
                "deleted before; --unseen removes them"
            )
    others = [str(path) for path in under_other_names(settings)]
    if others and problem is None:
        problem = "files published under another name were not looked at: purge once more with that DUCKDB_DB_PATH"
    if as_json:
        shown = [{"what": one.what, "bytes": one.bytes, "reason": one.reason} for one in found]
        report = {"still_there": published, "found": shown, "removed": [one.what for one in removed], "others": others}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _show(found, removed, published, others, dry_run=dry_run)
    if problem is not None:
        click.echo(problem, err=True)
        context.exit(FAILED)


def _purged(settings: Settings, learner: str, *, sure: bool) -> "tuple[dict[str, int], list[Kept], list[Kept]]":
    """Look again, now that the published file is made of what the source has, and remove what has to go."""
    from americano_pipelines.lock import writer_lock
    from americano_pipelines.warehouse.purge import condemned, remove, still_there

    with writer_lock(settings):
        published, found = still_there(settings, learner), condemned(settings, learner)
        removed = found if not published and (sure or any(one.holds for one in found)) else []
        for one in removed:
            remove(settings, one)
    return published, found, removed


def _show(
    found: "list[Kept]", removed: "list[Kept]", published: dict[str, int], others: list[str], *, dry_run: bool
) -> None:
    console = Console(highlight=False)
    if found:
        title = "removed" if removed else "would be removed" if dry_run else "not removed"
        show_table(
            console,
            ("snapshot", "bytes", "why"),
            [(one.what, one.bytes, one.reason) for one in found],
            title=f"[bold]{title}[/]",
        )
    else:
        console.print("no kept snapshot holds this learner, or may")
    for place, rows in published.items():
        if dry_run:
            console.print(
                f"[yellow]published now[/] {place}: {rows:,} rows; a purge makes a full sync first, and removes this "
                "file if the source has erased them",
                soft_wrap=True,
            )
        else:
            console.print(f"[bold red]still there[/] {place}: {rows:,} rows", soft_wrap=True)
    for path in others:
        console.print(f"[yellow]not looked at[/] {path}: published under another name", soft_wrap=True)
