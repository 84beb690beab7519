"""Run `americano export`: a table as CSV, Parquet or Excel; or what may be handed out of a tenant or a protocol."""

from dataclasses import asdict
from pathlib import Path

import click

from americano_pipelines.cli.output import Console, progress, say, say_json
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines.text_output import size_text

_VERDICTS = "research.verdicts"

_FORMATS = click.Choice(["duckdb", "parquet", "csv"])


@click.command()
@click.argument("table", required=False)
@click.option("--tenant", help="Instead of a table: the rows of this tenant's learners, with pseudonyms.")
@click.option("--protocol", help="Instead of a table: the rows of this protocol, with pseudonyms.")
@click.option("--format", "format_", type=_FORMATS, help="With --tenant or --protocol; duckdb if it is not given.")
@click.option(
    "--to",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    help="The file: .csv, .parquet or .xlsx; .duckdb with --tenant or --protocol, or the folder of their other files.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(
    *,
    table: str | None,
    tenant: str | None,
    protocol: str | None,
    format_: str | None,
    path: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Export a table or view, or the rows of a tenant or protocol.

    TABLE is a table or view of the published file, such as research.verdicts or research.daily_outcomes. The file is
    written whole or not at all. `americano purge` does not find exported tables; it finds and removes the files of
    --tenant and --protocol.
    """
    if sum(name is not None for name in (table, tenant, protocol)) != 1:
        raise click.UsageError("name a TABLE, a --tenant or a --protocol: one of them")
    if table is not None:
        if format_ is not None:
            raise click.UsageError("--format is for --tenant and --protocol; the name of the file says it for a TABLE")
        _export_table(table, path, force=force, as_json=as_json)
    else:
        _hand_out(tenant, protocol, format_ or "duckdb", path, force=force, as_json=as_json)


def _export_table(table: str, path: Path, *, force: bool, as_json: bool) -> None:
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
    listed = list_verdicts(settings.paths, protocols)[: len(protocols)]
    return len({verdict.entry.sha256 for verdict in listed if verdict.entry} - {sha256 for (sha256,) in rows})


def _hand_out(
    tenant: str | None, protocol: str | None, format_: str, path: Path, *, force: bool, as_json: bool
) -> None:
    from americano_pipelines.serving.tenant_export import export_for

    if format_ == "duckdb" and (path.suffix != ".duckdb" or path.is_dir()):
        raise click.UsageError(f"--to {path}: name a file that ends in .duckdb, or give --format parquet or csv")
    if format_ != "duckdb" and path.exists() and not path.is_dir():
        raise click.UsageError(f"--to {path} is a file: name a folder, which gets a file for each table")
    if path.exists() and not force and (format_ == "duckdb" or any(path.iterdir())):
        raise click.UsageError(f"--to {path} is there already: give --force to replace it, or another name")
    settings = load_settings()
    with progress("writing the rows with pseudonyms", enabled=not as_json):
        exported = export_for(settings, path, format_, tenant=tenant, protocol_id=protocol)
    card = exported.card
    if as_json:
        say_json({"record": exported.sha256, **card.model_dump(mode="json", exclude={"learners"})})
        return
    console = Console(highlight=False)
    rows = ", ".join(f"{name} {count:,}" for name, count in card.tables.items())
    for file in card.files:
        console.print(f"{file.path} ({size_text(file.bytes)}), sha256 {file.sha256}", markup=False)
    console.print(f"rows: {rows}; snapshot {card.snapshot_id}; record {exported.sha256[:12]}", markup=False)
    console.print(
        "Pseudonymised rows are personal data all the same. `americano purge` removes these files where they lie, and "
        "no copies of them."
    )
