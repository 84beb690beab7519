"""Run `americano status` and `americano doctor`: the state of the pipeline, and a check of its configuration."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from americano_pipelines.cli.demo import hint, start_if_in_use
from americano_pipelines.cli.exit_codes import FAILED
from americano_pipelines.cli.output import Console, cell, say_json, show_lines
from americano_pipelines.settings import load_settings
from americano_pipelines.text_output import age_text, size_text

if TYPE_CHECKING:
    from americano_pipelines.defs.recent_runs import RecentRun
    from americano_pipelines.pipeline_status import PipelineStatus, PublishedState

_STYLES = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}
_LONGEST_REASON = 160


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Check the configuration and what it points at.

    All settings are printed, secrets as `***`. The exit code is 1 if the configured mode cannot work.
    """
    from americano_pipelines.doctor import examine

    settings = load_settings()
    start_if_in_use(settings)
    findings = examine(settings)
    advice = hint(settings)
    if as_json:
        listed = [asdict(finding) for finding in findings]
        say_json({"settings": settings.redacted(), "findings": listed, "advice": advice})
    else:
        console = Console(highlight=False)
        for name, value in settings.redacted().items():
            console.print(f"     {name} = {value}", markup=False)
        for finding in findings:
            label = f"[{_STYLES[finding.level]}]{finding.level:<4}[/]"
            console.print(f"{label} {escape(f'{finding.what}: {finding.detail}')}")
        if advice:
            console.print(f"     {advice}")
    if any(finding.level == "FAIL" for finding in findings):
        context.exit(FAILED)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> None:
    """Show what is published, the last runs and what waits.

    Failures are those of the last 7 days. Nothing is written.
    """
    from americano_pipelines.pipeline_status import pipeline_status

    settings = load_settings()
    state = pipeline_status(settings)
    if as_json:
        say_json(asdict(state))
    else:
        _show(state, datetime.now(UTC), hint(settings))


def _show(state: "PipelineStatus", moment: datetime, advice: str | None) -> None:
    from americano_pipelines.defs.recent_runs import FAILURE_DAYS

    console, runs = Console(highlight=False), state.runs
    without = len(state.protocols) - state.confirmatory - state.exploratory
    lines = _published_lines(state.published, moment)
    if runs.last_sync is not None:
        lines.append(("last sync", _run_text(runs.last_sync, moment)))
    counts = f"{state.confirmatory} with a planned or declared analysis, {state.exploratory} with exploratory ones only"
    lines.append(("protocols", f"{len(state.protocols)}: {counts}, {without} not analysed"))
    if state.requests is not None:
        lines.append(("requests", f"{state.requests} pending in the app"))
    sizes = ", ".join(f"{name} {size_text(size)}" for name, size in state.disk.items())
    lines.append(("disk", f"{sizes or 'nothing yet'}; {size_text(state.free)} free"))
    lines.append(("failures", f"{runs.failures} in {FAILURE_DAYS} days; {runs.running} runs under way"))
    if runs.last_failure is not None:
        reason = " ".join(str(runs.last_failure.reason).split())
        shown = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
        lines.append(("", f"{_age(runs.last_failure.started, moment)} ago, {runs.last_failure.job}: {shown}"))
    lines += [("not read", problem) for problem in state.problems]
    if advice is not None:
        lines.append(("advice", advice))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, text in lines:
        grid.add_row(cell(name), cell(text, "yellow" if name in {"not passed", "not read"} else ""))
    console.print(grid)
    rows = [
        {
            "started": f"{_age(run.started, moment)} ago",
            "run": run.job.replace("_", " "),
            "protocol": "-" if run.protocol_id is None else state.protocols.get(run.protocol_id, run.protocol_id),
            "status": run.status.lower(),
            "took": _took(run),
        }
        for run in runs.newest
    ]
    if rows:
        show_lines(console, rows, "protocol")
    else:
        console.print("no run yet: `americano sync` makes the first")


def _published_lines(published: "PublishedState | None", moment: datetime) -> list[tuple[str, str]]:
    if published is None:
        return [("published", "nothing yet: run `americano sync`")]
    failed = [("not passed", check) for check in published.failed_checks]
    age = _age(published.instant, moment)
    return [
        ("published", f"snapshot {published.snapshot_id}, {published.mode} mode"),
        ("", f"the source as it was {age} ago, at {published.instant[:19].replace('T', ' ')} UTC"),
        ("rows", ", ".join(f"{rows:,} {name}" for name, rows in published.rows.items())),
        ("checks", f"{published.checks - len(failed)} of {published.checks} passed"),
        *failed,
    ]


def _run_text(run: "RecentRun", moment: datetime) -> str:
    took = "" if run.seconds is None else f", took {_took(run)}"
    return f"{run.status.lower()}, started {_age(run.started, moment)} ago{took}"


def _took(run: "RecentRun") -> str:
    return "-" if run.seconds is None else f"{run.seconds:.0f} s"


def _age(time: str, moment: datetime) -> str:
    """How long ago an ISO 8601 time was."""
    return age_text(datetime.fromisoformat(time), moment)
