"""Run `americano purge`: erase a learner from everything kept here, after the source erased them."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from americano_pipelines.cli.exit_codes import FAILED, WRONG_USE
from americano_pipelines.cli.output import Console, progress, say, say_json, show_table
from americano_pipelines.cli.sync import run_sync
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.erasure.erasure_report import ErasureReport

_LONGEST_UNBROKEN = 34


@click.command()
@click.option("--learner", required=True, help="The id of the learner, as in the source.")
@click.option("--dry-run", is_flag=True, help="Only list the items; run no sync and remove nothing.")
@click.option("--unseen", is_flag=True, help="Remove items that may hold the learner although no file shows the id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def purge(context: click.Context, *, learner: str, dry_run: bool, unseen: bool, as_json: bool) -> None:
    """Erase a learner from snapshots, extracts and run files.

    Erase the learner in the source first. The command runs a full sync, then removes the items. If the source still
    has the learner, nothing is removed and the exit code is 1.
    """
    from americano_pipelines.defs.erase import erase, find_items
    from americano_pipelines.erasure.snapshot_files import OTHER_NAME
    from americano_pipelines.erasure.spellings import spellings
    from americano_pipelines.warehouse.plan_history import dropping_plans

    settings = load_settings()
    if not learner.strip():
        say("--learner is empty: name the learner that the source has erased", err=True)
        context.exit(WRONG_USE)
    with progress("searching all files for the learner", enabled=not as_json):
        erasure = find_items(settings, learner)
    problems, is_known = erasure.problems, erasure.names_learner or bool(erasure.in_source)
    if not dry_run:
        names_learner, owners = erasure.names_learner, erasure.owners
        ids = spellings(learner)
        with ExitStack() as syncing:
            if is_known or unseen:
                others = {protocol_id for protocol_id, owner_ids in owners.items() if ids.isdisjoint(owner_ids)}
                syncing.enter_context(dropping_plans(settings.paths.spill, others=others))
            summary = run_sync(settings, full=True, quiet=as_json)
        if not summary.success:
            say(f"nothing was purged, for the sync before it failed: {summary.error}", err=True)
            context.exit(FAILED)
        with progress("removing what holds the learner", enabled=not as_json):
            erasure = erase(settings, learner, confirmed=names_learner or unseen, owners=owners)
        problems = erasure.problems + _not_purged(erasure)
    other_files = [item.name for item in erasure.items if item.kind == OTHER_NAME]
    if as_json:
        listed = [
            {"kind": item.kind, "what": item.name, "bytes": item.bytes, "reason": item.reason}
            for item in erasure.to_remove
        ]
        report = {
            "still_there": erasure.in_source,
            "found": listed,
            "removed": erasure.removed,
            "remains": erasure.remains(),
            "others": other_files,
        }
        say_json(report)
    else:
        _show(erasure, other_files, dry_run=dry_run, is_known=is_known)
    for problem in problems:
        say(problem, err=True)
    if problems:
        context.exit(FAILED)


def _not_purged(erasure: "ErasureReport") -> list[str]:
    """Why items were found but nothing was removed."""
    if erasure.in_source:
        return ["the source still has this learner: erase them there, then run purge again"]
    if erasure.doubtful and erasure.to_remove:
        unseen = (
            "no file shows this id: is it spelled as the source writes it? The files above may hold rows that were "
            "deleted before; --unseen removes them"
        )
        return [unseen]
    return []


def _show(erasure: "ErasureReport", others: list[str], *, dry_run: bool, is_known: bool) -> None:
    console = Console(highlight=False)
    if dry_run and not is_known:
        console.print("[yellow]no file shows this id[/]: is it spelled as the source writes it?")
    removed = set(erasure.removed)
    for title, part in (
        ("removed", [item for item in erasure.to_remove if item.name in removed]),
        ("would be removed" if dry_run else "not removed", [i for i in erasure.to_remove if i.name not in removed]),
    ):
        if part:
            lines = [(item.kind, item.name, "" if item.bytes is None else item.bytes, item.reason) for item in part]
            # An id stays on one line; the path of a file may be too long for that.
            is_short = max(len(item.name) for item in part) <= _LONGEST_UNBROKEN
            unbroken = ("what", "bytes", *(("name",) if is_short else ()))
            header, heading = ("what", "name", "bytes", "why"), f"[bold]{title}[/]"
            show_table(console, header, lines, title=heading, max_rows=len(lines), unbroken=unbroken)
    if not erasure.to_remove:
        console.print("nothing to remove: no kept file holds this learner, or could hold them")
    for column, count in erasure.in_source.items():
        if dry_run:
            console.print(
                f"[yellow]published now[/] {escape(column)}: {count:,} rows; a purge makes a full sync first, and "
                "removes this file if the source has erased them",
            )
        else:
            console.print(f"[bold red]still there[/] {escape(column)}: {count:,} rows")
    for text in erasure.remains():
        console.print(f"[yellow]remains[/] {escape(text)}")
    for path in others:
        console.print(f"[yellow]not looked at[/] {escape(path)}: published under another name")
