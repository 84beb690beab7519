"""Run `americano export`: a table or view of the published file as CSV, Parquet or Excel."""

from dataclasses import asdict
from pathlib import Path

import click

from americano_pipelines.cli.output import Console, progress, say, say_json, size_text
from americano_pipelines.settings import Settings, load_settings

_VERDICTS = "research.verdicts"


@click.command()
@click.argument("table")
@click.option("--to", "path", required=True, type=click.Path(path_type=Path), help="The file: .csv, .parquet or .xlsx.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(*, table: str, path: Path, force: bool, as_json: bool) -> None:
    """Export a table or view as CSV, Parquet or Excel.

    TABLE is a table or view of the published file, such as research.verdicts or research.daily_outcomes. The file is
    written whole or not at all. `americano purge` does not find exported files.
    """
    from americano_pipelines.warehouse.table_export import FORMATS, export_table

    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise click.UsageError(f"--to {path}: the name must end in {', '.join(f'.{name}' for name in FORMATS)}")
    if path.is_dir():
        raise click.UsageError(f"--to {path} is a folder")
    if path.exists() and not force:
        raise click.UsageError(f"--to {path} is there already: give --force to replace it, or another name")
    settings = load_settings()
    with progress(f"writing {table}", enabled=not as_json):
        exported = export_table(settings, table, path)
    if exported.relation == _VERDICTS and (missing := _missing_verdicts(settings)):
        say(
            f"{_VERDICTS} lacks {missing} recorded verdict{'s' * (missing > 1)}: it has those that were in the app's "
            "analysis runs at the last sync. `americano verdicts --json` has all.",
            err=True,
        )
    if as_json:
        say_json(asdict(exported))
        return
    console = Console(highlight=False)
    console.print(
        f"{exported.relation}: {exported.rows:,} rows in {exported.path} ({size_text(exported.bytes)})", markup=False
    )
    if exported.as_text:
        console.print(f"as text, for Excel cannot hold all values: {', '.join(exported.as_text)}", markup=False)
    console.print("`americano purge` does not find this file: erase personal data in it yourself.")


def _missing_verdicts(settings: Settings) -> int:
    """How many published protocols have a record that answers for them, but another one or none in the view."""
    from americano_pipelines.provenance.verdict_listing import list_verdicts
    from americano_pipelines.warehouse.published_protocols import published_protocols
    from americano_pipelines.warehouse.snapshots import open_published

    with open_published(settings) as connection:
        protocols = published_protocols(connection)
        rows = connection.execute(f"SELECT record_sha256 FROM {_VERDICTS}").fetchall()  # noqa: S608 - a constant
    listed = list_verdicts(settings, protocols)[: len(protocols)]
    return len({verdict.entry.sha256 for verdict in listed if verdict.entry} - {sha256 for (sha256,) in rows})
