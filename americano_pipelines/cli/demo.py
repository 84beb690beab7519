"""Run `americano demo`: an embedded Postgres with seeded experiments, and one complete pass through the pipeline."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

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


COMMAND, JUDGED = "americano demo run", "abab_randomization"


def run_analyses(settings: Settings) -> "list[Launched]":
    """Carry out the requests of the demo's app, then every analysis that has no record yet."""
    with progress("loading Dagster and MLflow"):
        from americano_pipelines.defs.analyses.launch_analyses import run_missing, run_requests

        return [*run_requests(settings, command=COMMAND), *run_missing(settings, command=COMMAND)]


def show_analyses(paths: DataFolder, launched: "list[Launched]") -> None:
    """Print each verdict next to the seeded effect, and the analyses that failed."""
    from americano_pipelines.demo.data.analysis_rows import protocol_ids
    from americano_pipelines.demo.data.protocols import PROTOCOLS
    from americano_pipelines.provenance.archive import records
    from americano_pipelines.statistics.outcome_digits import shown_p

    console = Console(highlight=False)
    judged = sorted(
        (entry for _, entry in records(paths) if entry.identity.analysis == JUDGED),
        key=lambda entry: entry.identity.started_at,
        reverse=True,
    )
    first = {entry.identity.protocol_id: entry for entry in judged}  # of several the first, which was planned
    ids = protocol_ids()
    rows = []
    for protocol in PROTOCOLS:
        record = first.get(ids[protocol.name])
        p = record.logged.metrics.get("p") if record else None
        rows.append(
            {
                "protocol": protocol.title,
                "truth": f"{protocol.effect:+g}" if protocol.effect else "no effect",
                "verdict": (record.verdict or "-") if record else "failed",
                "p": shown_p(p[-1][1]) if p else "-",
                "standing": record.standing.label if record and record.standing else "-",
            }
        )
    groups = dict.fromkeys(protocol.group for protocol in PROTOCOLS if protocol.group is not None)
    rows += [_group_row(paths, group) for group in groups]
    console.print(
        f"[bold]Verdicts[/] ({len(launched)} new analyses, by randomization test, change points and regression)"
    )
    show_lines(console, rows, "protocol")
    titles = {ids[protocol.name]: protocol.title for protocol in PROTOCOLS}
    for entry in launched:
        if not entry.success:
            name = escape(titles.get(entry.protocol_id, entry.protocol))
            console.print(f"[yellow]skipped[/] {entry.analysis}, {name}: {escape(entry.sentence)}")


def _group_row(paths: DataFolder, group: str) -> dict[str, str]:
    """The verdict on a group next to the seeded effects of its protocols."""
    from americano_pipelines.demo.data.protocols import PROTOCOLS
    from americano_pipelines.provenance.verdict_listing import confirmatory_entry
    from americano_pipelines.statistics.outcome_digits import shown_p

    entry = confirmatory_entry(paths, "group_key", group)
    truth = ", ".join(f"{protocol.effect:+g}" for protocol in PROTOCOLS if protocol.group == group)
    return {
        "protocol": f"group {group}",
        "truth": truth,
        "verdict": "failed" if entry is None else entry.verdict or "-",
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
