"""Run `americano demo`: an embedded Postgres with seeded experiments, and one complete pass through the pipeline."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.markup import escape

from americano_pipelines.cli.exit_codes import FAILED
from americano_pipelines.cli.output import Console, progress, say, show_lines
from americano_pipelines.errors import ConfigError
from americano_pipelines.settings import PROJECT_ROOT, DataFolder, Settings, load_settings
from americano_pipelines.sources.contracts import CONTRACTS
from americano_pipelines.sources.path_expansion import expand

if TYPE_CHECKING:
    from americano_pipelines.defs.analyses.launch_analyses import Launched
    from americano_pipelines.demo.server import DemoServer
    from americano_pipelines.provenance.record_index import IndexEntry


COMMAND, JUDGED = "americano demo run", "abab_randomization"


def run_analyses(settings: Settings) -> "list[Launched]":
    """Carry out the requests of the demo's app, then the analyses that have no record yet.

    Protocols of design ABAB get all analyses, the others only what they are judged by: the rest would take half a
    minute.
    """
    from americano_pipelines.demo.data.analysis_rows import protocol_ids
    from americano_pipelines.demo.data.demo_experiments import experiments
    from americano_pipelines.demo.data.protocols import PROTOCOLS

    abab, ids = {protocol.name for protocol in PROTOCOLS}, protocol_ids()
    kinds = {
        ids[experiment.name]: () if experiment.judged_as_group else (JUDGED,)
        for experiment in experiments()
        if experiment.name not in abab
    }
    with progress("loading Dagster and MLflow"):
        from americano_pipelines.defs.analyses.launch_analyses import run_missing, run_requests

        return [*run_requests(settings, command=COMMAND), *run_missing(settings, command=COMMAND, kinds=kinds)]


def show_analyses(paths: DataFolder, launched: "list[Launched]") -> None:
    """Print each verdict next to the seeded truth, and the analyses that failed."""
    from americano_pipelines.demo.data.analysis_rows import protocol_ids
    from americano_pipelines.demo.data.demo_experiments import experiments

    console, ids = Console(highlight=False), protocol_ids()
    judged = [experiment for experiment in experiments() if not experiment.judged_as_group]
    rows = [
        _verdict_row(
            experiment.title,
            experiment.truth_words,
            experiment.verdict,
            _confirmatory(paths, "protocol_id", ids[experiment.name]),
        )
        for experiment in judged
    ]
    for group in dict.fromkeys(experiment.group for experiment in experiments() if experiment.group is not None):
        members = [experiment for experiment in experiments() if experiment.group == group]
        (verdict,) = {member.verdict for member in members}
        words = ", ".join(member.truth_words for member in members)
        rows.append(_verdict_row(f"group {group}", words, verdict, _confirmatory(paths, "group_key", group)))
    agreeing = sum(row["agrees"] == "yes" for row in rows)
    console.print(
        f"[bold]Verdicts[/] ({len(launched)} new analyses, by randomization test, change points and regression; "
        f"{agreeing} of {len(rows)} verdicts agree with the seeded truth)"
    )
    show_lines(console, rows, "protocol")
    titles = {ids[experiment.name]: experiment.title for experiment in experiments()}
    for entry in launched:
        if not entry.success:
            name = escape(titles.get(entry.protocol_id, entry.protocol))
            console.print(f"[yellow]skipped[/] {entry.analysis}, {name}: {escape(entry.sentence)}")


def _confirmatory(paths: DataFolder, column: Literal["protocol_id", "group_key"], name: str) -> "IndexEntry | None":
    from americano_pipelines.provenance.verdict_listing import confirmatory_entry

    return confirmatory_entry(paths, column, name)


def _verdict_row(name: str, truth: str, true_verdict: str, entry: "IndexEntry | None") -> dict[str, str]:
    """A verdict next to the truth."""
    from americano_pipelines.statistics.outcome_digits import shown_p

    verdict = "failed" if entry is None else entry.verdict or "-"
    return {
        "protocol": name,
        "truth": truth,
        "verdict": verdict,
        "agrees": "yes" if verdict == true_verdict else "no",
        "p": "-" if entry is None or entry.p is None else shown_p(entry.p),
        "standing": "-" if entry is None else str(entry.standing),
    }


@click.group()
def demo() -> None:
    """Manage the demo: a real Postgres with seeded experiments."""


@demo.command()
def up() -> None:
    """Start the demo's Postgres; create and seed it if needed."""
    _up(load_settings().paths.root)


@demo.command()
def down() -> None:
    """Stop the demo's Postgres and keep its data."""
    from americano_pipelines.demo.server import DemoServer

    server = DemoServer(load_settings().paths.root)
    say("stopped" if server.is_running() else "was not running")
    server.down()


@demo.command()
@click.option("--write", is_flag=True, help="Write the settings to .env instead.")
def env(*, write: bool) -> None:
    """Print the settings that select the demo's Postgres."""
    from americano_pipelines.demo.server import DemoServer

    text = _env_text(DemoServer(load_settings().paths.root).environment())
    if write:
        _write_env(text)
    else:
        say(text.rstrip("\n"))


@demo.command()
@click.option("--keep", is_flag=True, help="Leave the demo's Postgres running at the end.")
@click.pass_context
def run(context: click.Context, *, keep: bool) -> None:
    """Seed, sync, report and analyse the demo; then stop it."""
    from americano_pipelines.cli import report as reporting
    from americano_pipelines.cli import sync as syncing
    from americano_pipelines.demo.server import DemoServer
    from americano_pipelines.warehouse.published_protocols import read_protocols

    server = DemoServer(load_settings().paths.root)
    was_running = server.is_running()
    _up(load_settings().paths.root)
    write_first_env(load_settings().paths.root)
    try:
        settings = demo_settings()
        summary = syncing.run_sync(settings, full=False)
        syncing.show(summary)
        if not summary.success:
            say(f"failed: {summary.error}", err=True)
            context.exit(FAILED)
        names = {protocol.protocol_id: protocol.title for protocol in read_protocols(settings)}
        reporting.show(reporting.run_report(settings, compare=True), names)
        launched = run_analyses(settings)
        # Without a second sync `research.verdicts` would lack these analyses.
        if launched and not (again := syncing.run_sync(settings, full=False)).success:
            say(f"failed: {again.error}", err=True)
            context.exit(FAILED)
        show_analyses(settings.paths, launched)
    finally:
        if not keep and not was_running:
            server.down()
    _what_next(settings.paths.published, running=keep or was_running)


def demo_settings() -> Settings:
    """The settings with the demo's Postgres as the source; it replaces any other configured source."""
    from americano_pipelines.demo.server import DemoServer

    base = load_settings()
    environment = DemoServer(base.paths.root).environment()
    # An empty variable takes back what `.env` sets; leaving it out would not.
    others = ("DATABASE_URL", "DUCKDB_USE_POSTGRES_SCANNER", "PG_EVENTS_TABLE", "AMERICANO_COLUMNS")
    os.environ.update(dict.fromkeys(others, "") | environment)
    return load_settings()


def is_unconfigured(settings: Settings) -> bool:
    """Whether no source is configured and the data folder holds a demo."""
    named = any(name.endswith("_parquet") for name in settings.model_fields_set)
    has_exports = any(expand(settings.parquet_input(contract.name)) for contract in CONTRACTS)
    return settings.postgres is None and not named and not has_exports and settings.paths.demo_server.is_dir()


def hint(settings: Settings) -> str | None:
    """Advice for a source that is the demo's Postgres, or none: which command to run."""
    if is_unconfigured(settings):
        return "To make the demo the source of your commands, run `americano demo env --write`."
    server = _server_in_use(settings)
    if server is None or server.is_running():
        return None
    return "The demo's Postgres is not running: `americano demo up` starts it."


def start_if_in_use(settings: Settings) -> None:
    """Start the demo's Postgres if the settings name it, it exists and it is stopped."""
    server = _server_in_use(settings)
    if server is not None and settings.paths.demo_server.is_dir() and not server.is_running():
        server.up()
        say("the demo's Postgres was started; `americano demo down` stops it", err=True)


def _server_in_use(settings: Settings) -> "DemoServer | None":
    """The demo's server if the settings name it. It listens on a socket, so its host is a path."""
    if settings.postgres is None or not settings.postgres.host.startswith("/"):
        return None
    from americano_pipelines.demo.server import DemoServer

    server = DemoServer(settings.paths.root)
    return server if settings.postgres.host == server.environment()["PG_HOST"] else None


def _up(data_dir: Path) -> None:
    from americano_pipelines.demo.server import DemoServer

    server = DemoServer(data_dir)
    with progress("starting the demo's Postgres, and seeding it if it is new"):
        seeded = server.up()
    rows = ", ".join(f"{count:,} {table}" for table, count in seeded.rows.items())
    say(f"demo Postgres is up, {'seeded now' if seeded.created else 'seeded before, unchanged'}: {rows}")


def write_first_env(data_dir: Path) -> None:
    """Make the demo the source of the next commands, if there is no `.env` yet.

    Do this only for the project's own data folder: another folder is set by a variable, which the next commands may
    not have.
    """
    from americano_pipelines.demo.server import DemoServer

    if data_dir == PROJECT_ROOT / "data" and not (PROJECT_ROOT / ".env").exists():
        _write_env(_env_text(DemoServer(data_dir).environment()))


def _env_text(environment: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in environment.items())


def _write_env(text: str) -> None:
    path = PROJECT_ROOT / ".env"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    names = {line.partition("=")[0] for line in text.splitlines()} | {"DATABASE_URL"}
    set_already = [line for line in before.splitlines() if line.partition("=")[0].strip() in names]
    if set_already and "\n".join(set_already) != text.strip():
        raise ConfigError(f"{path} names a Postgres already; take its PG_* and DATABASE_URL lines out first")
    if not set_already:
        path.touch(mode=0o600)  # it holds a password
        path.write_text(before + ("" if before.endswith("\n") or not before else "\n") + text, encoding="utf-8")
    say(f"{path} points at the demo's Postgres")


def _what_next(published: Path, *, running: bool) -> None:
    state = "runs on; `americano demo down` stops it" if running else "is stopped; `americano demo up` starts it"
    source = "  americano sync        the next sync of what .env names\n"
    if not (PROJECT_ROOT / ".env").exists():
        source = "  americano demo env --write   make the demo the source of `americano sync` too\n"
    say(
        "\nNext, after `source .venv/bin/activate`\n"
        "  americano dev         the Dagster UI on http://127.0.0.1:3000\n"
        "  americano verdicts    the verdicts again, with effects and records\n"
        "  americano report      events by phase, day, week and protocol\n"
        "  americano runs        the analyses; `americano verify RECORD` checks one\n"
        f"{source}"
        f"The published file is {published}.\n"
        f"The demo's Postgres {state}."
    )
