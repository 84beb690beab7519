"""Run `americano verify`: check that a recorded analysis is unchanged, current and reproducible."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from americano_pipelines.cli.exit_codes import FAILED
from americano_pipelines.cli.output import Console, cell, progress, say, say_json
from americano_pipelines.provenance.verify.findings import FAULTS, Finding, Status
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from americano_pipelines.provenance.verify.verification import Verification


_TITLES = {
    "record": "copies of the record's hash",
    "app row": "the app's row",
    "MLflow": "MLflow run",
    "artifacts": "artifacts",
    "data": "recorded inputs",
    "currency": "changes since",
    "rerun": "rerun",
}
_GOOD = frozenset({Status.MATCH, Status.SAME, Status.REPEATED})
# An analysis has many of these: those that are unchanged share a line.
_MANY = frozenset({"tag", "parameter", "metric", "package", "column"})


@click.command()
@click.argument("run")
@click.option("--rerun", is_flag=True, help="Repeat the analysis on its stored input and compare the results.")
@click.option("--strict", is_flag=True, help="Exit with 1 also if code, environment or data have changed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(context: click.Context, run: str, *, rerun: bool, strict: bool, as_json: bool) -> None:
    """Check that a recorded analysis was not altered.

    RUN is the hash of a record or the id of a run in MLflow, Dagster or the app; 8 characters are enough; or a
    crate, FILE.zip, whose modules are run. The exit code is 1 if anything recorded was altered or is missing.
    """
    if run.endswith(".zip"):
        context.exit(_verify_crate(Path(run), as_json=as_json))
    from americano_pipelines.defs.analyses.analysis_metadata import materialization_hashes
    from americano_pipelines.provenance.verify.verification import verify as verify_record

    settings = load_settings()
    if settings.app is not None and settings.app.host.startswith("/"):
        # The demo's Postgres, which is stopped after `demo run`, has the app's rows.
        from americano_pipelines.cli.demo import start_if_in_use

        start_if_in_use(settings)
    with (
        progress("comparing the record with its copies", enabled=not as_json),
        materialization_hashes(settings) as in_dagster,
    ):
        verification = verify_record(settings, run, in_dagster, again=rerun)
    if as_json:
        say_json(verification.as_dict())
    else:
        _show(verification)
    if verification.faults or (strict and verification.stale):
        context.exit(FAILED)


def _verify_crate(crate: Path, *, as_json: bool) -> int:
    from americano_pipelines.provenance.crate.crate_check import check_crate

    settings = load_settings()
    with progress("checking the crate", enabled=not as_json):
        check = check_crate(settings.paths, crate)
    if as_json:
        findings = [{"status": status, "what": words} for status, words in check.findings]
        about = {"record": check.record_sha256, "contents": check.contents_sha256, "verified": check.verified}
        say_json({**about, "findings": findings})
    else:
        say(f"record   {check.record_sha256}")
        say(f"contents {check.contents_sha256}")
        for status, words in check.findings:
            say(f"{status:8} {words}")
        say("verified, except for what is unknown" if check.verified else "not verified")
    return 0 if check.verified else FAILED


def _show(verification: "Verification") -> None:
    console, record = Console(highlight=False), verification.subject.record
    subject = record.identity.protocol_id or record.identity.subject
    protocol = f" of {subject}" if subject else ""
    console.print(
        f"{record.identity.analysis}{protocol}, {record.identity.ended_at[:19]}, record "
        f"{verification.subject.sha256[:12]} "
        f"from {verification.subject.taken_from}",
        markup=False,
    )
    console.print(record.sentence, markup=False)
    for group, findings in groupby(verification.findings, key=lambda finding: finding.group):
        console.print(f"\n[bold]{_TITLES[group]}[/]")
        console.print(_table(list(findings)))
    if verification.stale:
        console.print(
            f"[yellow]changed since[/]: {escape(', '.join(finding.what for finding in verification.stale))}",
        )
    console.print(f"[{'bold red' if verification.faults else 'green'}]{escape(verification.sentence)}[/]")


def _table(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for what, status, detail in _lines(findings):
        style = "green" if status in _GOOD else "bold red" if status in FAULTS else "yellow"
        table.add_row(cell(what), cell(status.value, style), cell(detail))
    return table


def _lines(findings: list[Finding]) -> Iterator[tuple[str, Status, str]]:
    alike: dict[tuple[str, Status], list[str]] = {}
    others = []
    for finding in findings:
        kind, _, name = finding.what.partition(" ")
        if finding.status in _GOOD and kind in _MANY:
            alike.setdefault((kind, finding.status), []).append(name)
        else:
            others.append((finding.what, finding.status, finding.detail))
    for (kind, status), names in alike.items():
        yield f"{len(names)} {kind}{'s' if len(names) > 1 else ''}", status, ", ".join(names)
    yield from others
